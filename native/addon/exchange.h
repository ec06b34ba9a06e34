// The page that one mediator's JavaScript and C++ share: events go up in it, verdicts and settlements come down.
// One structure, so that a steady-state operation needs one native call and no allocation. JavaScript learns the offsets from
// `exchangeLayout` (mediator_binding.cc), never by hand.
#pragma once

#include <cstdint>

namespace postern {

enum class Event : uint32_t {
  kAdmit = 1,     // judge `call` with `head`
  kComplete = 2,  // settle `call`, whose driver answered `outcome`, with `head` as the driver left it
  kControl = 3,   // the control eventfd was written: look at the message port
  kExit = 4,      // the guest's last process has gone and everything is released
  kNote = 5,      // something to record: `note` says what
  kFront = 7,     // the guest has come to the front or left it, as it was told to
  kRefused = 6,   // the plan of a module on trial was refused, noteDetail is a PlanError: have `call` judged again
};

enum class Note : uint32_t {
  kUnknownCommand = 1,   // an ioctl that the class's table does not have
  kPlanRefused = 2,      // the policy's plan broke a rule: noteDetail is a PlanError
  kBackendLost = 3,      // the backend process or the driver VM has gone
  kPageRefused = 4,      // the driver domain named pages that it may not give
  kWindowFull = 5,       // no descriptor left for this process
  kOutsideWindow = 6,    // dup2 of a placeholder to an ordinary number
  kLimit = 7,            // a per-guest limit of the envelope: noteDetail is the errno
  kBackendConfused = 8,  // a completion that answers nothing
  kInjectionFailed = 9,  // the guest's thread could not be made to map
  kRequirementFailed = 10,  // a handle or offset that this guest has not learnt
  kDeviceBusy = 11,         // an exclusive device that another guest has open
  kDescriptorUnserved = 12,  // a descriptor of a kind that no policy judges: noteDetail is the kind
  kDescriptorStrange = 13,   // the driver's number is no descriptor of the kind that the policy says: noteDetail is the kind
  kOperationOverdue = 14,  // an operation that may not sleep has not ended within its deadline
  kMemoryKept = 15,        // a guest's process could not be made to let go of the memory's descriptor, and was killed
  kFrontendBroken = 16,     // a guest VM's frontend asked for what no honest one does: noteDetail is a VmBreach
};

enum class VmBreach : uint32_t {
  kRing = 1,       // the ring is not in the guest's memory, or no ring
  kKind = 2,       // a request of no kind
  kDevice = 3,     // an open of a device that the guest has not
  kFileTaken = 4,  // an open under a number that is in use, or the host's to give
  kFile = 5,       // an operation on a file that is not open
  kMapping = 6,    // an unmapping of what is not mapped
  kRounds = 7,     // an operation that asks for pages without an end
};

enum class Operation : uint32_t { kOpen = 0, kIoctl = 1, kRead = 2, kWrite = 3, kMmap = 4, kSeek = 5 };

// The contract's `descriptor-kind` and `descriptor-flow`.
constexpr uint32_t kDescriptorKinds = 3;
enum class DescriptorFlow : uint32_t { kToDriver = 0, kFromDriver = 1, kRepeated = 2 };

// The contract's `scope`.
enum class Scope : uint32_t { kGuest = 0, kDevice = 1, kSession = 2 };

// Bits of the contract's `access` flags.
constexpr uint32_t kToDriver = 1, kFromDriver = 2, kFromDriverOnError = 4;

struct ExchangeCall {
  uint32_t session, node, operation, command, fileFlags;
  uint32_t generation;  // the host's own: which of the class's modules has judged it
  uint64_t argument, length, offset, state;
};

struct ExchangeGrant {
  uint64_t address;
  uint32_t length, access;
};
struct ExchangeRelocation {
  uint32_t region, offset, target, reserved;
};
struct ExchangeRequirement {
  uint32_t table, source, offset, width, errnum, reason, within;
};
struct ExchangeDescriptor {
  uint32_t region, offset, width, kind, flow, closeOnExec;
};
struct ExchangeForgetting {
  uint32_t table, source, offset, width;
};
struct ExchangeLesson {
  uint32_t table, region, offset, width;
};
struct ExchangeMask {
  uint32_t region, offset, width, reserved;
  uint64_t keep;
};

// VIDIOC_S_EXT_CTRLS with 1024 controls, each with a payload, needs 1025 grants.
constexpr uint32_t kGrantsMax = 1280;
constexpr uint32_t kRelocationsMax = 1280;
constexpr uint32_t kRequirementsMax = 64;
// An atomic commit with a fence for each plane; V4L2's planes are 8.
constexpr uint32_t kDescriptorsMax = 64;
constexpr uint32_t kLessonsMax = 64;
constexpr uint32_t kForgetsMax = 16;
constexpr uint32_t kMasksMax = 16;
// _IOC_SIZE has 14 bits.
constexpr uint32_t kHeadBytesMax = 16384;

constexpr uint32_t kVerdictAllow = 0, kVerdictDeny = 1, kVerdictFault = 2, kVerdictAgain = 3;

struct Exchange {
  // Up: the event.
  uint32_t event, classIndex, headBytes, commandRow;
  uint32_t note, noteDetail, process, noteErrno;
  ExchangeCall call;
  int64_t outcome;
  // Down: the verdict.
  uint32_t verdict, errnum, reason, field;
  uint32_t headAccess, blocking, grants, relocations;
  uint32_t requirements, descriptors, forgets, alone;
  uint32_t observed, verdictReserved;  // the operation's end is wanted, though nothing is to be settled
  // Down: the settlement.
  uint64_t state;
  uint32_t watch, idle, lessons, masks, settlementFault, settlementReserved;
  ExchangeForgetting forget[kForgetsMax];
  ExchangeRequirement requirement[kRequirementsMax];
  ExchangeDescriptor descriptor[kDescriptorsMax];
  ExchangeLesson lesson[kLessonsMax];
  ExchangeMask mask[kMasksMax];
  ExchangeGrant grant[kGrantsMax];
  ExchangeRelocation relocation[kRelocationsMax];
  uint8_t head[kHeadBytesMax];
};

}  // namespace postern
