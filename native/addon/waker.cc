#include "waker.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <stdexcept>

namespace postern {
namespace {

// Of no meaning to Node, V8 or the C library.
const int kSignal = SIGRTMIN + 6;
// A signal that comes after the last look and before the call sleeps is lost, so it is sent again until it has been heard.
constexpr int kRepeatMs = 1;
constexpr uint64_t kStopTag = 1;

// Ends a system call and does nothing else: without SA_RESTART, the call ends with EINTR.
void onSignal(int) {}

void prepareSignal() {
  struct sigaction action {};
  action.sa_handler = onSignal;
  if (sigaction(kSignal, &action, nullptr) != 0) throw std::runtime_error("the signal that wakes a mediator can't be handled");
  sigset_t own;
  sigemptyset(&own);
  sigaddset(&own, kSignal);
  pthread_sigmask(SIG_UNBLOCK, &own, nullptr);
}

}  // namespace

Waker::Waker(int epoll)
    : epoll_(epoll),
      process_(getpid()),
      thread_(static_cast<pid_t>(syscall(SYS_gettid))),
      own_(epoll_create1(EPOLL_CLOEXEC)),
      stop_(eventfd(0, EFD_CLOEXEC)) {
  prepareSignal();
  epoll_event stop{}, others{};
  stop.events = EPOLLIN;
  stop.data.u64 = kStopTag;
  if (!own_.valid() || !stop_.valid() || epoll_ctl(own_.get(), EPOLL_CTL_ADD, stop_.get(), &stop) != 0 ||
      epoll_ctl(own_.get(), EPOLL_CTL_ADD, epoll_, &others) != 0)
    throw std::runtime_error("nothing can be watched for a mediator");
  // The process's signals are for its other threads.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    waker_ = std::thread([this] { run(); });
  } catch (...) {
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    throw;
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Waker::~Waker() {
  const uint64_t one = 1;
  (void)!write(stop_.get(), &one, sizeof one);
  waker_.join();
}

// Edge-triggered: told once of what happens, however long it takes the mediator to look. What has happened by now is told too.
void Waker::watch(bool isOn) {
  epoll_event event{};
  event.events = isOn ? uint32_t(EPOLLIN | EPOLLET) : 0u;
  (void)epoll_ctl(own_.get(), EPOLL_CTL_MOD, epoll_, &event);
}

bool Waker::beginWait() {
  // Said before the look: whoever finds the thread not waiting yet has left word of it.
  state_.store(kWaiting, std::memory_order_seq_cst);
  return !hasHappened_.load(std::memory_order_seq_cst);
}

void Waker::endWait() {
  int waiting = kWaiting;
  if (!state_.compare_exchange_strong(waiting, kAway)) {
    // The signal is on its way: it is let in here, on the way out of a call that it can't interrupt.
    if (state_.exchange(kLeaving) == kWaiting) state_.store(kAway);
    while (state_.load() != kAway) sched_yield();
    sched_yield();
  }
  // What happens from now on is said anew; what has happened before, the caller sees when it looks.
  if (hasHappened_.load(std::memory_order_relaxed)) hasHappened_.store(false, std::memory_order_seq_cst);
}

// Whether there was something to interrupt.
bool Waker::interrupt() {
  int waiting = kWaiting;
  if (!state_.compare_exchange_strong(waiting, kSignalling)) return false;
  (void)syscall(SYS_tgkill, process_, thread_, kSignal);
  int signalling = kSignalling;
  // Whoever leaves the wait meanwhile waits for this.
  if (!state_.compare_exchange_strong(signalling, kWaiting)) state_.store(kAway);
  return true;
}

void Waker::run() {
  pthread_setname_np(pthread_self(), "postern-waker");
  for (int timeoutMs = -1;;) {
    epoll_event events[2];
    const int count = epoll_wait(own_.get(), events, 2, timeoutMs);
    for (int i = 0; i < count; i++) {
      if (events[i].data.u64 == kStopTag) return;
      hasHappened_.store(true, std::memory_order_seq_cst);
    }
    timeoutMs = hasHappened_.load(std::memory_order_seq_cst) && interrupt() ? kRepeatMs : -1;
  }
}

}  // namespace postern
