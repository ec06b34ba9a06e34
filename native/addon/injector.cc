#include "injector.h"

#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <optional>

#include "process_view.h"
#include "window.h"

namespace postern {
namespace {

// A thread stops within microseconds unless it sleeps uninterruptibly; then the guest gets ENOMEM rather than a hung host.
constexpr auto kStopBudget = std::chrono::milliseconds(250);
constexpr int kSyscallInstructionBytes = 2;
// ERESTARTSYS to ERESTART_RESTARTBLOCK (include/linux/errno.h): what an interrupted call leaves in rax.
constexpr int64_t kErestartFirst = 512, kErestartLast = 516;

using Clock = std::chrono::steady_clock;

// One guest process, stopped thread by thread for as long as this object lives.
class StoppedProcess {
 public:
  StoppedProcess(const Injection& injection, const InjectionHooks& hooks) : injection_(injection), hooks_(hooks) {}
  ~StoppedProcess() {
    // The target last: it may run only when everything else of the process is itself again.
    for (auto tid = seized_.rbegin(); tid != seized_.rend(); ++tid)
      if (*tid != injection_.tid) letGo(*tid);
    if (targetSeized_) letGo(injection_.tid);
    for (siginfo_t& info : swallowed_) giveBack(info);
  }

  // Stops every thread of the process that isn't waiting for us; new ones may appear until all are stopped.
  bool stopOthers() {
    const auto deadline = Clock::now() + kStopBudget;
    for (bool changed = true; changed;) {
      changed = false;
      for (pid_t tid : threadsOf(injection_.tgid)) {
        if (std::find(seized_.begin(), seized_.end(), tid) != seized_.end()) continue;
        const bool isTarget = tid == injection_.tid;
        if (!isTarget && hooks_.isWaiting(tid)) continue;
        if (ptrace(PTRACE_SEIZE, tid, 0, isTarget ? PTRACE_O_EXITKILL : 0) != 0) {
          if (errno == ESRCH) continue;
          return false;
        }
        seized_.push_back(tid);
        targetSeized_ |= isTarget;
        changed = true;
        if (ptrace(PTRACE_INTERRUPT, tid, 0, 0) != 0 || isTarget) continue;
        if (!awaitStop(tid, deadline)) return false;
      }
    }
    return targetSeized_;
  }

  // The target, which runs as soon as its notification is answered, stops on its way back to user space. From then on no signal
  // disturbs its steps: they wait until it is let go.
  bool awaitTarget() {
    int status;
    for (;;) {
      if (waitpid(injection_.tid, &status, __WALL) != injection_.tid || !WIFSTOPPED(status)) return false;
      if (status >> 16 == PTRACE_EVENT_STOP) break;
      swallow(WSTOPSIG(status));
      if (ptrace(PTRACE_CONT, injection_.tid, 0, 0) != 0) return false;
    }
    if (ptrace(PTRACE_GETREGS, injection_.tid, 0, &saved_) != 0) return false;
    if (ptrace(PTRACE_GETSIGMASK, injection_.tid, sizeof signalMask_, &signalMask_) != 0) return false;
    const uint64_t allButSteps = ~(1ull << (SIGTRAP - 1));
    targetStopped_ = ptrace(PTRACE_SETSIGMASK, injection_.tid, sizeof allButSteps, &allButSteps) == 0;
    return targetStopped_;
  }

  // Executes one system call in the target's thread. Its result, or -ESRCH when the thread has gone.
  int64_t call(long number, uint64_t a = 0, uint64_t b = 0, uint64_t c = 0, uint64_t d = 0, uint64_t e = 0, uint64_t f = 0) {
    return begin(number, a, b, c, d, e, f) ? *outcome(0) : -ESRCH;
  }
  bool begin(long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f) {
    user_regs_struct regs = saved_;
    // The trapped mmap's own `syscall` instruction is executed again, with other registers.
    regs.rip -= kSyscallInstructionBytes;
    regs.rax = static_cast<uint64_t>(number);
    regs.orig_rax = ~0ull;
    regs.rdi = a, regs.rsi = b, regs.rdx = c, regs.r10 = d, regs.r8 = e, regs.r9 = f;
    stepRegs_ = regs;
    stepNumber_ = regs.rax;
    return step(&stepRegs_);
  }
  // The result of what begin() began; with WNOHANG also nothing, when it has not ended yet.
  //
  // The instruction is in the guest's memory, where a process that is not stopped may have put another one in its place (a shared mapping,
  // an open /proc/PID/mem): that it was a system call is the kernel's word, orig_rax, not the guest's. What is not one fails with -EFAULT.
  std::optional<int64_t> outcome(int flags) {
    for (;;) {
      int status;
      const pid_t waited = waitpid(injection_.tid, &status, __WALL | flags);
      if (waited == 0) return std::nullopt;
      user_regs_struct regs;
      const bool isStopped = waited == injection_.tid && WIFSTOPPED(status);
      if (!isStopped || ptrace(PTRACE_GETREGS, injection_.tid, 0, &regs) != 0) {
        targetStopped_ = false;
        return -ESRCH;
      }
      const bool isStepTaken = WSTOPSIG(status) == SIGTRAP && status >> 16 == 0;
      const int64_t result = static_cast<int64_t>(regs.rax);
      // A stop of the whole process (SIGSTOP) interrupts the call, which then is made once more; or it comes before the step is taken.
      const bool isInterrupted = result <= -kErestartFirst && result >= -kErestartLast;
      if (isStepTaken && regs.orig_rax != stepNumber_) return -EFAULT;
      if (isStepTaken && !isInterrupted) return result;
      if (!step(isStepTaken ? &stepRegs_ : nullptr)) {
        targetStopped_ = false;
        return -ESRCH;
      }
    }
  }

  // The trapped mmap returns `value`.
  void restore(int64_t value) {
    if (!targetStopped_) return;
    (void)ptrace(PTRACE_SETSIGMASK, injection_.tid, sizeof signalMask_, &signalMask_);
    saved_.rax = static_cast<uint64_t>(value);
    saved_.orig_rax = ~0ull;
    (void)ptrace(PTRACE_SETREGS, injection_.tid, 0, &saved_);
  }

 private:
  bool awaitStop(pid_t tid, Clock::time_point deadline) {
    for (;;) {
      int status;
      pid_t waited = waitpid(tid, &status, __WALL | WNOHANG);
      if (waited == tid) {
        if (!WIFSTOPPED(status)) return true;  // It has ended.
        pending_.emplace_back(tid, status >> 16 == 0 ? WSTOPSIG(status) : 0);
        return true;
      }
      if (waited < 0) return errno == ECHILD;
      if (Clock::now() > deadline) return false;
      usleep(20);
    }
  }

  void letGo(pid_t tid) {
    int signalNumber = 0;
    for (auto& [id, number] : pending_)
      if (id == tid) signalNumber = number;
    if (ptrace(PTRACE_DETACH, tid, 0, signalNumber) == 0 || errno != ESRCH) return;
    // Only a stopped thread can be detached. This one sleeps uninterruptibly and stops when it wakes: reapLateStops lets it go then.
    lateStops().push_back(tid);
  }

  bool step(user_regs_struct* regs) {
    if (regs != nullptr && ptrace(PTRACE_SETREGS, injection_.tid, 0, regs) != 0) return false;
    return ptrace(PTRACE_SINGLESTEP, injection_.tid, 0, 0) == 0;
  }

  // A signal on its way to the target, which gets it when it is let go.
  void swallow(int number) {
    siginfo_t info{};
    if (ptrace(PTRACE_GETSIGINFO, injection_.tid, 0, &info) != 0) info.si_signo = number;
    swallowed_.push_back(info);
  }

  // The kernel lets nobody repeat its own signals word for word: those come as if from a process.
  void giveBack(siginfo_t& info) {
    if (syscall(SYS_rt_tgsigqueueinfo, injection_.tgid, injection_.tid, info.si_signo, &info) != 0)
      (void)syscall(SYS_tgkill, injection_.tgid, injection_.tid, info.si_signo);
  }

 public:
  // Threads of this host thread's guests that could not be detached at once.
  static std::vector<pid_t>& lateStops() {
    thread_local std::vector<pid_t> stops;
    return stops;
  }

 private:
  const Injection& injection_;
  const InjectionHooks& hooks_;
  std::vector<pid_t> seized_;
  std::vector<std::pair<pid_t, int>> pending_;
  std::vector<siginfo_t> swallowed_;
  uint64_t signalMask_ = 0;
  user_regs_struct saved_{}, stepRegs_{};
  uint64_t stepNumber_ = 0;  // of the system call that is being made
  bool targetSeized_ = false, targetStopped_ = false;
};

// What the steps of one injection have to do with.
struct Steps {
  StoppedProcess& process;
  Listener& listener;
  const Injection& injection;
  const InjectionHooks& hooks;
};

// Makes a system call that the filter notifies, and has its notification answered. Its result, or -errno.
int64_t callNotified(Steps& steps, long number, uint64_t a, uint64_t b, const std::function<void(uint64_t notification)>& answer) {
  constexpr int kLookIntervalMs = 1;
  if (!steps.process.begin(number, a, b, 0, 0, 0, 0)) return -ESRCH;
  for (;;) {
    // The target may have ended, or been interrupted before its call could be received.
    if (auto ended = steps.process.outcome(WNOHANG)) return *ended;
    pollfd ready{steps.listener.fd(), POLLIN, 0};
    if (poll(&ready, 1, kLookIntervalMs) <= 0) continue;
    seccomp_notif notification;
    if (steps.listener.receive(notification) != 0) continue;
    if (static_cast<pid_t>(notification.pid) != steps.injection.tid || notification.data.nr != number) {
      steps.hooks.postpone(notification);
      continue;
    }
    answer(notification.id);
    return *steps.process.outcome(0);
  }
}

// The RAM file's descriptor in the target, or -errno.
int64_t placeMemory(Steps& steps) {
  const uint64_t directory = static_cast<uint64_t>(static_cast<int64_t>(POSTERN_INJECT_DIRFD));
  return callNotified(steps, SYS_openat, directory, 0, [&](uint64_t notification) {
    const int placed = steps.listener.addDescriptor(notification, steps.injection.memory, -1, true, true);
    if (placed < 0) steps.listener.answer(notification, 0, -placed);
  });
}

// Takes back what has been mapped of a mapping that failed. In the range of driver pages munmap is notified.
void unmapRuns(Steps& steps, uint64_t bytes) {
  if (bytes == 0) return;
  (void)callNotified(steps, SYS_munmap, steps.injection.address, bytes, [&](uint64_t notification) { steps.listener.proceed(notification); });
}

int64_t mapRuns(Steps& steps, int descriptor) {
  const Injection& injection = steps.injection;
  uint64_t address = injection.address;
  for (const MapRun& run : injection.runs) {
    int64_t mapped = steps.process.call(SYS_mmap, address, run.bytes, static_cast<uint64_t>(injection.protection),
                                        MAP_SHARED | MAP_FIXED_NOREPLACE, static_cast<uint64_t>(descriptor), run.offset);
    if (mapped != static_cast<int64_t>(address)) {
      if (mapped >= 0) (void)steps.process.call(SYS_munmap, static_cast<uint64_t>(mapped), run.bytes);
      unmapRuns(steps, address - injection.address);
      return -ENOMEM;
    }
    address += run.bytes;
  }
  return static_cast<int64_t>(injection.address);
}

// Takes the RAM file out of the guest's table again. What can't be made to close it is hostile, and may not live with it. A guest whose
// table is full below the window has it in the window, where close is notified.
void takeBack(Steps& steps, int descriptor) {
  constexpr int kAttempts = 8;
  const uint64_t number = static_cast<uint64_t>(descriptor);
  for (int attempt = 0; attempt < kAttempts; attempt++) {
    const int64_t result = isInWindow(descriptor)
                               ? callNotified(steps, SYS_close, number, 0, [&](uint64_t notification) { steps.listener.proceed(notification); })
                               : steps.process.call(SYS_close, number);
    if (result == 0) return;
  }
  (void)kill(steps.injection.tgid, SIGKILL);
  steps.hooks.killed();
}

// While the RAM file is in the guest's table the process is not dumpable, so that no other process of the guest can take it
// (pidfd_getfd, /proc/PID/fd), and all its own threads stand still.
int64_t runInTarget(Steps& steps) {
  StoppedProcess& process = steps.process;
  const int64_t dumpable = process.call(SYS_prctl, PR_GET_DUMPABLE);
  if (dumpable < 0 || process.call(SYS_prctl, PR_SET_DUMPABLE, 0) != 0) return -ENOMEM;
  int64_t result = -ENOMEM;
  const int64_t placed = placeMemory(steps);
  if (placed >= 0) {
    // In the window the filter would notify each mmap of it.
    result = isInWindow(static_cast<int>(placed)) ? -EMFILE : mapRuns(steps, static_cast<int>(placed));
    takeBack(steps, static_cast<int>(placed));
  }
  if (dumpable == 1) (void)process.call(SYS_prctl, PR_SET_DUMPABLE, 1);
  return result;
}

}  // namespace

void reapLateStops() {
  auto& late = StoppedProcess::lateStops();
  late.erase(std::remove_if(late.begin(), late.end(),
                            [](pid_t tid) {
                              int status;
                              pid_t waited = waitpid(tid, &status, __WALL | WNOHANG);
                              if (waited == 0) return false;
                              if (waited == tid && WIFSTOPPED(status))
                                (void)ptrace(PTRACE_DETACH, tid, 0, status >> 16 == 0 ? WSTOPSIG(status) : 0);
                              return true;
                            }),
             late.end());
}

bool hasLateStops() { return !StoppedProcess::lateStops().empty(); }

int inject(Listener& listener, const Injection& injection, const InjectionHooks& hooks) {
  reapLateStops();
  // In a user namespace of the guest's own making others have rights over the process, dumpable or not.
  const bool isLookedInto = userNamespaceOf(injection.tid) != injection.userNamespace;
  StoppedProcess process(injection, hooks);
  // Whether others share the table is asked when nobody who has it can run any more.
  if (isLookedInto || !process.stopOthers() || sharesDescriptorTable(injection.tid, injection.tgid, injection.pidNamespace) ||
      !listener.isValid(injection.notification)) {
    listener.answer(injection.notification, 0, ENOMEM);
    return ENOMEM;
  }
  if (!listener.answer(injection.notification, 0, 0) || !process.awaitTarget()) return ENOMEM;
  Steps steps{process, listener, injection, hooks};
  const int64_t result = runInTarget(steps);
  process.restore(result);
  return result < 0 ? static_cast<int>(-result) : 0;
}

}  // namespace postern
