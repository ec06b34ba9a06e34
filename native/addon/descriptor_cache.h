// Which session a guest thread's descriptor leads to, remembered from one operation to the next: borrowing the descriptor each time
// (pidfd_getfd) costs more than all else that the host does for a short operation.
//
// What is remembered is true because nothing changes it unseen:
//   - a call that frees or replaces a number of the window (close, close_range, dup2, dup3), that ends descriptors (execve) or that
//     changes a file's flags (F_SETFL, FIONBIO) is notified by the filter, as io_uring and nested listeners, which could do it in
//     secret, are refused. Before such a call goes on, everything is forgotten, and until it has returned nothing is remembered, in no
//     thread of the guest: tables can be shared.
//   - a thread's number is given to another one only when the thread has ended, and that shows on its pidfd, which is looked at
//     after every notification has been received, before anything remembered is used.
//   - a session's end forgets it.
#pragma once

#include <sys/types.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <vector>

#include "descriptors.h"

namespace postern {

struct Session;

class DescriptorCache {
 public:
  struct Entry {
    pid_t tid = 0;  // 0: empty
    int number = -1;
    Session* session = nullptr;
    int flags = 0;  // as F_GETFL tells
  };

  DescriptorCache();

  // What is remembered of the thread's descriptor; null when it must be borrowed.
  const Entry* find(pid_t tid, int number) const;
  // Does nothing while a change is under way, and for a thread that is not watched.
  void remember(pid_t tid, int number, Session* session, int flags);

  // Watches a thread by its pidfd; false where the kernel can't tell of its end. The caller forgets a thread before its pidfd is closed.
  bool watch(pid_t tid, int pidfd);
  void forgetThread(pid_t tid);
  void forgetSession(const Session* session);
  void forgetAll();
  // Has something as long as threads have ended that have not been reaped.
  int threads() const { return threads_.get(); }
  // Threads that have ended since the last look, forgotten here; the caller forgets its own about them.
  const std::vector<pid_t>& reapThreads();

  // The thread is about to make a call, of this number, that changes descriptors or their flags.
  void beginChange(pid_t tid, int call);
  // A notification of this thread has come: an earlier call of it has returned.
  void threadReturned(pid_t tid);
  // Grows with everything that is forgotten: what was learnt at another number is not known any more.
  uint64_t generation() const { return generation_; }
  // Whether what is learnt now may be remembered. Looks into /proc, seldom, for calls whose threads make no other that is notified.
  bool isSettled();

 private:
  // A few threads' descriptors at once; a collision costs borrowing anew.
  static constexpr size_t kEntries = 256;
  struct Change {
    pid_t tid;
    int call;
  };
  static size_t slotOf(pid_t tid, int number) { return (static_cast<size_t>(tid) * 31 + static_cast<size_t>(number)) % kEntries; }

  std::array<Entry, kEntries> entries_;
  std::vector<pid_t> watched_, ended_;
  std::vector<Change> changes_;
  uint64_t generation_ = 1;
  std::chrono::steady_clock::time_point lastLook_{};
  Descriptor threads_;  // epoll of the watched threads' pidfds
};

}  // namespace postern
