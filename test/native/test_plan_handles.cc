// The plan checker on what ends handles, and on what must be alone.
#include "plan_inputs.h"

using namespace postern;
using namespace plans;

namespace {

PlanError decideForgetting(uint32_t source, uint32_t offset, uint32_t width) {
  PlanInput input = good();
  grant(input, kPlace, 64);
  forget(input, source, offset, width);
  return decide(input);
}

}  // namespace

TEST("what is forgotten is a handle, or all that the session has") {
  for (uint32_t source : {0u, 1u, kSourceOffset, kSourceArgument}) {
    for (uint32_t width : {4u, 8u}) CHECK_EQ(decideForgetting(source, 0, width), PlanError::kNone);
    for (uint32_t width : {1u, 2u, 3u, 5u, 7u, 9u, 12u, kMost}) CHECK_EQ(decideForgetting(source, 0, width), PlanError::kForget);
  }
  for (uint32_t width : {4u, 8u}) {
    CHECK_EQ(decideForgetting(0, kHeadBytes - width, width), PlanError::kNone);
    CHECK_EQ(decideForgetting(0, kHeadBytes - width + 1, width), PlanError::kForget);
    CHECK_EQ(decideForgetting(1, 65 - width, width), PlanError::kForget);
    for (uint32_t source : {2u, kSourceArgument - 1}) CHECK_EQ(decideForgetting(source, 0, width), PlanError::kForget);
    for (uint32_t source : {kSourceOffset, kSourceArgument}) CHECK_EQ(decideForgetting(source, kMost, width), PlanError::kNone);
  }
  // All of a table needs no place.
  for (uint32_t source : {0u, 2u, kMost - 2}) CHECK_EQ(decideForgetting(source, kMost, 0), PlanError::kNone);
}

TEST("no more is forgotten at once than the exchange has room for") {
  PlanInput input = good();
  for (uint32_t i = 0; i < kForgetsMax; i++) forget(input, 0, 0, 0);
  CHECK_EQ(decide(input), PlanError::kNone);
  for (uint32_t beyond : {kForgetsMax + 1, 1u << 31, kMost}) {
    input.exchange->forgets = beyond;
    CHECK_EQ(decide(input), PlanError::kForgetCount);
  }
}

TEST("an operation may be alone, and what was in the plan before is gone") {
  PlanInput input = good();
  forget(input, 0, 0, 4);
  input.exchange->alone = 1;
  Plan plan;
  CHECK_EQ(readPlan(*input.exchange, input.envelope, input.context, plan), PlanError::kNone);
  CHECK(plan.alone);
  CHECK_EQ(plan.forgettings.size(), 1);
  const PlanInput next = good();
  CHECK_EQ(readPlan(*next.exchange, next.envelope, next.context, plan), PlanError::kNone);
  CHECK(!plan.alone);
  CHECK_EQ(plan.forgettings.size(), 0);
}

TEST("a handle counts within a scope that there is") {
  for (uint32_t within : {0u, 1u, 2u, 3u, 4u, 1u << 31, kMost}) {
    PlanInput input = good();
    require(input, 0, 0, 4);
    input.exchange->requirement[0].within = within;
    CHECK_EQ(decide(input), within < 3 ? PlanError::kNone : PlanError::kRequirement);
  }
}

