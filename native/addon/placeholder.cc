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

constexpr int kOff = 0, kOn = 1;
constexpr uint32_t kInput = POLLIN | POLLRDNORM, kOutput = POLLOUT | POLLWRNORM;

void setOption(int fd, int level, int name, int value) { (void)setsockopt(fd, level, name, &value, sizeof value); }

// Both buffers from the guest to the host are small: withholding room must not take megabytes. What the host has received and not
// acknowledged yet makes room later, so the guest's holds several times what the host's does: while it is not down to two thirds, the
// kernel shows no room. And the host's holds several segments, or its window might never open again for a whole one. The other way
// the buffers stay as they are: a byte must always get through.
constexpr int kHostReceiveBytes = 4096, kGuestSendBytes = 32768;

void prepare(int fd, int bufferOption, int bufferBytes) {
  setOption(fd, SOL_SOCKET, bufferOption, bufferBytes);
  setOption(fd, IPPROTO_TCP, TCP_NODELAY, kOn);
  // Not what the machine prefers: an algorithm that paces (BBR) holds bytes back. This one is in every kernel.
  static const char congestionControl[] = "reno";
  (void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, congestionControl, sizeof congestionControl - 1);
}

// A connected loopback pair. The accepted peer must be our own connecting socket, and not a process that was faster.
int connectPair(Descriptor& host, Descriptor& guest) {
  Descriptor listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  guest.reset(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!listener.valid() || !guest.valid()) return errno;
  prepare(listener.get(), SO_RCVBUF, kHostReceiveBytes);  // The host's end inherits it.
  prepare(guest.get(), SO_SNDBUF, kGuestSendBytes);
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
  setOption(host_.get(), IPPROTO_TCP, TCP_NODELAY, kOn);
  // The guest's last close resets the connection: the host sees it at once, and no TIME_WAIT entry stays behind.
  linger immediate{1, 0};
  (void)setsockopt(guestEnd.get(), SOL_SOCKET, SO_LINGER, &immediate, sizeof immediate);
  cookie_ = cookieOf(guestEnd.get());
  presented_ = kOutput;
  return cookie_ == 0 ? ENOTSOCK : 0;
}

// The time stamp of when a byte of the guest's end was acknowledged waits in its error queue, which is POLLERR to every poller. The
// host's urgent byte, where one is due too, carries the acknowledgement: a poller that either wakes then sees both.
void Placeholder::raiseError(int borrowed, bool withUrgent) {
  setOption(host_.get(), IPPROTO_TCP, TCP_QUICKACK, kOff);
  setOption(borrowed, SOL_SOCKET, SO_TIMESTAMPING, SOF_TIMESTAMPING_TX_ACK | SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_OPT_TSONLY);
  (void)send(borrowed, "e", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (withUrgent) raiseUrgent();
  setOption(host_.get(), IPPROTO_TCP, TCP_QUICKACK, kOn);
  giveRoom();
  setOption(borrowed, SOL_SOCKET, SO_TIMESTAMPING, kOff);
}

void Placeholder::raiseUrgent() {
  if (send(host_.get(), "p", 1, MSG_OOB | MSG_DONTWAIT | MSG_NOSIGNAL) == 1) presented_ |= POLLPRI;
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
  // Room is there again when what was sent is acknowledged: at once, and for what the first acknowledgement lets through too.
  do {
    setOption(host_.get(), IPPROTO_TCP, TCP_QUICKACK, kOn);
  } while (recv(host_.get(), sink, sizeof sink, MSG_DONTWAIT) > 0);
}

uint32_t Placeholder::shown(uint32_t mask) {
  if ((mask & kInput) != 0) mask |= kInput;
  if ((mask & kOutput) != 0) mask |= kOutput;
  // A socket can't show a hang-up and still tell when the guest lets go of it, nor take it back (a terminal's may end): the guest
  // is made to look, and its read then says what happened.
  if ((mask & POLLHUP) != 0) mask |= kInput | POLLERR;
  return mask & (kInput | kOutput | POLLPRI | POLLERR);
}

bool Placeholder::needsGuestEnd(uint32_t mask) const {
  const uint32_t rising = shown(mask) & ~presented_, falling = presented_ & ~shown(mask);
  return falling != 0 || (rising & POLLERR) != 0;
}

// What falls goes first and what rises follows without a pause, so that who is woken sees all of it.
bool Placeholder::present(uint32_t mask, int borrowed) {
  mask = shown(mask);
  const uint32_t before = presented_;
  uint32_t falling = presented_ & ~mask;
  // An entry in the error queue keeps the kernel from acknowledging at once what is taken back: it goes with it, and comes again.
  if ((falling & (POLLIN | POLLPRI)) != 0) falling |= presented_ & POLLERR;
  if (borrowed >= 0) takeBack(falling, borrowed);
  const uint32_t rising = mask & ~presented_;
  if ((rising & POLLOUT) != 0 || ((rising & POLLERR) != 0 && borrowed >= 0)) giveRoom();
  presented_ |= rising & kOutput;
  if ((rising & POLLERR) != 0 && borrowed >= 0) {
    raiseError(borrowed, (rising & POLLPRI) != 0);
    presented_ |= POLLERR;
  }
  if ((rising & ~presented_ & POLLPRI) != 0) raiseUrgent();
  if ((rising & POLLIN) != 0 && send(host_.get(), "r", 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1) presented_ |= kInput;
  const bool mustWithhold = (mask & POLLOUT) == 0 && ((before & POLLOUT) != 0 || (rising & POLLERR) != 0);
  if (borrowed >= 0 && mustWithhold) {
    withholdRoom(borrowed);
    presented_ &= ~kOutput;
  }
  return presented_ == mask;
}

void Placeholder::takeBack(uint32_t falling, int borrowed) {
  if ((falling & POLLERR) != 0) {
    clearError(borrowed);
    presented_ &= ~uint32_t(POLLERR);
  }
  if ((falling & (POLLIN | POLLPRI)) != 0) {
    // Everything is taken, and what stays is given again: an urgent byte keeps its place in the stream until a read passes it, and what is
    // left in the queue keeps the kernel from acknowledging what has been taken.
    char bytes[64];
    if ((presented_ & POLLPRI) != 0) (void)recv(borrowed, bytes, 1, MSG_OOB | MSG_DONTWAIT);
    while (recv(borrowed, bytes, sizeof bytes, MSG_DONTWAIT) > 0) {
    }
    // Otherwise a delayed acknowledgement would hold up later bytes once the first congestion window is full.
    setOption(borrowed, IPPROTO_TCP, TCP_QUICKACK, kOn);
    presented_ &= ~(kInput | POLLPRI);
  }
}

}  // namespace postern
