// Usage: PROGRAM --list | PROGRAM CASE | PROGRAM --until-failure | PROGRAM
// Lists the cases, or runs one of them, all of them up to the first that fails, or all.
#include <cstdio>
#include <cstring>

#include "check.h"

namespace {

bool runCase(const check::Case& one) {
  std::string words;
  const int outcome = check::outcomeOf(one.run, words);
  if (outcome == check::kSkipped) std::printf("skipped: %s\n", words.c_str());
  if (outcome == check::kFailed) std::fprintf(stderr, "FAILED: %s\n  %s\n", one.name, words.c_str());
  return outcome != check::kFailed;
}

}  // namespace

int main(int argc, char** argv) {
  const char* argument = argc > 1 ? argv[1] : "";
  if (std::strcmp(argument, "--list") == 0) {
    for (const check::Case& one : check::cases()) std::printf("%s\n", one.name);
    return 0;
  }
  const bool untilFailure = std::strcmp(argument, "--until-failure") == 0;
  bool isGood = true, isFound = false;
  for (const check::Case& one : check::cases()) {
    if (argc > 1 && !untilFailure && std::strcmp(argument, one.name) != 0) continue;
    isFound = true;
    isGood = runCase(one) && isGood;
    if (untilFailure && !isGood) break;
  }
  if (!isFound) std::fprintf(stderr, "There is no case of this name; --list names them.\n");
  return isGood && isFound ? 0 : 1;
}
