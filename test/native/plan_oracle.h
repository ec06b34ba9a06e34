// What readPlan must decide, written a second time: straight from the contract's words, in 128-bit arithmetic, and without looking at
// plan.cc. And plans made of bytes, for random tests and for the fuzzer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "plan.h"

namespace postern {

// A policy's answer with what it is judged by.
struct PlanInput {
  std::unique_ptr<Exchange> exchange = std::make_unique<Exchange>();
  Envelope envelope;
  PlanContext context;
};

// The first rule that the exchange's plan breaks, or nothing.
std::string brokenRule(const PlanInput& input);
// How `plan`, which readPlan has accepted, differs from what the exchange says; or nothing.
std::string differenceFrom(const Plan& plan, const Exchange& exchange);
// Runs readPlan and compares it with the two functions above. What disagrees, or nothing.
std::string disagreement(const PlanInput& input, PlanError& decision);

// Every byte sequence is some plan; most of its numbers lie at or beside a boundary.
PlanInput planFromBytes(const uint8_t* bytes, size_t count);

}  // namespace postern
