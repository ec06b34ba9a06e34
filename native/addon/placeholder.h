// What a guest holds instead of a device descriptor: one end of a loopback TCP pair. The kernel itself then does poll, select,
// epoll and O_ASYNC on it, and the host makes its poll state what the driver's is:
//
//   POLLIN   a byte is there         POLLPRI  an urgent byte is there (TCP alone shows it without POLLIN)
//   POLLOUT  there is room to send   POLLERR  the error queue has an entry (of a transmit time stamp)
//   POLLHUP  appears as POLLIN and POLLERR together
//
// The host's end hangs up when the guest's last copy has gone, wherever it went (dup, fork, SCM_RIGHTS, exec): that is the driver's
// release. So the host keeps no copy of the guest's end; it borrows one (pidfd_getfd) where it must take something back.
#pragma once

#include <cstdint>

#include "descriptors.h"

namespace postern {

class Placeholder {
 public:
  // Makes the pair; `guestEnd` is to be placed in the guest and closed. 0 or an errno.
  int create(Descriptor& guestEnd);
  // Identifies the socket that any copy of the guest's end refers to; 0 when `fd` is no socket.
  static uint64_t cookieOf(int fd);

  uint64_t cookie() const { return cookie_; }
  int hostEnd() const { return host_.get(); }
  uint32_t presented() const { return presented_; }

  // Makes the guest's poll state `mask` (POLLIN, POLLPRI, POLLOUT, POLLERR; POLLHUP in its way). Taking POLLIN, POLLPRI and POLLERR back, giving POLLERR
  // and withholding POLLOUT need a borrowed copy of the guest's end; with -1 these changes wait (returns false).
  bool present(uint32_t mask, int borrowed);
  bool needsGuestEnd(uint32_t mask) const;

 private:
  static uint32_t shown(uint32_t mask);
  void takeBack(uint32_t falling, int borrowed);
  void raiseError(int borrowed, bool withUrgent);
  void raiseUrgent();
  void clearError(int borrowed);
  void withholdRoom(int borrowed);
  void giveRoom();

  Descriptor host_;
  uint64_t cookie_ = 0;
  uint32_t presented_ = 0;
};

}  // namespace postern
