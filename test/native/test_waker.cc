// Waking a thread out of a call that waits for one thing only.
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <thread>

#include "check.h"
#include "waker.h"

using postern::Descriptor;
using postern::Waker;

namespace {

// The call that waits is a read of a pipe into which nobody writes but where a test says so.
class Stand {
 public:
  Stand() {
    int ends[2];
    CHECK(pipe(ends) == 0);
    from_.reset(ends[0]);
    to_.reset(ends[1]);
    event_.reset(eventfd(0, EFD_NONBLOCK));
    epoll_.reset(epoll_create1(0));
    epoll_event wanted{};
    wanted.events = EPOLLIN;
    CHECK(epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, event_.get(), &wanted) == 0);
  }

  int epoll() const { return epoll_.get(); }
  void happen() const {
    const uint64_t one = 1;
    CHECK(write(event_.get(), &one, sizeof one) == sizeof one);
  }
  void feed() const { CHECK(write(to_.get(), "x", 1) == 1); }
  // 0 when a byte has come, EINTR when the wait was interrupted.
  int waitForByte() const {
    char byte;
    return read(from_.get(), &byte, 1) == 1 ? 0 : errno;
  }
  bool hasHappened() const {
    epoll_event event;
    return epoll_wait(epoll_.get(), &event, 1, 0) == 1;
  }
  // Takes what has happened; how often that was.
  uint64_t take() const {
    uint64_t times = 0;
    return read(event_.get(), &times, sizeof times) == sizeof times ? times : 0;
  }

 private:
  Descriptor from_, to_, event_, epoll_;
};

}  // namespace

TEST("what happens while the thread waits interrupts the call, and what it waits for does not") {
  Stand stand;
  Waker waker(stand.epoll());
  waker.turnOn();
  stand.feed();
  CHECK(waker.beginWait());
  CHECK_EQ(stand.waitForByte(), 0);
  waker.endWait();
  CHECK(!stand.hasHappened());
  std::thread other([&] {
    usleep(2000);
    stand.happen();
  });
  CHECK(waker.beginWait());
  CHECK_EQ(stand.waitForByte(), EINTR);
  waker.endWait();
  CHECK(stand.hasHappened());
  other.join();
}

TEST("what has happened before it was turned on interrupts the first wait") {
  Stand stand;
  Waker waker(stand.epoll());
  stand.happen();
  waker.turnOn();
  if (waker.beginWait()) CHECK_EQ(stand.waitForByte(), EINTR);
  waker.endWait();
  CHECK(stand.hasHappened());
}

// Each round one side tells and the other looks: one that is lost would have the test wait for ever.
TEST("nothing is lost between the look and the wait") {
  constexpr uint64_t kEvents = 20'000;
  Stand stand;
  Waker waker(stand.epoll());
  waker.turnOn();
  std::atomic<uint64_t> taken{0};
  std::thread other([&] {
    for (uint64_t told = 0; told < kEvents; told++) {
      // At most one is under way, so that each has to wake by itself.
      while (taken.load() != told) std::this_thread::yield();
      stand.happen();
    }
  });
  while (taken.load() < kEvents) {
    if (waker.beginWait()) CHECK_EQ(stand.waitForByte(), EINTR);
    waker.endWait();
    taken += stand.take();
  }
  other.join();
}

TEST("no other call of the thread is interrupted") {
  constexpr int kRounds = 3'000;
  Stand stand;
  Waker waker(stand.epoll());
  waker.turnOn();
  std::atomic<bool> isOver{false};
  std::thread other([&] {
    while (!isOver) {
      stand.happen();
      std::this_thread::yield();
    }
  });
  for (int round = 0; round < kRounds; round++) {
    stand.feed();
    if (waker.beginWait()) (void)stand.waitForByte();
    waker.endWait();
    (void)stand.take();
    // Long enough for a signal that is late, and interruptible.
    if (round % 16 == 0) CHECK_EQ(usleep(50), 0);
  }
  isOver = true;
  other.join();
}

TEST("turned off, it interrupts nothing") {
  Stand stand;
  Waker waker(stand.epoll());
  waker.turnOn();
  waker.turnOff();
  stand.happen();
  CHECK(waker.beginWait());
  CHECK_EQ(usleep(5000), 0);
  stand.feed();
  CHECK_EQ(stand.waitForByte(), 0);
  waker.endWait();
}
