// The plan checker: each error reached, each boundary from both sides.
#include <random>

#include "plan_inputs.h"

using namespace postern;
using namespace plans;

namespace {

PlanError decideGrant(uint64_t address, uint32_t length, uint32_t access = kInOut) {
  PlanInput input = good();
  input.envelope.grantBytesMax = ~0ull;
  grant(input, address, length, access);
  return decide(input);
}

// A command whose whole argument is a pointer, to the first of two grants.
PlanInput leading(uint32_t offset = 0, uint32_t target = 1) {
  PlanInput input = good();
  input.context.headBytes = 0;
  grant(input, kPlace, 64, kToDriver);
  grant(input, kPlace + 4096, 64);
  relocate(input, kSourceArgument, offset, target);
  return input;
}

PlanError decideRelocation(uint32_t region, uint32_t offset, uint32_t target, uint32_t grantBytes = 64, uint32_t access = kInOut) {
  PlanInput input = good();
  grant(input, kPlace, grantBytes, access);
  grant(input, kPlace + 4096, 64, kFromDriver);
  relocate(input, region, offset, target);
  return decide(input);
}

PlanError decideRequirement(uint32_t source, uint32_t offset, uint32_t width, uint32_t errnum = 22, uint32_t grantBytes = 64) {
  PlanInput input = good();
  grant(input, kPlace, grantBytes);
  require(input, source, offset, width, errnum);
  return decide(input);
}

PlanError decideDescriptor(uint32_t flow, uint32_t region, uint32_t offset, uint32_t width = 4, uint32_t kind = 0) {
  PlanInput input = good();
  grant(input, kPlace, 64);
  pass(input, flow, region, offset, width, kind);
  return decide(input);
}

// Two descriptors, the first of them at 16 of the head.
PlanError decideTwo(uint32_t flow, uint32_t otherFlow, uint32_t offset, uint32_t width = 4, uint32_t region = 0) {
  PlanInput input = good();
  grant(input, kPlace, 64);
  pass(input, flow, 0, 16);
  pass(input, otherFlow, region, offset, width);
  return decide(input);
}

}  // namespace

TEST("a descriptor has a kind, a flow and a region") {
  for (uint32_t flow : {kInto, kOut, kRepeated})
    for (uint32_t kind : {0u, 1u, 2u})
      for (uint32_t region : {0u, 1u}) CHECK_EQ(decideDescriptor(flow, region, 8, 4, kind), PlanError::kNone);
  for (uint32_t kind : {3u, 1u << 31, kMost}) CHECK_EQ(decideDescriptor(kInto, 0, 8, 4, kind), PlanError::kDescriptor);
  for (uint32_t flow : {3u, 1u << 31, kMost}) CHECK_EQ(decideDescriptor(flow, 0, 8), PlanError::kDescriptor);
  for (uint32_t region : {2u, kSourceArgument, kSourceOffset}) CHECK_EQ(decideDescriptor(kInto, region, 8), PlanError::kDescriptor);
}

TEST("a descriptor is an int; one for the driver may be a property's value") {
  for (uint32_t flow : {kInto, kOut, kRepeated}) {
    CHECK_EQ(decideDescriptor(flow, 0, 8, 4), PlanError::kNone);
    CHECK_EQ(decideDescriptor(flow, 0, 8, 8), flow == kInto ? PlanError::kNone : PlanError::kDescriptor);
    for (uint32_t width : {0u, 1u, 3u, 5u, 7u, 9u, kMost}) CHECK_EQ(decideDescriptor(flow, 0, 8, width), PlanError::kDescriptor);
  }
}

TEST("a descriptor lies inside its region") {
  for (uint32_t width : {4u, 8u}) {
    CHECK_EQ(decideDescriptor(kInto, 0, kHeadBytes - width, width), PlanError::kNone);
    CHECK_EQ(decideDescriptor(kInto, 1, 64 - width, width), PlanError::kNone);
    for (uint32_t offset : {kHeadBytes - width + 1, kHeadBytes, kMost - width + 1, kMost})
      CHECK_EQ(decideDescriptor(kInto, 0, offset, width), PlanError::kDescriptor);
    CHECK_EQ(decideDescriptor(kInto, 1, 64 - width + 1, width), PlanError::kDescriptor);
  }
}

TEST("a descriptor goes the way that its region's bytes go") {
  for (uint32_t flow : {kInto, kOut, kRepeated}) {
    for (uint32_t access : {uint32_t(kToDriver), uint32_t(kFromDriver), kInOut}) {
      const bool fits = (access & (flow == kInto ? kToDriver : kFromDriver)) != 0;
      PlanInput nested = good(), head = good();
      grant(nested, kPlace, 64, access);
      pass(nested, flow, 1, 8);
      CHECK_EQ(decide(nested), fits ? PlanError::kNone : PlanError::kDescriptor);
      head.exchange->headAccess = access;
      pass(head, flow, 0, 8);
      CHECK_EQ(decide(head), fits ? PlanError::kNone : PlanError::kDescriptor);
    }
  }
}

TEST("only commands have descriptors") {
  for (Operation operation : {Operation::kOpen, Operation::kRead, Operation::kWrite, Operation::kMmap, Operation::kSeek}) {
    PlanInput input = good();
    input.context.operation = operation;
    pass(input, kInto, 0, 8);
    CHECK_EQ(decide(input), PlanError::kDescriptor);
  }
}

TEST("a descriptor is no part of a pointer") {
  for (uint32_t region : {0u, 1u}) {
    for (uint32_t offset : {8u, 12u, 13u, 16u, 20u, 23u, 24u, 28u}) {
      PlanInput input = good();
      grant(input, kPlace, 64);
      relocate(input, 0, 16, 1);
      pass(input, kInto, region, offset);
      CHECK_EQ(decide(input), region == 0 && offset > 12 && offset < 24 ? PlanError::kDescriptor : PlanError::kNone);
      PlanInput other = good();
      grant(other, kPlace, 64);
      relocate(other, 1, 16, 1);
      pass(other, kInto, region, offset);
      CHECK_EQ(decide(other), region == 1 && offset > 12 && offset < 24 ? PlanError::kDescriptor : PlanError::kNone);
    }
  }
}

TEST("descriptors are apart, but for one that goes both ways") {
  for (uint32_t offset : {8u, 12u, 20u, 40u})
    for (uint32_t flow : {kInto, kOut, kRepeated}) CHECK_EQ(decideTwo(flow, kOut, offset), PlanError::kNone);
  for (uint32_t offset : {13u, 15u, 17u, 19u})
    for (uint32_t flow : {kInto, kOut, kRepeated}) CHECK_EQ(decideTwo(flow, kOut, offset), PlanError::kDescriptor);
  CHECK_EQ(decideTwo(kInto, kOut, 16), PlanError::kNone);
  CHECK_EQ(decideTwo(kOut, kInto, 16), PlanError::kNone);
  CHECK_EQ(decideTwo(kInto, kRepeated, 16), PlanError::kNone);
  CHECK_EQ(decideTwo(kOut, kInto, 16, 8), PlanError::kDescriptor);
  CHECK_EQ(decideTwo(kInto, kInto, 12, 8), PlanError::kDescriptor);
  CHECK_EQ(decideTwo(kInto, kInto, 8, 8), PlanError::kNone);
  for (uint32_t flow : {kInto, kOut, kRepeated}) CHECK_EQ(decideTwo(flow, flow, 16), PlanError::kDescriptor);
  CHECK_EQ(decideTwo(kOut, kOut, 16, 4, 1), PlanError::kNone);
  // Every one before counts, not only the last.
  PlanInput input = good();
  pass(input, kInto, 0, 16);
  pass(input, kInto, 0, 32);
  pass(input, kInto, 0, 18);
  CHECK_EQ(decide(input), PlanError::kDescriptor);
}

TEST("as many descriptors as the envelope has, and as the exchange has room for") {
  for (uint32_t most : {0u, 3u, 16u, kMost}) {
    for (uint32_t count : {0u, 3u, 4u, 16u, 17u, kDescriptorsMax, kDescriptorsMax + 1, kMost}) {
      PlanInput input = good();
      input.envelope.descriptorsMax = most;
      input.context.headBytes = 4096;
      for (uint32_t i = 0; i < std::min(count, kDescriptorsMax); i++) pass(input, kOut, 0, 4 * i);
      input.exchange->descriptors = count;
      CHECK_EQ(decide(input), count <= most && count <= kDescriptorsMax ? PlanError::kNone : PlanError::kDescriptorCount);
    }
  }
}

TEST("a plan that asks for nothing is good") { CHECK_EQ(decide(good()), PlanError::kNone); }

TEST("what is accepted is what the policy said") {
  PlanInput input = good();
  input.exchange->blocking = 2;
  grant(input, kPlace, 100, kToDriver);
  grant(input, kPlace + 200, 8, kFromDriver | kFromDriverOnError);
  relocate(input, 0, 16, 1);
  relocate(input, 1, 92, 2);
  input.exchange->requirement[input.exchange->requirements++] = {7, 1, 12, 4, 2, 5, 2};
  Plan plan;
  CHECK_EQ(readPlan(*input.exchange, input.envelope, input.context, plan), PlanError::kNone);
  CHECK(plan.blocking);
  CHECK_EQ(plan.headAccess, kInOut);
  CHECK_EQ(plan.grants.size(), 2);
  CHECK_EQ(plan.grants[0].address, kPlace);
  CHECK_EQ(plan.grants[1].access, kFromDriver | kFromDriverOnError);
  CHECK_EQ(plan.relocations.size(), 2);
  CHECK_EQ(plan.relocations[1].offset, 92);
  CHECK_EQ(plan.requirements.size(), 1);
  CHECK_EQ(plan.requirements[0].table, 7);
  CHECK_EQ(plan.requirements[0].reason, 5);
  CHECK_EQ(plan.requirements[0].within, 2);
}

TEST("nothing of the previous plan stays") {
  PlanInput first = good(), second = good();
  first.exchange->blocking = 1;
  grant(first, kPlace, 8);
  grant(first, kPlace, 8);
  relocate(first, 0, 0, 1);
  require(first, 0, 0, 4);
  grant(second, kPlace + 8, 16, kToDriver);
  Plan plan;
  CHECK_EQ(readPlan(*first.exchange, first.envelope, first.context, plan), PlanError::kNone);
  CHECK_EQ(readPlan(*second.exchange, second.envelope, second.context, plan), PlanError::kNone);
  CHECK(!plan.blocking);
  CHECK_EQ(plan.grants.size(), 1);
  CHECK_EQ(plan.grants[0].length, 16);
  CHECK_EQ(plan.relocations.size() + plan.requirements.size(), 0);
}

TEST("each operation needs its own bit of the envelope") {
  for (uint32_t operation = 0; operation < 5; operation++) {
    PlanInput input = good();
    input.context.operation = static_cast<Operation>(operation);
    input.envelope.operations = 1u << operation;
    CHECK_EQ(decide(input), PlanError::kNone);
    input.envelope.operations = ~(1u << operation);
    CHECK_EQ(decide(input), PlanError::kNotAllowed);
    input.envelope.operations = 0;
    CHECK_EQ(decide(input), PlanError::kNotAllowed);
  }
}

TEST("counts end at the envelope") {
  PlanInput grants = good(), relocations = good(), requirements = good();
  for (int i = 0; i < 16; i++) grant(grants, kPlace, 8);
  grant(relocations, kPlace, 256);
  for (uint32_t i = 0; i < 16; i++) relocate(relocations, 1, i * 8, 1);
  for (int i = 0; i < 16; i++) require(requirements, 0, 0, 8);
  CHECK_EQ(decide(grants), PlanError::kNone);
  CHECK_EQ(decide(relocations), PlanError::kNone);
  CHECK_EQ(decide(requirements), PlanError::kNone);
  grant(grants, kPlace, 8);
  relocate(relocations, 1, 128, 1);
  require(requirements, 0, 0, 8);
  CHECK_EQ(decide(grants), PlanError::kGrantCount);
  CHECK_EQ(decide(relocations), PlanError::kRelocationCount);
  CHECK_EQ(decide(requirements), PlanError::kRequirementCount);
}

TEST("an envelope of none allows none") {
  PlanInput input = good();
  input.envelope.grantsMax = input.envelope.relocationsMax = input.envelope.requirementsMax = 0;
  CHECK_EQ(decide(input), PlanError::kNone);
  input.exchange->requirements = 1;
  CHECK_EQ(decide(input), PlanError::kRequirementCount);
  input.exchange->relocations = 1;
  CHECK_EQ(decide(input), PlanError::kRelocationCount);
  input.exchange->grants = 1;
  CHECK_EQ(decide(input), PlanError::kGrantCount);
}

TEST("counts end at what the exchange holds, however wide the envelope is") {
  PlanInput input = good();
  input.envelope.grantsMax = input.envelope.relocationsMax = input.envelope.requirementsMax = kMost;
  for (uint32_t i = 0; i < kGrantsMax; i++) grant(input, kPlace, 8);
  for (uint32_t i = 0; i < kRelocationsMax; i++) relocate(input, i + 1, 0, 1);
  for (uint32_t i = 0; i < kRequirementsMax; i++) require(input, i, 0, 4);
  CHECK_EQ(decide(input), PlanError::kNone);
  for (uint32_t beyond : {kGrantsMax + 1, 1u << 16, 1u << 31, kMost}) {
    input.exchange->grants = beyond;
    CHECK_EQ(decide(input), PlanError::kGrantCount);
  }
  input.exchange->grants = kGrantsMax;
  for (uint32_t beyond : {kRelocationsMax + 1, 1u << 31, kMost}) {
    input.exchange->relocations = beyond;
    CHECK_EQ(decide(input), PlanError::kRelocationCount);
  }
  input.exchange->relocations = kRelocationsMax;
  for (uint32_t beyond : {kRequirementsMax + 1, 1u << 31, kMost}) {
    input.exchange->requirements = beyond;
    CHECK_EQ(decide(input), PlanError::kRequirementCount);
  }
}

TEST("the head's access words: what means something, no wider than the row") {
  for (uint32_t row = 0; row < 8; row++) {
    for (uint32_t access = 0; access < 8; access++) {
      PlanInput input = good();
      input.context.rowAccess = row;
      input.exchange->headAccess = access;
      const bool isMeaningful = access != 4 && access != 5;
      const bool isWider = (access & 3 & ~row) != 0;
      CHECK_EQ(decide(input) == PlanError::kNone, isMeaningful && !isWider);
      if (decide(input) != PlanError::kNone) CHECK_EQ(decide(input), PlanError::kAccess);
    }
  }
  for (uint32_t unknown : {8u, 11u, 0x80000000u, kMost}) {
    PlanInput input = good();
    input.context.rowAccess = kMost;
    input.exchange->headAccess = unknown;
    CHECK_EQ(decide(input), PlanError::kAccess);
  }
}

TEST("a grant's access words") {
  for (uint32_t access : {1u, 2u, 3u, 6u, 7u}) CHECK_EQ(decideGrant(kPlace, 8, access), PlanError::kNone);
  for (uint32_t access : {0u, 4u, 5u, 8u, 9u, 0x10002u, kMost}) CHECK_EQ(decideGrant(kPlace, 8, access), PlanError::kAccess);
}

TEST("a grant stays inside the guest's addresses") {
  CHECK_EQ(decideGrant(kGuestAddressFirst, 1), PlanError::kNone);
  CHECK_EQ(decideGrant(kGuestAddressFirst, kMost), PlanError::kNone);
  CHECK_EQ(decideGrant(kGuestAddressEnd - 1, 1), PlanError::kNone);
  CHECK_EQ(decideGrant(kGuestAddressEnd - kMost, kMost), PlanError::kNone);
  for (uint64_t address : {uint64_t(0), uint64_t(1), kGuestAddressFirst - 1, kGuestAddressEnd, kGuestAddressEnd + 1, uint64_t(1) << 47,
                           uint64_t(1) << 63, ~uint64_t(0)})
    CHECK_EQ(decideGrant(address, 1), PlanError::kGrantAddress);
  CHECK_EQ(decideGrant(kGuestAddressEnd - 1, 2), PlanError::kGrantAddress);
  CHECK_EQ(decideGrant(kGuestAddressEnd - kMost + 1, kMost), PlanError::kGrantAddress);
}

TEST("an argument that is a pointer leads to one grant, of a command without a head") {
  for (uint32_t target : {1u, 2u}) CHECK_EQ(decide(leading(0, target)), PlanError::kNone);
  for (uint32_t target : {0u, 3u, kMost}) CHECK_EQ(decide(leading(0, target)), PlanError::kRelocationTarget);
  for (uint32_t offset : {1u, 7u, 8u, kMost}) CHECK_EQ(decide(leading(offset)), PlanError::kRelocationOffset);
  PlanInput withHead = leading();
  withHead.context.headBytes = 1;
  CHECK_EQ(decide(withHead), PlanError::kRelocationRegion);
  for (Operation operation : {Operation::kOpen, Operation::kRead, Operation::kWrite, Operation::kMmap}) {
    PlanInput other = leading();
    other.context.operation = operation;
    CHECK_EQ(decide(other), PlanError::kRelocationRegion);
  }
  PlanInput twice = leading();
  relocate(twice, kSourceArgument, 0, 2);
  CHECK_EQ(decide(twice), PlanError::kRelocationOffset);
  // The call's offset, the number above it, is no place for a pointer.
  PlanInput beside = leading();
  beside.exchange->relocation[0].region = kSourceOffset;
  CHECK_EQ(decide(beside), PlanError::kRelocationRegion);
  // What follows it is checked too.
  PlanInput followed = leading();
  relocate(followed, 1, 0, 2);
  CHECK_EQ(decide(followed), PlanError::kNone);
  relocate(followed, 1, 60, 2);
  CHECK_EQ(decide(followed), PlanError::kRelocationOffset);
}

TEST("a range check never overflows") {
  CHECK(isGuestRange(kGuestAddressFirst, 0));
  CHECK(isGuestRange(kGuestAddressFirst, kGuestAddressEnd - kGuestAddressFirst));
  CHECK(!isGuestRange(kGuestAddressFirst, kGuestAddressEnd - kGuestAddressFirst + 1));
  CHECK(!isGuestRange(kGuestAddressFirst, ~uint64_t(0)));
  CHECK(!isGuestRange(kGuestAddressEnd - 1, ~uint64_t(0)));
  CHECK(!isGuestRange(kPlace, uint64_t(0) - kPlace));
  CHECK(!isGuestRange(kPlace, uint64_t(0) - kPlace + 1));
  CHECK(!isGuestRange(kGuestAddressEnd, 0));
  CHECK(!isGuestRange(~uint64_t(0), 0));
  CHECK(!isGuestRange(0, 0));
}

// The paper's released code checked `addr - start >= 0` on unsigned integers, which is always true: an address below the start of
// the permitted range passed.
TEST("regression: the paper's vacuous bound, addr - start >= 0 on unsigned") {
  for (uint64_t below = 0; below < kGuestAddressFirst; below += 273) {
    CHECK(!isGuestRange(below, 1));
    CHECK(!isGuestRange(below, kGuestAddressFirst));
    CHECK_EQ(decideGrant(below, 4096), PlanError::kGrantAddress);
  }
  // Wraps to an end that looks right.
  CHECK_EQ(decideGrant(uint64_t(0) - 8, 4096 + 16), PlanError::kGrantAddress);
  CHECK_EQ(decideGrant(uint64_t(0) - kMost, kMost), PlanError::kGrantAddress);
}

TEST("a grant has bytes") {
  CHECK_EQ(decideGrant(kPlace, 0), PlanError::kGrantLength);
  CHECK_EQ(decideGrant(kPlace, 1), PlanError::kNone);
}

TEST("all grants together stay inside the envelope, summed without wrapping at 2^32") {
  PlanInput input = good();
  input.envelope.grantBytesMax = 100;
  grant(input, kPlace, 60);
  grant(input, kPlace, 40);
  CHECK_EQ(decide(input), PlanError::kNone);
  input.exchange->grant[1].length = 41;
  CHECK_EQ(decide(input), PlanError::kGrantLength);
  input.exchange->grant[0].length = input.exchange->grant[1].length = 0x80000000u;  // together 0 in 32 bits
  CHECK_EQ(decide(input), PlanError::kGrantLength);
  input.envelope.grantBytesMax = 0x100000000ull;
  CHECK_EQ(decide(input), PlanError::kNone);
  grant(input, kPlace, 1);
  CHECK_EQ(decide(input), PlanError::kGrantLength);
  input.envelope.grantBytesMax = 0;
  CHECK_EQ(decide(input), PlanError::kGrantLength);
  input.exchange->grants = 0;
  CHECK_EQ(decide(input), PlanError::kNone);
}

TEST("a bad grant is found wherever it stands") {
  for (uint32_t place = 0; place < 5; place++) {
    PlanInput input = good();
    for (int i = 0; i < 5; i++) grant(input, kPlace, 8);
    input.exchange->grant[place].address = 8;
    CHECK_EQ(decide(input), PlanError::kGrantAddress);
  }
}

TEST("only a row with nested pointers has grants") {
  PlanInput input = good();
  input.context.nested = false;
  CHECK_EQ(decide(input), PlanError::kNone);
  grant(input, kPlace, 8);
  CHECK_EQ(decide(input), PlanError::kNotNested);
}

TEST("a pointer lies in a region that exists") {
  CHECK_EQ(decideRelocation(0, 0, 1), PlanError::kNone);
  CHECK_EQ(decideRelocation(1, 0, 2), PlanError::kNone);
  for (uint32_t region : {3u, 4u, kSourceArgument, kSourceOffset}) CHECK_EQ(decideRelocation(region, 0, 1), PlanError::kRelocationRegion);
}

TEST("a pointer leads to a grant: not to the head, not beyond") {
  CHECK_EQ(decideRelocation(0, 0, 2), PlanError::kNone);
  for (uint32_t target : {0u, 3u, kMost}) CHECK_EQ(decideRelocation(0, 0, target), PlanError::kRelocationTarget);
}

TEST("a pointer may lead to its own region") { CHECK_EQ(decideRelocation(1, 8, 1), PlanError::kNone); }

TEST("a pointer needs a region that the driver reads") {
  CHECK_EQ(decideRelocation(1, 0, 1, 64, kToDriver), PlanError::kNone);
  for (uint32_t access : {kFromDriver, kFromDriver | kFromDriverOnError})
    CHECK_EQ(decideRelocation(1, 0, 1, 64, access), PlanError::kRelocationRegion);
  CHECK_EQ(decideRelocation(2, 0, 1), PlanError::kRelocationRegion);
  PlanInput input = good();
  grant(input, kPlace, 8);
  relocate(input, 0, 0, 1);
  for (uint32_t access : {0u, kFromDriver, kFromDriver | kFromDriverOnError}) {
    input.exchange->headAccess = access;
    CHECK_EQ(decide(input), PlanError::kRelocationRegion);
  }
  input.exchange->headAccess = kToDriver;
  CHECK_EQ(decide(input), PlanError::kNone);
}

TEST("a pointer's eight bytes lie inside its region") {
  CHECK_EQ(decideRelocation(0, kHeadBytes - 8, 1), PlanError::kNone);
  CHECK_EQ(decideRelocation(1, 56, 1), PlanError::kNone);
  CHECK_EQ(decideRelocation(1, 0, 1, 8), PlanError::kNone);
  for (uint32_t offset : {kHeadBytes - 7, kHeadBytes - 1, kHeadBytes, kHeadBytes + 1, 1u << 31, kMost - 8, kMost - 7, kMost - 6, kMost})
    CHECK_EQ(decideRelocation(0, offset, 1), PlanError::kRelocationOffset);
  for (uint32_t offset : {57u, 64u, kMost - 7, kMost}) CHECK_EQ(decideRelocation(1, offset, 1), PlanError::kRelocationOffset);
  for (uint32_t bytes = 1; bytes < 8; bytes++) CHECK_EQ(decideRelocation(1, 0, 1, bytes), PlanError::kRelocationOffset);
}

TEST("a head of no bytes has no pointers") {
  PlanInput input = good();
  input.context.headBytes = 0;
  grant(input, kPlace, 8);
  relocate(input, 0, 0, 1);
  CHECK_EQ(decide(input), PlanError::kRelocationOffset);
}

TEST("pointers don't lie across each other") {
  for (uint32_t region : {0u, 1u}) {
    for (uint32_t distance = 0; distance <= 16; distance++) {
      for (bool isDescending : {false, true}) {
        PlanInput input = good();
        grant(input, kPlace, 64);
        relocate(input, region, isDescending ? 24 + distance : 24, 1);
        relocate(input, region, isDescending ? 24 : 24 + distance, 1);
        CHECK_EQ(decide(input), distance < 8 ? PlanError::kRelocationOffset : PlanError::kNone);
      }
    }
  }
}

TEST("pointers across each other are found among others between them") {
  PlanInput input = good();
  grant(input, kPlace, 128);
  grant(input, kPlace, 128);
  for (uint32_t offset : {64u, 0u, 32u, 96u, 16u}) relocate(input, 1, offset, 1);
  for (uint32_t offset : {4u, 100u}) relocate(input, 2, offset, 1);
  CHECK_EQ(decide(input), PlanError::kNone);
  relocate(input, 1, 39, 1);
  CHECK_EQ(decide(input), PlanError::kRelocationOffset);
}

TEST("equal offsets of different regions are different places") {
  PlanInput input = good();
  grant(input, kPlace, 64);
  grant(input, kPlace, 64);
  for (uint32_t region : {0u, 1u, 2u}) relocate(input, region, 8, 1);
  CHECK_EQ(decide(input), PlanError::kNone);
}

TEST("a requirement's errno is an errno") {
  for (uint32_t errnum : {1u, 22u, kErrnoMax}) CHECK_EQ(decideRequirement(0, 0, 4, errnum), PlanError::kNone);
  for (uint32_t errnum : {0u, kErrnoMax + 1, 1u << 31, kMost}) CHECK_EQ(decideRequirement(0, 0, 4, errnum), PlanError::kErrno);
}

TEST("a handle is 4 or 8 bytes wide, wherever it comes from") {
  for (uint32_t source : {0u, 1u, kSourceOffset, kSourceArgument}) {
    for (uint32_t width : {4u, 8u}) CHECK_EQ(decideRequirement(source, 0, width), PlanError::kNone);
    for (uint32_t width : {0u, 1u, 2u, 3u, 5u, 7u, 9u, 12u, 16u, kMost})
      CHECK_EQ(decideRequirement(source, 0, width), PlanError::kRequirement);
  }
}

TEST("a handle comes from a region that exists, the offset or the argument") {
  for (uint32_t source : {0u, 1u, kSourceOffset, kSourceArgument}) CHECK_EQ(decideRequirement(source, 0, 8), PlanError::kNone);
  for (uint32_t source : {2u, 1u << 31, kSourceArgument - 1}) CHECK_EQ(decideRequirement(source, 0, 8), PlanError::kRequirement);
}

TEST("the call's own words need no offset") {
  for (uint32_t source : {kSourceOffset, kSourceArgument}) CHECK_EQ(decideRequirement(source, kMost, 8), PlanError::kNone);
}

TEST("a handle lies inside its region") {
  for (uint32_t width : {4u, 8u}) {
    CHECK_EQ(decideRequirement(0, kHeadBytes - width, width), PlanError::kNone);
    CHECK_EQ(decideRequirement(1, 64 - width, width), PlanError::kNone);
    CHECK_EQ(decideRequirement(1, 0, width, 22, width), PlanError::kNone);
    for (uint32_t offset : {kHeadBytes - width + 1, kHeadBytes, kMost - width, kMost - width + 1, kMost})
      CHECK_EQ(decideRequirement(0, offset, width), PlanError::kRequirement);
    for (uint32_t offset : {65 - width, 64u, kMost - width + 1, kMost}) CHECK_EQ(decideRequirement(1, offset, width), PlanError::kRequirement);
    CHECK_EQ(decideRequirement(1, 0, width, 22, width - 1), PlanError::kRequirement);
  }
}

TEST("every rule is reached by random plans, and the oracle agrees on a hundred thousand of them") {
  std::mt19937_64 random(20140301);
  uint32_t decisions[static_cast<uint32_t>(PlanError::kForget) + 1] = {};
  for (int round = 0; round < 100000; round++) {
    uint8_t bytes[128];
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
    PlanInput input = planFromBytes(bytes, random() % (sizeof bytes + 1));
    decisions[static_cast<uint32_t>(decide(input))]++;
  }
  for (uint32_t error = 0; error <= static_cast<uint32_t>(PlanError::kForget); error++)
    if (decisions[error] == 0) throw check::Failure("no random plan came to PlanError " + std::to_string(error));
  CHECK(decisions[0] > 1000);
}
