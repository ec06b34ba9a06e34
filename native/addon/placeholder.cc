#include "placeholder.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/net_tstamp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace postern {
namespace {

constexpr int kOn = 1;
constexpr uint32_t kInput = POLLIN | POLLRDNORM, kOutput = POLLOUT | POLLWRNORM;

void setOption(int fd, int level, int name, int value) { (void)setsockopt(fd, level, name, &value, sizeof value); }

// The smallest buffers that the kernel grants: withholding room must not take megabytes.
void shrink(int fd) {
  setOption(fd, SOL_SOCKET, SO_SNDBUF, 1);
  setOption(fd, SOL_SOCKET, SO_RCVBUF, 1);
  setOption(fd, IPPROTO_TCP, TCP_NODELAY, kOn);
}

// A connected loopback pair. The accepted peer must be our own connecting socket, and not a process that was faster.
int connectPair(Descriptor& host, Descriptor& guest) {
  Descriptor listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  guest.reset(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!listener.valid() || !guest.valid()) return errno;
  shrink(listener.get());
  shrink(guest.get());
  sockaddr_in address{}, own{}, peer{};
  socklen_t length = sizeof address;
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 || listen(listener.get(), 8) != 0) return errno;
  if (getsockname(listener.get(), reinterpret_cast<sockaddr*>(&address), &length) != 0) return errno;
  if (connect(guest.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) return errno;
  length = sizeof own;
  if (getsockname(guest.get(), reinterpret_cast<sockaddr*>(&own), &length) != 0) return errno;
  for (;;) {
    length = sizeof peer;
    host.reset(accept4(listener.get(), reinterpret_cast<sockaddr*>(&peer), &length, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!host.valid()) return errno;
    if (peer.sin_port == own.sin_port && peer.sin_addr.s_addr == own.sin_addr.s_addr) return 0;
  }
}

}  // namespace

uint64_t Placeholder::cookieOf(int fd) {
  uint64_t cookie = 0;
  socklen_t length = sizeof cookie;
  return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length) == 0 ? cookie : 0;
}

int Placeholder::create(Descriptor& guestEnd) {
  if (int error = connectPair(host_, guestEnd)) return error;
  shrink(host_.get());
  // The guest's last close resets the connection: the host sees it at once, and no TIME_WAIT entry stays behind.
  linger immediate{1, 0};
  (void)setsockopt(guestEnd.get(), SOL_SOCKET, SO_LINGER, &immediate, sizeof immediate);
  cookie_ = cookieOf(guestEnd.get());
  presented_ = kOutput;
  return cookie_ == 0 ? ENOTSOCK : 0;
}

// A transmit time stamp of a byte that the guest's end sends waits in its error queue, which is POLLERR to every poller.
void Placeholder::raiseError(int borrowed) {
  setOption(borrowed, SOL_SOCKET, SO_TIMESTAMPING, SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_OPT_TSONLY);
  (void)send(borrowed, "e", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
  setOption(borrowed, SOL_SOCKET, SO_TIMESTAMPING, 0);
  char byte;
  (void)recv(host_.get(), &byte, 1, MSG_DONTWAIT);
}

void Placeholder::clearError(int borrowed) {
  char control[512];
  for (;;) {
    msghdr message{};
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    if (recvmsg(borrowed, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) return;
  }
}

void Placeholder::withholdRoom(int borrowed) {
  static const char filler[4096] = {};
  while (send(borrowed, filler, sizeof filler, MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
  }
}

void Placeholder::giveRoom() {
  char sink[16384];
  while (recv(host_.get(), sink, sizeof sink, MSG_DONTWAIT) > 0) {
  }
}

bool Placeholder::present(uint32_t mask, int borrowed) {
  if ((mask & kInput) != 0) mask |= kInput;
  if ((mask & kOutput) != 0) mask |= kOutput;
  // A socket can't show a hang-up and still tell when the guest lets go of it, nor take it back (a terminal's may end): the guest
  // is made to look, and its read then says what happened.
  if ((mask & POLLHUP) != 0) mask |= kInput | POLLERR;
  mask &= kInput | kOutput | POLLPRI | POLLERR;
  const uint32_t rising = mask & ~presented_, falling = presented_ & ~mask;
  uint32_t done = 0;
  if ((rising & POLLIN) != 0 && send(host_.get(), "r", 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1) done |= kInput;
  if ((rising & POLLPRI) != 0 && send(host_.get(), "p", 1, MSG_OOB | MSG_DONTWAIT | MSG_NOSIGNAL) == 1) done |= POLLPRI;
  if ((rising & POLLOUT) != 0) {
    giveRoom();
    done |= kOutput;
  }
  if (borrowed >= 0) {
    char byte;
    if ((falling & POLLIN) != 0) {
      (void)recv(borrowed, &byte, 1, MSG_DONTWAIT);
      done |= kInput;
    }
    if ((falling & POLLPRI) != 0) {
      (void)recv(borrowed, &byte, 1, MSG_OOB | MSG_DONTWAIT);
      done |= POLLPRI;
    }
    if ((rising & POLLERR) != 0) {
      // The time-stamped byte needs room, which may be withheld now.
      giveRoom();
      raiseError(borrowed);
      done |= POLLERR;
    } else if ((falling & POLLERR) != 0) {
      clearError(borrowed);
      done |= POLLERR;
    }
    if ((mask & POLLOUT) == 0 && (falling & POLLOUT || rising & POLLERR)) {
      withholdRoom(borrowed);
      done |= falling & kOutput;
    }
  }
  presented_ ^= (rising | falling) & done;
  return presented_ == mask;
}

}  // namespace postern
