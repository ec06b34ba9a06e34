// The host's records of one guest: its backends, open files, mappings and operations in flight.
#pragma once

#include <linux/seccomp.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "channel.h"
#include "descriptors.h"
#include "fast_ring.h"
#include "guest_memory.h"
#include "guest_view.h"
#include "placeholder.h"
#include "plan.h"

namespace postern {

class Domain;

using Clock = std::chrono::steady_clock;

// The kernel's internal "restart the call if the handler says so" (include/linux/errno.h): what an interrupted driver returns.
constexpr int kErestartsys = 512;

// A backend process: it serves the files that one guest process opened, for as long as any of them or of their mappings lives.
struct Backend {
  std::shared_ptr<Domain> domain;  // it outlives the mediator's own where that has ended and been replaced
  Channel* channel = nullptr;
  pid_t tgid = 0;
  Descriptor guestProcess;  // pidfd: readable when the guest process has ended
  bool guestEnded = false;
  bool lost = false;      // the agent's process died, or broke the protocol
  bool detached = false;  // of a domain that is no more: its event counter may be another file's by now
  uint32_t sessions = 0, mappings = 0;
  bool files[POSTERN_FILES_MAX] = {};
  std::map<uint32_t, std::string> claims;  // by file: the device, where its class is exclusive
};

// A handle that an operation relies on, until it has ended.
struct RequiredHandle {
  uint32_t table = 0;
  uint64_t value = 0;
};

// The classes have a handful of tables.
constexpr uint32_t kTablesApart = 16;
// No generation of a class's modules.
constexpr uint32_t kNeverSettled = UINT32_MAX;

// What a file is that a driver made and gave out as a descriptor.
struct TakenFile {
  uint32_t kind = 0;  // the contract's descriptor-kind
  uint32_t mode = 0;  // as fstat says beside the driver, and so on
  uint64_t device = 0, inode = 0, bytes = 0;

  void describe(struct stat& st) const;
  void describe(struct statx& st) const;
};

// What an operation showed, as the driver got it: done again when its guest comes to the front.
struct Replay {
  uint32_t command = 0;
  uint32_t key = 0;  // what it showed it on; a later one on the same takes its place
  std::vector<std::vector<uint8_t>> regions;
  std::vector<ExchangeRelocation> relocations;
};

// One open file of the guest.
struct Session {
  uint32_t id = 0;
  Node* node = nullptr;
  Backend* backend = nullptr;
  uint32_t file = 0;  // the backend's number of it
  uint32_t accessMode = 0;
  uint64_t state = 0;  // the policy's word
  uint32_t watch = 0, idle = 0, ready = 0;
  Placeholder placeholder;
  uint32_t guestFile = 0;  // a guest VM's own number of it
  bool placed = false;
  std::optional<TakenFile> taken;      // a descriptor that a driver made
  std::map<Backend*, uint32_t> copies;  // its numbers in other backend processes that were lent it
  std::map<int32_t, int32_t> given;     // numbers that this file's driver saw -> the guest's
  uint32_t polls = 0;       // of its guest, that are waiting
  uint32_t handedOver = 0;   // a bit for each handover of its class that it gave when its guest left the front
  bool isDraining = false;   // its guest has come to the front, but what the driver has for it came before
  std::vector<Replay> replays;
  uint32_t operations = 0;  // under way: as in the kernel, the file stays open while one runs
  uint32_t admitted = 0;    // of these, what the driver has or will get
  // The module by which the session was settled last; what it said holds on where an operation is not settled.
  uint32_t settledBy = kNeverSettled;
  bool isAlone = false;     // one of them admits no other
  // When a handle table of the session was emptied, in admissions of the guest; two tables that share an entry are emptied together.
  uint64_t emptied[kTablesApart] = {};
  bool hungUp = false;      // the guest's last copy has gone
  // Who was last seen to hold it, as a place to borrow from; checked by its cookie then.
  pid_t holder = 0;
  int holderNumber = -1;
};

// Driver pages mapped into the guest. The backend's own mapping, which keeps them alive, goes when no process of the guest maps any.
struct Mapping {
  uint32_t id = 0;  // the backend's number of it
  Backend* backend = nullptr;
  std::vector<uint64_t> pages;  // offsets in the RAM file
  uint64_t apertureOffset = 0;  // in a guest VM's aperture
  bool releasing = false;
};

enum class PollEnd { kNone, kReady, kTimeout, kGone };

struct PolledSession {
  uint32_t session;
  uint32_t events;
  int copy;  // its place in `copies`; -1: it is in an epoll set
};

struct PolledFile {
  Descriptor descriptor;
  uint32_t events;
};

// A poll, select or epoll_wait that waits in the host.
struct Poll {
  uint64_t id = 0, notification = 0;
  seccomp_data data{};  // the system call
  pid_t tgid = 0, tid = 0;
  std::vector<PolledSession> sessions;
  std::vector<PolledFile> copies;  // of all the guest's descriptors that it is about
  Descriptor set;                  // an epoll set of them
  uint32_t awaited = 0;            // answers of backends
  std::optional<Clock::time_point> deadline;
  bool looksOnly = false, kernelWaits = false;
  PollEnd end = PollEnd::kNone;
};

// A descriptor in the argument of one operation.
struct PassedDescriptor {
  ExchangeDescriptor place{};
  Session* session = nullptr;  // what is lent, or what is to be the guest's
  int64_t original = 0;        // the guest's own number
  bool isSubmitted = false;    // the backend is told of it
  uint32_t file = 0, channel = 0;
};

// Where a region's bytes are while the driver works on them.
struct Region {
  uint64_t address = 0;  // in the guest
  uint32_t bytes = 0;
  uint32_t access = 0;
  uint32_t arena = Arena::kNone;
};

enum class Phase {
  kFree,
  kJudging,   // the policy looks at it
  kQueued,    // admitted; waits for room in the ring or the arena
  kHeld,      // admitted; waits for its guest to come to the front
  kDriving,   // the backend has it
  kSettling,  // the policy looks at the result
};

// One file operation, from its notification to its answer.
struct OperationRecord {
  Phase phase = Phase::kFree;
  uint64_t id = 0;
  uint64_t notification = 0;
  pid_t tgid = 0, tid = 0;
  Descriptor borrowed;  // a copy of the guest's placeholder: the file stays open while an operation runs, as in the kernel
  FastRing* ring = nullptr;  // posted there, in `slot`; else trapped
  uint32_t slot = 0;
  uint32_t postedBytes = 0;
  bool needsCall = false;  // posted, but the policy wants what only a trapped call can give
  Session* session = nullptr;
  Backend* backend = nullptr;
  Operation operation = Operation::kIoctl;
  ExchangeCall call{};
  seccomp_data data{};  // the system call
  uint32_t commandRow = 0;
  uint32_t rowAccess = 0;
  bool nested = false;
  bool positional = false;
  bool closeOnExec = false;
  bool nonblocking = false;
  std::vector<iovec> vectors;    // read, write: the guest's buffers
  std::vector<uint8_t> head;     // ioctl: the snapshot of the argument; later, as the driver left it
  Snapshot snapshot;
  VmAddressSpace* space = nullptr;  // of a program in a guest VM; null: the thread's own memory
  Plan plan;
  std::vector<std::vector<uint8_t>> sent;  // the regions as the driver got them, of a command that may have to be replayed
  bool isRecalled = false;       // a read that was under way when its guest left the front
  std::vector<Region> regions;   // [0] is the head or the read/write buffer
  std::vector<uint64_t> originals;  // the guest's own pointer values, by relocation
  int64_t outcome = 0;
  uint32_t mapping = 0;             // mmap: the backend's number of the mapping to be
  uint32_t ready = 0;
  bool hasReady = false;
  bool abandoned = false;  // its thread has gone
  std::vector<RequiredHandle> required;
  uint64_t admission = 0;  // its number among the guest's admitted operations; 0: not admitted
  bool cancelled = false;
  uint32_t watchesAwaited = 0;
  std::vector<PassedDescriptor> passed;
  uint32_t descriptorArena = Arena::kNone, descriptorBytes = 0;
  bool isObserved = false;    // somebody records how it ends: JavaScript is told of it in any case
  bool mayHaveTaken = false;  // the backend has heard of its descriptors
  int interruption = 0;    // what the guest gets when the driver was interrupted: EINTR, or the kernel's ERESTARTSYS
  uint32_t signalRounds = 0;
  Clock::time_point since;
};

}  // namespace postern
