// Whose is a descriptor? The guest's threads by their pidfds, copies of their descriptors, and the sessions that these lead to.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "descriptor_reserve.h"
#include "mediator.h"
#include "process_view.h"
#include "window.h"

#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL
#endif

namespace postern {
namespace {

// Threads whose descriptors are kept at hand; a guest with more pays for looking them up again.
constexpr size_t kThreadsMax = 512;

}  // namespace

Mediator::Thread* Mediator::threadOf(pid_t tid) {
  auto known = threads_.find(tid);
  if (known != threads_.end()) return &known->second;
  // A guest that only opens, and is refused, looks up no descriptor: its threads' ends are seen here.
  reapThreads();
  if (threads_.size() >= kThreadsMax) {
    for (auto& [other, thread] : threads_) cache_.forgetThread(other);
    threads_.clear();
  }
  auto tgid = threadGroupOf(tid);
  if (!tgid) return nullptr;
  // A thread may have a descriptor table of its own (unshare); kernels before 6.9 know only processes.
  Descriptor pidfd(makeDescriptor([&] { return syscall(SYS_pidfd_open, tid, PIDFD_THREAD); }));
  const bool tellsItsEnd = pidfd.valid() || tid == *tgid;
  if (!pidfd.valid()) pidfd.reset(makeDescriptor([&] { return syscall(SYS_pidfd_open, *tgid, 0); }));
  if (!pidfd.valid()) return nullptr;
  Thread& thread = threads_[tid];
  thread.pidfd = std::move(pidfd);
  thread.tgid = *tgid;
  if (tellsItsEnd) (void)cache_.watch(tid, thread.pidfd.get());
  return &thread;
}

pid_t Mediator::tgidOf(pid_t tid) {
  const Thread* thread = threadOf(tid);
  return thread != nullptr ? thread->tgid : tid;
}

void Mediator::reapThreads() {
  for (pid_t ended : cache_.reapThreads()) threads_.erase(ended);
}

void Mediator::forgetThread(pid_t tid) {
  cache_.forgetThread(tid);
  threads_.erase(tid);
}

// A copy of the guest's descriptor. It is held for the operation only.
Descriptor Mediator::borrow(pid_t tid, int number) {
  for (int attempt = 0; attempt < 2; attempt++) {
    Thread* thread = threadOf(tid);
    if (thread == nullptr) break;
    Descriptor copy(makeDescriptor([&] { return syscall(SYS_pidfd_getfd, thread->pidfd.get(), number, 0); }));
    if (copy.valid()) return copy;
    if (errno != ESRCH) break;
    forgetThread(tid);  // Another thread had this number before.
  }
  return Descriptor();
}

Mediator::Holding Mediator::lookUp(const seccomp_notif& notification, int number, bool needsCopy) {
  const pid_t tid = static_cast<pid_t>(notification.pid);
  if (!threadsLookedAt_) reapThreads();
  Holding holding;
  if (const auto* known = cache_.find(tid, number)) {
    holding.session = known->session;
    holding.flags = known->flags;
    if (!needsCopy) return holding;
  }
  // Asked before the look: a change that is under way now may end while it is looked, and what was seen is then the number's old meaning.
  const bool isSettled = isInWindow(number) && cache_.isSettled();
  holding.copy = borrow(tid, number);
  holding.session = holding.copy.valid() ? sessionOf(holding.copy.get()) : nullptr;
  if (holding.session == nullptr) return holding;
  holding.flags = fcntl(holding.copy.get(), F_GETFL);
  // Only of a thread that is still in its call is it known that the descriptor was its own, and only in the window nothing changes unseen.
  if (isSettled && listener_.isValid(notification.id)) cache_.remember(tid, number, holding.session, holding.flags);
  return holding;
}

// What the call means has not been seen, for want of descriptors: then it is not the kernel's to carry out, and the guest is told.
bool Mediator::refuseUnseen(const seccomp_notif& notification) {
  if (!DescriptorReserve::ofThread().isExhausted()) return false;
  note(Note::kLimit, EMFILE);
  (void)listener_.answer(notification.id, 0, EMFILE);
  return true;
}

int Mediator::freeWindowSlot(pid_t tid, int least) {
  for (int number = std::max(least, int(POSTERN_WINDOW_FIRST)); number <= int(POSTERN_WINDOW_LAST); number++) {
    struct stat st;
    std::string path = "/proc/" + std::to_string(tid) + "/fd/" + std::to_string(number);
    if (lstat(path.c_str(), &st) != 0) return number;
  }
  return -1;
}

}  // namespace postern
