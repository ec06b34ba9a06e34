// The plan checker: pure arithmetic over what a policy answered, no memory of the guest touched. Everything a plan names is
// untrusted; what passes here may be executed.
#pragma once

#include <cstdint>
#include <vector>

#include "exchange.h"

namespace postern {

// The limits of the module's signed manifest, as the host enforces them whatever the module says.
struct Envelope {
  uint64_t argumentBytesMax = 0;  // the head of a command
  uint64_t transferBytesMax = 0;  // one read or write
  uint64_t grantBytesMax = 0;     // all nested regions of one operation together
  uint32_t grantsMax = 0;
  uint32_t relocationsMax = 0;
  uint32_t requirementsMax = 0;
  uint32_t descriptorsMax = 0;
  uint32_t sessionsMax = 0;
  uint32_t operationsInFlightMax = 0;
  uint32_t mappedPagesMax = 0;
  uint32_t handlesMax = 0;
  uint32_t operations = 0;  // bit per Operation
  bool ioctlTypes[256] = {};
  bool pollSynchronizes = false;  // poll is an operation of the driver's: it is asked only while the guest polls
  bool writesJudged = false;  // the policy sees what is written, as the head
};

enum class PlanError : uint32_t {
  kNone = 0,
  kGrantCount = 1,
  kRelocationCount = 2,
  kRequirementCount = 3,
  kAccess = 4,            // unknown or contradictory access bits, or wider than the command's row
  kGrantAddress = 5,      // null page, overflow, or outside the guest's address space
  kGrantLength = 6,       // zero, or the sum is beyond the envelope
  kNotNested = 7,         // the row allows no nested grants
  kRelocationRegion = 8,  // no such region, or the head of an operation that has none
  kRelocationOffset = 9,  // not inside the region, or overlapping another pointer
  kRelocationTarget = 10,
  kRequirement = 11,  // source, offset or width out of range
  kErrno = 12,        // a denial's errno is not an errno
  kNotAllowed = 13,   // the operation is not in the envelope, or the class's table refuses the command
  kDescriptorCount = 14,
  kDescriptor = 15,  // kind, flow, place or width out of range, against the region's access, or across a pointer or another descriptor
  kForgetCount = 16,
  kForget = 17,  // source, offset or width out of range
};

struct Grant {
  uint64_t address = 0;
  uint32_t length = 0;
  uint32_t access = 0;
};

struct Plan {
  uint32_t headAccess = 0;
  bool blocking = false;
  bool alone = false;
  std::vector<Grant> grants;
  std::vector<ExchangeRelocation> relocations;
  std::vector<ExchangeRequirement> requirements;
  std::vector<ExchangeDescriptor> descriptors;
  std::vector<ExchangeForgetting> forgettings;
};

// What the checker must know of the operation beside the plan.
struct PlanContext {
  Operation operation = Operation::kIoctl;
  uint32_t headBytes = 0;    // of the snapshot
  uint32_t rowAccess = 0;    // the command row's access: the plan may narrow it only
  bool nested = false;       // the row allows nested grants
};

// x86-64 user addresses end below the last page under 2^47.
constexpr uint64_t kGuestAddressEnd = 0x7ffffffff000ull;
// No object of a C program lives in the first page.
constexpr uint64_t kGuestAddressFirst = 4096;
constexpr uint32_t kErrnoMax = 4095;
constexpr uint32_t kSourceOffset = 0xffffffffu, kSourceArgument = 0xfffffffeu;

// Whether [address, address + length) lies inside the guest's address space; never overflows.
bool isGuestRange(uint64_t address, uint64_t length);

// Copies the plan out of the exchange (its counts checked first) and checks it against the envelope.
PlanError readPlan(const Exchange& exchange, const Envelope& envelope, const PlanContext& context, Plan& plan);

}  // namespace postern
