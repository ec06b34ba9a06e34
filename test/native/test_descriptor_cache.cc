// What is remembered of a guest's descriptors: only while nothing can have changed it.
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>

#include "check.h"
#include "descriptor_cache.h"
#include "process_view.h"

using postern::Descriptor;
using postern::DescriptorCache;
using postern::Session;

namespace {

// Sessions are only told apart here, never looked into.
int places[4];
Session* session(int number) { return reinterpret_cast<Session*>(&places[number]); }

constexpr int kNumber = 900, kOther = 901;

// A process that waits in pause() until it is killed.
class Sleeper {
 public:
  Sleeper() : pid_(fork()) {
    if (pid_ == 0) {
      for (;;) pause();
    }
    pidfd_.reset(static_cast<int>(syscall(SYS_pidfd_open, pid_, 0)));
    CHECK(pidfd_.valid());
    while (postern::mayBeIn(pid_, SYS_getpid)) usleep(100);
  }
  ~Sleeper() { end(); }
  void end() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  pid_t pid() const { return pid_; }
  int pidfd() const { return pidfd_.get(); }

 private:
  pid_t pid_;
  Descriptor pidfd_;
};

}  // namespace

TEST("a watched thread's descriptor is remembered, by its number and its thread") {
  Sleeper one, two;
  DescriptorCache cache;
  CHECK(cache.watch(one.pid(), one.pidfd()) && cache.watch(two.pid(), two.pidfd()));
  cache.remember(one.pid(), kNumber, session(1), O_RDWR | O_NONBLOCK);
  const auto* found = cache.find(one.pid(), kNumber);
  CHECK(found != nullptr && found->session == session(1) && found->flags == (O_RDWR | O_NONBLOCK));
  CHECK(cache.find(one.pid(), kOther) == nullptr);
  CHECK(cache.find(two.pid(), kNumber) == nullptr);
}

TEST("of a thread whose end would not be seen nothing is remembered") {
  DescriptorCache cache;
  cache.remember(getpid(), kNumber, session(1), 0);
  CHECK(cache.find(getpid(), kNumber) == nullptr);
}

TEST("a thread's end forgets what it had") {
  Sleeper one, two;
  DescriptorCache cache;
  CHECK(cache.watch(one.pid(), one.pidfd()) && cache.watch(two.pid(), two.pidfd()));
  cache.remember(one.pid(), kNumber, session(1), 0);
  cache.remember(two.pid(), kNumber, session(2), 0);
  CHECK(cache.reapThreads().empty());
  const pid_t ended = one.pid();
  one.end();
  CHECK_EQ(cache.reapThreads().size(), 1u);
  CHECK(cache.find(ended, kNumber) == nullptr);
  CHECK(cache.find(two.pid(), kNumber) != nullptr);
  // Its number may be another thread's now, which is not watched yet.
  cache.remember(ended, kNumber, session(1), 0);
  CHECK(cache.find(ended, kNumber) == nullptr);
}

TEST("a change forgets everything, and lets nothing be remembered until its thread is back") {
  Sleeper one, two;
  DescriptorCache cache;
  CHECK(cache.watch(one.pid(), one.pidfd()) && cache.watch(two.pid(), two.pidfd()));
  cache.remember(one.pid(), kNumber, session(1), 0);
  cache.remember(two.pid(), kOther, session(2), 0);
  const uint64_t before = cache.generation();
  cache.beginChange(two.pid(), SYS_pause);  // The call that it is in.
  CHECK(cache.generation() != before);
  CHECK(cache.find(one.pid(), kNumber) == nullptr && cache.find(two.pid(), kOther) == nullptr);
  CHECK(!cache.isSettled());
  cache.remember(one.pid(), kNumber, session(1), 0);
  CHECK(cache.find(one.pid(), kNumber) == nullptr);
  cache.threadReturned(one.pid());
  CHECK(!cache.isSettled());
  cache.threadReturned(two.pid());
  CHECK(cache.isSettled());
  cache.remember(one.pid(), kNumber, session(1), 0);
  CHECK(cache.find(one.pid(), kNumber) != nullptr);
}

TEST("a thread that is seen in another call has returned; one that has gone, too") {
  Sleeper one, two;
  DescriptorCache cache;
  CHECK(cache.watch(one.pid(), one.pidfd()) && cache.watch(two.pid(), two.pidfd()));
  cache.beginChange(one.pid(), SYS_close);
  usleep(2000);  // Longer than between two looks.
  CHECK(cache.isSettled());
  cache.beginChange(two.pid(), SYS_pause);
  usleep(2000);
  CHECK(!cache.isSettled());
  two.end();
  cache.reapThreads();
  CHECK(cache.isSettled());
}

TEST("a session's end forgets it everywhere, and nothing else") {
  Sleeper one;
  DescriptorCache cache;
  CHECK(cache.watch(one.pid(), one.pidfd()));
  cache.remember(one.pid(), kNumber, session(1), 0);
  cache.remember(one.pid(), kOther, session(2), 0);
  const uint64_t before = cache.generation();
  cache.forgetSession(session(1));
  CHECK(cache.generation() != before);
  CHECK(cache.find(one.pid(), kNumber) == nullptr);
  CHECK(cache.find(one.pid(), kOther) != nullptr);
}

TEST("numbers that share a place push each other out, and are never taken for each other") {
  Sleeper one;
  DescriptorCache cache;
  CHECK(cache.watch(one.pid(), one.pidfd()));
  constexpr int kPlaces = 256;
  cache.remember(one.pid(), kNumber, session(1), 0);
  cache.remember(one.pid(), kNumber + kPlaces, session(2), 0);
  CHECK(cache.find(one.pid(), kNumber) == nullptr);
  CHECK(cache.find(one.pid(), kNumber + kPlaces)->session == session(2));
}
