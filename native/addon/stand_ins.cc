// What programs ask by name of files that stand in for what the guest's kernel lacks in /proc (host/mediator/proc-view.ts); opens and stats
// of them are in notifications.cc.
#include <fcntl.h>
#include <limits.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "mediator.h"

namespace postern {

void Mediator::handleByName(const seccomp_notif& notification) {
  const seccomp_data& data = notification.data;
  const pid_t tid = static_cast<pid_t>(notification.pid);
  const bool isAt = data.nr == SYS_readlinkat || data.nr == SYS_faccessat || data.nr == SYS_faccessat2;
  const bool isLink = data.nr == SYS_readlink || data.nr == SYS_readlinkat;
  const bool isAccess = data.nr == SYS_access || data.nr == SYS_faccessat || data.nr == SYS_faccessat2;
  std::string path;
  Descriptor file;
  if (readGuestPath(tid, data.args[isAt ? 1 : 0], path) == 0)
    file = view_.openStandIn(path, O_PATH | (isLink || data.nr == SYS_lgetxattr ? unsigned(O_NOFOLLOW) : 0u));
  if (!file.valid()) {
    (void)listener_.proceed(notification.id);
  } else if (isLink) {
    answerLink(notification, file.get(), data.args[isAt ? 2 : 1], data.args[isAt ? 3 : 2]);
  } else if (isAccess) {
    (void)listener_.answer(notification.id, 0, (data.args[isAt ? 2 : 1] & W_OK) != 0 ? EACCES : 0);
  } else {
    (void)listener_.answer(notification.id, 0, ENODATA);  // getxattr: they have none.
  }
}

void Mediator::answerLink(const seccomp_notif& notification, int file, uint64_t address, uint64_t room) {
  char target[PATH_MAX];
  const ssize_t length = readlinkat(file, "", target, sizeof target);
  // A file that is no link: the kernel's EINVAL, not the ENOENT that it has for an empty name.
  if (length < 0 || static_cast<int>(room) <= 0) return (void)listener_.answer(notification.id, 0, EINVAL);
  const uint64_t bytes = std::min<uint64_t>(static_cast<uint64_t>(length), static_cast<uint32_t>(room));
  const int error = writeGuest(static_cast<pid_t>(notification.pid), address, target, bytes);
  (void)listener_.answer(notification.id, static_cast<int64_t>(bytes), error);
}

}  // namespace postern
