// Wakes a thread out of a system call that waits for one thing only, when something else has happened.
//
// Receiving a notification in the receiving call itself saves a short operation the wait before it (epoll_wait, a quarter of what a bare
// supervisor takes in all); but that call knows of notifications only. So a thread of this class waits on the epoll of everything else,
// and interrupts the call by a signal. What happens while the mediator is at work needs no signal: it looks before it waits again.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <thread>

#include "descriptors.h"

namespace postern {

class Waker {
 public:
  // For the calling thread, and for what happens on the descriptors of `epoll`, which stays the caller's. It begins turned off.
  // Throws std::runtime_error.
  explicit Waker(int epoll);
  ~Waker();
  Waker(const Waker&) = delete;
  Waker& operator=(const Waker&) = delete;

  // Off, it sleeps whatever happens.
  void turnOn() { watch(true); }
  void turnOff() { watch(false); }

  // Before the call that waits. False: something has happened since the last look: the call is left out.
  bool beginWait();
  // After each beginWait; then the caller looks. From here on no other call of the thread is interrupted.
  void endWait();

 private:
  enum State { kAway, kWaiting, kSignalling, kLeaving };

  void watch(bool isOn);
  void run();
  bool interrupt();

  const int epoll_;
  const pid_t process_, thread_;
  Descriptor own_, stop_;  // an epoll of the other one; an event counter
  std::atomic<int> state_{kAway};
  std::atomic<bool> hasHappened_{false};
  std::thread waker_;
};

}  // namespace postern
