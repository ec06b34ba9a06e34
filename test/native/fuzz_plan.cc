// libFuzzer: any bytes as a policy's plan and the envelope that it is judged by. The decision must be the oracle's, both ways.
#include <cstdio>
#include <cstdlib>

#include "plan_oracle.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t count) {
  const postern::PlanInput input = postern::planFromBytes(bytes, count);
  postern::PlanError decision;
  const std::string wrong = postern::disagreement(input, decision);
  if (wrong.empty()) return 0;
  std::fprintf(stderr, "The plan checker %s.\n", wrong.c_str());
  std::abort();
}
