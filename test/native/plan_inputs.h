// Plans for the tests of the plan checker: a good one, ways to spoil it, and the checker's decision, which the oracle must agree with.
#pragma once

#include "check.h"
#include "plan_oracle.h"

namespace plans {

using namespace postern;

constexpr uint32_t kInOut = kToDriver | kFromDriver;
constexpr uint64_t kPlace = 0x10000;  // somewhere good
constexpr uint32_t kHeadBytes = 88;
constexpr uint32_t kEveryOperation = 0x3f;
constexpr uint32_t kInto = 0, kOut = 1, kRepeated = 2;  // flows of descriptors
constexpr uint32_t kMost = 0xffffffffu;

// An empty plan that is good, to be spoilt.
inline PlanInput good() {
  PlanInput input;
  input.envelope.operations = kEveryOperation;
  input.envelope.grantsMax = input.envelope.relocationsMax = input.envelope.requirementsMax = input.envelope.descriptorsMax = 16;
  input.envelope.grantBytesMax = 1 << 20;
  input.context.headBytes = kHeadBytes;
  input.context.rowAccess = kInOut;
  input.context.nested = true;
  input.exchange->headAccess = kInOut;
  return input;
}

inline void grant(PlanInput& input, uint64_t address, uint32_t length, uint32_t access = kInOut) {
  input.exchange->grant[input.exchange->grants++] = {address, length, access};
}
inline void relocate(PlanInput& input, uint32_t region, uint32_t offset, uint32_t target) {
  input.exchange->relocation[input.exchange->relocations++] = {region, offset, target, 0};
}
inline void require(PlanInput& input, uint32_t source, uint32_t offset, uint32_t width, uint32_t errnum = 22) {
  input.exchange->requirement[input.exchange->requirements++] = {0, source, offset, width, errnum, 0, 0};
}
inline void forget(PlanInput& input, uint32_t source, uint32_t offset, uint32_t width) {
  input.exchange->forget[input.exchange->forgets++] = {0, source, offset, width};
}

inline void pass(PlanInput& input, uint32_t flow, uint32_t region, uint32_t offset, uint32_t width = 4, uint32_t kind = 0) {
  input.exchange->descriptor[input.exchange->descriptors++] = {region, offset, width, kind, flow, 0};
}

inline PlanError decide(const PlanInput& input) {
  PlanError decision;
  const std::string wrong = disagreement(input, decision);
  if (!wrong.empty()) throw check::Failure("the oracle disagrees: " + wrong);
  return decision;
}

}  // namespace plans
