// What the host reads in /proc about a guest's processes. All of it can be stale by the time it is read: callers check the
// notification's validity afterwards.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace postern {

// The thread group of a thread; nothing when the thread has gone.
std::optional<pid_t> threadGroupOf(pid_t tid);
std::vector<pid_t> threadsOf(pid_t tgid);

struct PendingSignals {
  bool forThread = false;   // sent to this very thread, not blocked
  bool forProcess = false;  // sent to the process, not blocked by this thread
  uint32_t threads = 1;
};
std::optional<PendingSignals> pendingSignals(pid_t tgid, pid_t tid);

// Whether the thread may be in a system call of this number, as far as /proc tells: false only when it surely is not, or has gone.
bool mayBeIn(pid_t tid, int call);

// The inode of the PID namespace that a process is in; 0 when it has gone.
uint64_t pidNamespaceOf(pid_t pid);
// The same of the user namespace of a thread.
uint64_t userNamespaceOf(pid_t tid);
// The processes of a PID namespace and of those that were made in it.
std::vector<pid_t> processesIn(uint64_t pidNamespace);
// Calls `look` for each of these processes, those that appear meanwhile included. False when they may have come and gone without being
// seen: a process that forks and ends, over and over, can stay ahead of who lists it.
bool takeCensus(uint64_t pidNamespace, const std::function<void(pid_t)>& look);
// Whether a thread of another process of the guest uses the same descriptor table as this thread (CLONE_FILES), or may use it.
bool sharesDescriptorTable(pid_t tid, pid_t tgid, uint64_t pidNamespace);

// A mapping of a given file in a process: file offsets, ascending.
struct MappedRange {
  uint64_t address, bytes, offset;
};
std::vector<MappedRange> mappingsOfFile(pid_t pid, uint64_t device, uint64_t inode);

}  // namespace postern
