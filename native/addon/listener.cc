#include "listener.h"

#include <fcntl.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstring>

#include "vm_guest.h"

#ifndef SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#endif
#ifndef SECCOMP_ADDFD_FLAG_SEND
#define SECCOMP_ADDFD_FLAG_SEND (1UL << 1)
#endif

namespace postern {

Listener::Listener(int fd) : fd_(fd) {
  // Linux 6.6 and later wake the other side on this processor, which saves a reschedule; older kernels refuse, and that is all.
  (void)ioctl(fd, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
}

int Listener::receive(seccomp_notif& notification) {
  std::memset(&notification, 0, sizeof notification);
  if (ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_RECV, &notification) == 0) return 0;
  return errno == ENOENT || errno == EINTR ? EAGAIN : errno;
}

bool Listener::isValid(uint64_t id) const {
  if (vm_ != nullptr) return vm_->isInHand(id);
  return ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
}

bool Listener::answer(uint64_t id, int64_t value, int error) {
  if (vm_ != nullptr) return vm_->answer(id, value, error);
  seccomp_notif_resp response{};
  response.id = id;
  response.val = error > 0 ? 0 : value;
  response.error = error > 0 ? -error : 0;
  return ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_SEND, &response) == 0;
}

bool Listener::proceed(uint64_t id) {
  seccomp_notif_resp response{};
  response.id = id;
  response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
  return ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_SEND, &response) == 0;
}

int Listener::addDescriptor(uint64_t id, int source, int number, bool closeOnExec, bool answers) {
  seccomp_notif_addfd request{};
  request.id = id;
  request.srcfd = static_cast<uint32_t>(source);
  request.newfd_flags = closeOnExec ? O_CLOEXEC : 0;
  if (number >= 0) {
    request.newfd = static_cast<uint32_t>(number);
    request.flags |= SECCOMP_ADDFD_FLAG_SETFD;
  }
  if (answers) request.flags |= SECCOMP_ADDFD_FLAG_SEND;
  int result = ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_ADDFD, &request);
  return result >= 0 ? result : -errno;
}

}  // namespace postern
