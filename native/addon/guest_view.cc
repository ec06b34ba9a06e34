#include "guest_view.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

#include "descriptor_reserve.h"
#include "guest_memory.h"

namespace postern {
namespace {

constexpr uint64_t kPageBytes = 4096;
// As host/mediator/world.ts makes the nodes.
constexpr mode_t kNodeMode = 0666;
// As host/mediator/proc-view.ts has it.
constexpr char kStandIns[] = "/dev/.proc";

std::string procPath(pid_t tid, const std::string& rest) { return "/proc/" + std::to_string(tid) + rest; }

int openPath(int root, const std::string& path, bool followLast, uint64_t resolve) {
  open_how how{};
  how.flags = O_PATH | O_CLOEXEC | (followLast ? 0 : O_NOFOLLOW);
  how.resolve = resolve;
  // The kernel gives up a scoped lookup (EAGAIN) when mounts or names change anywhere meanwhile; then it is made once more.
  constexpr int kAttempts = 64;
  int found = -1;
  for (int attempt = 0; attempt < kAttempts; attempt++) {
    found = makeDescriptor([&] { return syscall(SYS_openat2, root, path.c_str(), &how, sizeof how); });
    if (found >= 0 || errno != EAGAIN) break;
  }
  return found;
}

Descriptor openFolder(const std::string& path) {
  return Descriptor(makeDescriptor([&] { return open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC); }));
}

Descriptor openRoot(pid_t tid) { return openFolder(procPath(tid, "/root")); }

std::string readLink(const std::string& path) {
  char target[PATH_MAX];
  ssize_t length = readlink(path.c_str(), target, sizeof target);
  return length > 0 ? std::string(target, static_cast<size_t>(length)) : std::string();
}

// The kernel names folders from the root of the guest's mounts; the guest's own root may be below (chroot). False where a folder is not.
bool stripRoot(std::string& folder, const std::string& root) {
  if (root == "/") return true;
  if (root.empty() || folder.compare(0, root.size(), root) != 0) return false;
  if (folder.size() > root.size() && folder[root.size()] != '/') return false;
  folder.erase(0, root.size());
  return true;
}

}  // namespace

int statNode(const Node& node, struct stat& st) {
  if (fstat(node.handle.get(), &st) != 0) return errno;
  if (S_ISCHR(st.st_mode)) return 0;
  st.st_mode = S_IFCHR | kNodeMode;
  st.st_rdev = makedev(node.major, node.minor);
  return 0;
}

int statxNode(const Node& node, unsigned mask, struct statx& st) {
  if (statx(node.handle.get(), "", AT_EMPTY_PATH, mask, &st) != 0) return errno;
  if (S_ISCHR(st.stx_mode)) return 0;
  st.stx_mode = S_IFCHR | kNodeMode;
  st.stx_rdev_major = node.major;
  st.stx_rdev_minor = node.minor;
  return 0;
}

std::string GuestView::attach(pid_t pid) {
  Descriptor root = openRoot(pid);
  for (Node& node : nodes_) {
    node.handle.reset(openPath(root.get(), node.path, true, RESOLVE_IN_ROOT));
    struct stat st;
    if (!node.handle.valid() || fstat(node.handle.get(), &st) != 0) return node.path;
    node.device = st.st_dev;
    node.inode = st.st_ino;
  }
  standIns_.reset(openPath(root.get(), kStandIns, true, RESOLVE_IN_ROOT));
  return "";
}

Descriptor GuestView::openStandIn(const std::string& path, uint64_t flags) const {
  const std::string proc = "/proc/";
  constexpr uint64_t kFlags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK;
  if (!standIns_.valid() || path.compare(0, proc.size(), proc) != 0 || (flags & O_ACCMODE) != O_RDONLY) return Descriptor();
  open_how how{};
  how.flags = (flags & kFlags) | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH;
  return Descriptor(makeDescriptor([&] { return syscall(SYS_openat2, standIns_.get(), path.c_str() + proc.size(), &how, sizeof how); }));
}

// Where the guest itself keeps a lookup below a directory (openat2's RESOLVE_BENEATH, RESOLVE_IN_ROOT) the host looks it up alike. What is
// not found here the kernel looks up once more by itself, and says what is wrong with it.
Descriptor GuestView::lookUp(pid_t tid, int directory, const std::string& path, bool followLast, uint64_t resolve) const {
  const std::string base = procPath(tid, directory == AT_FDCWD ? "/cwd" : "/fd/" + std::to_string(directory));
  if ((resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT)) != 0) {
    Descriptor below = openFolder(base);
    return Descriptor(openPath(below.get(), path, followLast, resolve));
  }
  std::string absolute = path;
  if (path[0] != '/') {
    std::string target = readLink(base);
    if (target.empty() || target[0] != '/' || !stripRoot(target, readLink(procPath(tid, "/root")))) return Descriptor();
    absolute = target + "/" + path;
  }
  Descriptor root = openRoot(tid);
  Descriptor found(openPath(root.get(), absolute, followLast, resolve | RESOLVE_IN_ROOT));
  if (found.valid() || path[0] == '/') return found;
  // After a chroot the directory's name leads nowhere, but the directory is there.
  Descriptor below = openFolder(base);
  return Descriptor(openPath(below.get(), path, followLast, resolve | RESOLVE_BENEATH));
}

Node* GuestView::resolve(pid_t tid, int directory, const std::string& path, bool followLast, uint64_t resolve) {
  if (path.empty()) return nullptr;
  Descriptor found = lookUp(tid, directory, path, followLast, resolve);
  struct stat st;
  if (!found.valid() || fstat(found.get(), &st) != 0) return nullptr;
  for (Node& node : nodes_)
    if (node.inode == st.st_ino && node.device == st.st_dev) return &node;
  return nullptr;
}

int readGuestPath(pid_t tid, uint64_t address, std::string& path) {
  path.clear();
  while (path.size() < PATH_MAX) {
    char chunk[kPageBytes];
    // Never across a page that may not be there: the string may end before it.
    const uint64_t bytes = kPageBytes - address % kPageBytes;
    if (int error = readGuest(tid, address, chunk, bytes)) return error;
    const void* end = std::memchr(chunk, 0, bytes);
    path.append(chunk, end != nullptr ? static_cast<size_t>(static_cast<const char*>(end) - chunk) : bytes);
    if (end != nullptr) return path.size() < PATH_MAX ? 0 : ENAMETOOLONG;
    address += bytes;
  }
  return ENAMETOOLONG;
}

}  // namespace postern
