// What a guest sees of its placeholder: every poll state, by every way that the kernel has to ask, and the last close.
#include "placeholder.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <random>

#include "check.h"

using namespace postern;

namespace {

// Every combination of these is a state that a driver's poll can have.
constexpr short kEvents[] = {POLLIN, POLLOUT, POLLPRI, POLLERR};
constexpr short kAll = POLLIN | POLLOUT | POLLPRI | POLLERR;
constexpr int kPatienceMs = 10000;

uint32_t stateOf(uint32_t number) {
  uint32_t mask = 0;
  for (size_t i = 0; i < 4; i++)
    if ((number >> i & 1) != 0) mask |= static_cast<uint32_t>(kEvents[i]);
  return mask;
}

struct Pair {
  Pair() { CHECK_EQ(placeholder.create(guest), 0); }
  Placeholder placeholder;
  Descriptor guest;
};

uint32_t polled(int fd) {
  pollfd one{fd, POLLIN | POLLOUT | POLLPRI | POLLRDHUP, 0};
  CHECK(poll(&one, 1, 0) >= 0);
  return static_cast<uint32_t>(one.revents);
}

uint32_t selected(int fd) {
  fd_set sets[3];
  for (fd_set& set : sets) {
    FD_ZERO(&set);
    FD_SET(fd, &set);
  }
  timeval now{0, 0};
  CHECK(select(fd + 1, &sets[0], &sets[1], &sets[2], &now) >= 0);
  return (FD_ISSET(fd, &sets[0]) ? uint32_t(POLLIN) : 0) | (FD_ISSET(fd, &sets[1]) ? uint32_t(POLLOUT) : 0) |
         (FD_ISSET(fd, &sets[2]) ? uint32_t(POLLPRI) : 0);
}

// select knows no errors: the kernel shows one as readable and writable.
uint32_t asSelectShows(uint32_t mask) {
  if ((mask & POLLERR) != 0) mask |= POLLIN | POLLOUT;
  return mask & (POLLIN | POLLOUT | POLLPRI);
}

class Epoll {
 public:
  Epoll(int fd, uint32_t events) : epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    epoll_event event{events, {}};
    CHECK_EQ(epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event), 0);
  }
  uint32_t wait(int waitMs = 0) {
    epoll_event event{};
    return epoll_wait(epoll_.get(), &event, 1, waitMs) == 1 ? event.events : 0;
  }

 private:
  Descriptor epoll_;
};

// The host's end when it waits for the guest to let go.
uint32_t hangUp(const Placeholder& placeholder, int waitMs) {
  Epoll epoll(placeholder.hostEnd(), EPOLLIN | EPOLLRDHUP);
  return epoll.wait(waitMs) & (EPOLLRDHUP | EPOLLHUP);
}

void sendDescriptor(int socket, int fd) {
  char byte = 'd', control[CMSG_SPACE(sizeof(int))] = {};
  iovec vector{&byte, 1};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof fd);
  *reinterpret_cast<int*>(CMSG_DATA(header)) = fd;
  CHECK_EQ(sendmsg(socket, &message, 0), 1);
}

int receiveDescriptor(int socket) {
  char byte, control[CMSG_SPACE(sizeof(int))] = {};
  iovec vector{&byte, 1};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  CHECK_EQ(recvmsg(socket, &message, MSG_CMSG_CLOEXEC), 1);
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  CHECK(header != nullptr);
  return *reinterpret_cast<int*>(CMSG_DATA(header));
}

}  // namespace

TEST("a new placeholder is writable, and nothing else") {
  Pair pair;
  CHECK_EQ(polled(pair.guest.get()), uint32_t(POLLOUT));
  CHECK_EQ(pair.placeholder.presented() & kAll, uint32_t(POLLOUT));
}

TEST("a placeholder is known by its cookie, by any copy of the guest's end") {
  Pair one, two;
  CHECK(one.placeholder.cookie() != 0 && one.placeholder.cookie() != two.placeholder.cookie());
  Descriptor copy(dup(one.guest.get()));
  CHECK_EQ(Placeholder::cookieOf(copy.get()), one.placeholder.cookie());
  CHECK(Placeholder::cookieOf(one.placeholder.hostEnd()) != one.placeholder.cookie());
  int pipes[2];
  CHECK_EQ(pipe(pipes), 0);
  CHECK_EQ(Placeholder::cookieOf(pipes[0]), 0);
  CHECK_EQ(Placeholder::cookieOf(-1), 0);
  close(pipes[0]);
  close(pipes[1]);
}

TEST("each of the 16 states follows each other one, for poll, select and epoll") {
  Pair pair;
  Epoll epoll(pair.guest.get(), EPOLLIN | EPOLLOUT | EPOLLPRI);
  for (uint32_t from = 0; from < 16; from++) {
    for (uint32_t to = 0; to < 16; to++) {
      for (uint32_t mask : {stateOf(from), stateOf(to)}) {
        CHECK(pair.placeholder.present(mask, pair.guest.get()));
        CHECK_EQ(polled(pair.guest.get()), mask);
        CHECK_EQ(epoll.wait(), mask);
        CHECK_EQ(selected(pair.guest.get()), asSelectShows(mask));
      }
    }
  }
}

TEST("thousands of random transitions, each seen at once") {
  Pair pair;
  std::mt19937 random(12);
  for (int i = 0; i < 5000; i++) {
    const uint32_t mask = stateOf(random() % 16);
    CHECK(pair.placeholder.present(mask, pair.guest.get()));
    CHECK_EQ(polled(pair.guest.get()), mask);
  }
}

TEST("one event that comes and goes thousands of times, whatever the others are") {
  Pair pair;
  for (short event : kEvents) {
    for (uint32_t others = 0; others < 16; others++) {
      const uint32_t base = stateOf(others) & ~static_cast<uint32_t>(event);
      for (int i = 0; i < 100; i++) {
        const uint32_t mask = (i & 1) != 0 ? base | static_cast<uint32_t>(event) : base;
        CHECK(pair.placeholder.present(mask, pair.guest.get()));
        CHECK_EQ(polled(pair.guest.get()), mask);
      }
    }
  }
}

TEST("presenting what is presented already changes nothing") {
  Pair pair;
  for (uint32_t state = 0; state < 16; state++) {
    for (int i = 0; i < 3; i++) {
      CHECK(pair.placeholder.present(stateOf(state), pair.guest.get()));
      CHECK(!pair.placeholder.needsGuestEnd(stateOf(state)));
      CHECK(pair.placeholder.present(stateOf(state), -1));
      CHECK_EQ(polled(pair.guest.get()), stateOf(state));
    }
  }
}

TEST("the events that mean the same have the same state") {
  Pair pair;
  CHECK(pair.placeholder.present(POLLRDNORM, pair.guest.get()));
  CHECK_EQ(polled(pair.guest.get()), uint32_t(POLLIN));
  CHECK(pair.placeholder.present(POLLWRNORM, pair.guest.get()));
  CHECK_EQ(polled(pair.guest.get()), uint32_t(POLLOUT));
}

TEST("a driver's hang-up makes the guest look: readable with an error, and not a hang-up of the placeholder") {
  Pair pair;
  CHECK(pair.placeholder.present(POLLHUP, pair.guest.get()));
  CHECK_EQ(polled(pair.guest.get()), uint32_t(POLLIN | POLLERR));
  CHECK_EQ(hangUp(pair.placeholder, 0), 0);
  CHECK(pair.placeholder.present(POLLOUT, pair.guest.get()));
  CHECK_EQ(polled(pair.guest.get()), uint32_t(POLLOUT));
}

TEST("without a copy of the guest's end, what can't be done waits, and the rest is done") {
  for (uint32_t from = 0; from < 16; from++) {
    for (uint32_t to = 0; to < 16; to++) {
      Pair pair;
      const uint32_t before = stateOf(from), after = stateOf(to);
      CHECK(pair.placeholder.present(before, pair.guest.get()));
      const bool mustWait = (before & ~after) != 0 || (after & ~before & POLLERR) != 0;
      CHECK_EQ(pair.placeholder.needsGuestEnd(after), mustWait);
      CHECK_EQ(pair.placeholder.present(after, -1), !mustWait);
      CHECK_EQ(polled(pair.guest.get()), before | (after & ~uint32_t(POLLERR)));
      CHECK(pair.placeholder.present(after, pair.guest.get()));
      CHECK_EQ(polled(pair.guest.get()), after);
    }
  }
}

TEST("who waits in poll is woken by each event") {
  for (short event : kEvents) {
    Pair pair;
    CHECK(pair.placeholder.present(0, pair.guest.get()));
    const pid_t waiter = fork();
    if (waiter == 0) {
      check::dieWithParent();
      // Raising an error needs room in the guest's end for a moment, which may be what wakes who waits for room.
      pollfd one{pair.guest.get(), static_cast<short>(event == POLLERR ? kAll & ~POLLOUT : kAll), 0};
      _exit(poll(&one, 1, kPatienceMs) == 1 ? one.revents : 0);
    }
    usleep(2000);
    CHECK(pair.placeholder.present(static_cast<uint32_t>(event), pair.guest.get()));
    int status;
    CHECK_EQ(waitpid(waiter, &status, 0), waiter);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), event);
  }
}

TEST("edge-triggered epoll fires when an event comes, and again when it comes again") {
  for (short event : kEvents) {
    Pair pair;
    CHECK(pair.placeholder.present(0, pair.guest.get()));
    Epoll epoll(pair.guest.get(), EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLET);
    (void)epoll.wait();
    for (int i = 0; i < 3; i++) {
      CHECK(pair.placeholder.present(static_cast<uint32_t>(event), pair.guest.get()));
      CHECK_EQ(epoll.wait(kPatienceMs), static_cast<uint32_t>(event));
      CHECK_EQ(epoll.wait(), 0);
      CHECK(pair.placeholder.present(0, pair.guest.get()));
      (void)epoll.wait();
    }
  }
}

TEST("a guest that asked for SIGIO gets it when input comes, and SIGURG when an urgent event does") {
  check::inChild([] {
    static volatile sig_atomic_t inputs = 0, urgents = 0;
    signal(SIGIO, [](int) { inputs = inputs + 1; });
    signal(SIGURG, [](int) { urgents = urgents + 1; });
    Pair pair;
    CHECK_EQ(fcntl(pair.guest.get(), F_SETOWN, getpid()), 0);
    CHECK_EQ(fcntl(pair.guest.get(), F_SETFL, fcntl(pair.guest.get(), F_GETFL) | O_ASYNC), 0);
    for (int i = 1; i <= 5; i++) {
      const sig_atomic_t before = inputs;
      CHECK(pair.placeholder.present(POLLOUT | POLLIN, pair.guest.get()));
      CHECK(inputs > before);
      CHECK(pair.placeholder.present(POLLOUT, pair.guest.get()));
      CHECK_EQ(urgents, 0);
    }
    CHECK(pair.placeholder.present(POLLOUT | POLLPRI, pair.guest.get()));
    CHECK_EQ(urgents, 1);
  });
}

TEST("the host sees the last close of the guest's end, and none before") {
  Pair pair;
  CHECK_EQ(hangUp(pair.placeholder, 0), 0);
  Descriptor first(dup(pair.guest.get())), second(fcntl(pair.guest.get(), F_DUPFD_CLOEXEC, 0));
  pair.guest.reset();
  CHECK_EQ(hangUp(pair.placeholder, 0), 0);
  first.reset();
  CHECK_EQ(hangUp(pair.placeholder, 0), 0);
  second.reset();
  CHECK(hangUp(pair.placeholder, kPatienceMs) != 0);
}

TEST("the last close is seen in each of the 16 states") {
  for (uint32_t state = 0; state < 16; state++) {
    Pair pair;
    CHECK(pair.placeholder.present(stateOf(state), pair.guest.get()));
    CHECK_EQ(hangUp(pair.placeholder, 0), 0);
    pair.guest.reset();
    CHECK(hangUp(pair.placeholder, kPatienceMs) != 0);
  }
}

TEST("an edge-triggered host is told of the last close once, and of nothing that it did itself") {
  Pair pair;
  Epoll host(pair.placeholder.hostEnd(), EPOLLRDHUP | EPOLLET);
  for (uint32_t state = 0; state < 16; state++) CHECK(pair.placeholder.present(stateOf(state), pair.guest.get()));
  CHECK_EQ(host.wait() & (EPOLLRDHUP | EPOLLHUP), 0);
  pair.guest.reset();
  CHECK((host.wait(kPatienceMs) & (EPOLLRDHUP | EPOLLHUP)) != 0);
}

TEST("a forked process's copy keeps the file open, until it ends") {
  Pair pair;
  int gate[2];
  CHECK_EQ(pipe(gate), 0);
  const pid_t child = fork();
  if (child == 0) {
    check::dieWithParent();
    close(gate[1]);
    char byte;
    (void)!read(gate[0], &byte, 1);
    _exit(0);
  }
  close(gate[0]);
  pair.guest.reset();
  CHECK_EQ(hangUp(pair.placeholder, 0), 0);
  close(gate[1]);
  CHECK_EQ(waitpid(child, nullptr, 0), child);
  CHECK(hangUp(pair.placeholder, kPatienceMs) != 0);
}

TEST("a killed process's copy goes with it") {
  Pair pair;
  const pid_t child = fork();
  if (child == 0) {
    check::dieWithParent();
    for (;;) pause();
  }
  pair.guest.reset();
  CHECK_EQ(hangUp(pair.placeholder, 0), 0);
  CHECK_EQ(kill(child, SIGKILL), 0);
  CHECK_EQ(waitpid(child, nullptr, 0), child);
  CHECK(hangUp(pair.placeholder, kPatienceMs) != 0);
}

TEST("a copy that is sent over a socket keeps the file open, also while it is under way") {
  Pair pair;
  int ends[2];
  CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  sendDescriptor(ends[0], pair.guest.get());
  pair.guest.reset();
  CHECK_EQ(hangUp(pair.placeholder, 0), 0);
  Descriptor received(receiveDescriptor(ends[1]));
  CHECK_EQ(Placeholder::cookieOf(received.get()), pair.placeholder.cookie());
  CHECK_EQ(hangUp(pair.placeholder, 0), 0);
  received.reset();
  CHECK(hangUp(pair.placeholder, kPatienceMs) != 0);
  close(ends[0]);
  close(ends[1]);
}

TEST("a copy that nobody receives goes with its socket") {
  Pair pair;
  int ends[2];
  CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  sendDescriptor(ends[0], pair.guest.get());
  pair.guest.reset();
  CHECK_EQ(hangUp(pair.placeholder, 0), 0);
  close(ends[0]);
  close(ends[1]);
  CHECK(hangUp(pair.placeholder, kPatienceMs) != 0);
}

TEST("presenting to a guest that has gone does no harm") {
  Pair pair;
  pair.guest.reset();
  CHECK(hangUp(pair.placeholder, kPatienceMs) != 0);
  for (uint32_t state = 0; state < 16; state++) (void)pair.placeholder.present(stateOf(state), -1);
}

TEST("hundreds of placeholders leave no sockets behind") {
  const int before = dup(0);
  close(before);
  for (int i = 0; i < 300; i++) {
    Pair pair;
    CHECK(pair.placeholder.present(stateOf(static_cast<uint32_t>(i)), pair.guest.get()));
  }
  const int after = dup(0);
  close(after);
  CHECK_EQ(after, before);
}
