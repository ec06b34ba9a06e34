// Which guarded node a path of the guest leads to, in a guest that has a root of its own.
#include "guest_view.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>

#include "check.h"

using namespace postern;

namespace {

// A folder that goes with the test.
class Folder {
 public:
  Folder() {
    char path[] = "/tmp/postern-view-XXXXXX";
    CHECK(mkdtemp(path) != nullptr);
    path_ = path;
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

void makeFile(const std::string& path) { std::ofstream(path) << "x"; }

// In the guest's root: the nodes are plain files, as they are in a guest that may make no device nodes.
void furnish(const std::string& root) {
  std::filesystem::create_directories(root + "/dev/v4l/by-id");
  std::filesystem::create_directories(root + "/people/user");
  makeFile(root + "/dev/video0");
  makeFile(root + "/dev/video1");
  makeFile(root + "/dev/ordinary");
  symlink("video0", (root + "/dev/relative").c_str());
  symlink("/dev/video1", (root + "/dev/absolute").c_str());
  symlink("../../video0", (root + "/dev/v4l/by-id/camera").c_str());
  symlink("../../../../../../../dev/video0", (root + "/dev/v4l/by-id/above").c_str());
  symlink("relative", (root + "/dev/twice").c_str());
  symlink("loop", (root + "/dev/loop").c_str());
  symlink("/dev", (root + "/people/user/devices").c_str());
  link((root + "/dev/video0").c_str(), (root + "/people/user/hard").c_str());
}

// A guest process in its own root and folder.
class Guest {
 public:
  // `enter` runs in the guest, before it is looked at; false: this machine does not allow it.
  explicit Guest(const std::function<bool()>& enter) {
    int pipes[2];
    CHECK_EQ(pipe(pipes), 0);
    pid_ = fork();
    if (pid_ == 0) {
      check::dieWithParent();
      const char isGood = enter() ? 1 : 0;
      (void)!write(pipes[1], &isGood, 1);
      for (;;) pause();
    }
    char isGood = 0;
    CHECK_EQ(read(pipes[0], &isGood, 1), 1);
    close(pipes[0]);
    close(pipes[1]);
    if (isGood != 1) {
      end();
      throw check::Skipped("the guest's root could not be made: chroot or mount is not permitted here");
    }
  }
  ~Guest() { end(); }
  pid_t pid() const { return pid_; }

 private:
  void end() {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  pid_t pid_;
};

bool enterUserNamespace() { return geteuid() == 0 || unshare(CLONE_NEWUSER) == 0; }
bool changeRoot(const std::string& root, const char* folder) {
  return enterUserNamespace() && chroot(root.c_str()) == 0 && chdir(folder) == 0;
}

GuestView viewOf(std::initializer_list<const char*> paths) {
  std::vector<Node> nodes;
  for (const char* path : paths) {
    Node node;
    node.path = path;
    nodes.push_back(std::move(node));
  }
  return GuestView(std::move(nodes));
}

struct World {
  explicit World(const char* folder = "/people/user") : guest([&] {
    furnish(root.path());
    return changeRoot(root.path(), folder);
  }) {
    CHECK_EQ(view.attach(guest.pid()), "");
  }
  // The path of the node that is found, or "".
  std::string find(const std::string& path, bool followLast = true, uint64_t resolve = 0) {
    Node* node = view.resolve(guest.pid(), AT_FDCWD, path, followLast, resolve);
    return node == nullptr ? "" : node->path;
  }
  Folder root;
  Guest guest;
  GuestView view = viewOf({"/dev/video0", "/dev/video1"});
};

}  // namespace

TEST("absolute paths lead to their nodes, in the guest's root") {
  World world;
  CHECK_EQ(world.find("/dev/video0"), "/dev/video0");
  CHECK_EQ(world.find("/dev/video1"), "/dev/video1");
  CHECK_EQ(world.find("//dev/./v4l/..///video0"), "/dev/video0");
  for (const char* other : {"/dev/ordinary", "/dev/video2", "/dev", "/", "/nowhere/video0"}) CHECK_EQ(world.find(other), "");
}

TEST("the host's own files are not the guest's, even by the same name") {
  World world;
  CHECK_EQ(world.find(world.root.path() + "/dev/video0"), "");
}

TEST("no path is no node") {
  World world;
  CHECK_EQ(world.find(""), "");
  CHECK_EQ(world.find(std::string(PATH_MAX + 10, 'x')), "");
}

TEST("relative paths start in the guest's folder") {
  World world("/dev");
  CHECK_EQ(world.find("video0"), "/dev/video0");
  CHECK_EQ(world.find("./video1"), "/dev/video1");
  CHECK_EQ(world.find("v4l/by-id/../../video0"), "/dev/video0");
  CHECK_EQ(world.find("../dev/video0"), "/dev/video0");
  CHECK_EQ(world.find("ordinary"), "");
  World elsewhere("/people/user");
  CHECK_EQ(elsewhere.find("video0"), "");
  CHECK_EQ(elsewhere.find("../../dev/video0"), "/dev/video0");
  CHECK_EQ(elsewhere.find("devices/video1"), "/dev/video1");
}

TEST("relative paths of a guest that was started in the host's root") {
  Folder folder;
  furnish(folder.path());
  Guest guest([&] { return chdir((folder.path() + "/dev").c_str()) == 0; });
  GuestView view = viewOf({});
  std::vector<Node> nodes(1);
  nodes[0].path = folder.path() + "/dev/video0";
  GuestView direct(std::move(nodes));
  CHECK_EQ(direct.attach(guest.pid()), "");
  CHECK(direct.resolve(guest.pid(), AT_FDCWD, "video0", true) != nullptr);
  CHECK(direct.resolve(guest.pid(), AT_FDCWD, "v4l/by-id/camera", true) != nullptr);
  CHECK(direct.resolve(guest.pid(), AT_FDCWD, "video1", true) == nullptr);
}

TEST("a folder outside the guest's root leads nowhere") {
  Folder folder;
  furnish(folder.path() + "/root");
  furnish(folder.path() + "/root-beside");
  Guest guest([&] {
    return chdir((folder.path() + "/root-beside/dev").c_str()) == 0 && enterUserNamespace() && chroot((folder.path() + "/root").c_str()) == 0;
  });
  GuestView view = viewOf({"/dev/video0"});
  CHECK_EQ(view.attach(guest.pid()), "");
  CHECK(view.resolve(guest.pid(), AT_FDCWD, "video0", true) == nullptr);
  CHECK(view.resolve(guest.pid(), AT_FDCWD, "/dev/video0", true) != nullptr);
}

TEST("paths climb no higher than the guest's root") {
  World world("/dev");
  CHECK_EQ(world.find("/../../../../dev/video0"), "/dev/video0");
  CHECK_EQ(world.find("../../../../../dev/video0"), "/dev/video0");
  CHECK_EQ(world.find("/dev/v4l/by-id/above"), "/dev/video0");
  CHECK_EQ(world.find("/.." + world.root.path() + "/dev/video0"), "");
}

TEST("paths relative to an open folder") {
  Folder root;
  Guest guest([&] {
    furnish(root.path());
    return changeRoot(root.path(), "/") && dup2(open("/dev/v4l", O_RDONLY | O_DIRECTORY), 700) == 700 &&
           dup2(open("/dev", O_PATH | O_DIRECTORY), 701) == 701 && dup2(open("/dev/ordinary", O_RDONLY), 702) == 702;
  });
  GuestView view = viewOf({"/dev/video0"});
  CHECK_EQ(view.attach(guest.pid()), "");
  auto leads = [&](int directory, const char* path) { return view.resolve(guest.pid(), directory, path, true) != nullptr; };
  CHECK(leads(701, "video0"));
  CHECK(leads(700, "../video0"));
  CHECK(leads(700, "by-id/camera"));
  CHECK(leads(12345, "/dev/video0"));  // An absolute path does not ask for the folder.
  CHECK(!leads(700, "video0"));
  CHECK(!leads(702, "video0"));
  CHECK(!leads(12345, "video0"));
  CHECK(!leads(-1, "video0"));
}

TEST("a descriptor that is no file is no folder") {
  Folder root;
  Guest guest([&] {
    furnish(root.path());
    int pipes[2];
    return changeRoot(root.path(), "/dev") && pipe(pipes) == 0 && dup2(pipes[0], 703) == 703;
  });
  GuestView view = viewOf({"/dev/video0"});
  CHECK_EQ(view.attach(guest.pid()), "");
  CHECK(view.resolve(guest.pid(), 703, "video0", true) == nullptr);
}

TEST("links are followed: relative, absolute, several, and in the middle of a path") {
  World world;
  CHECK_EQ(world.find("/dev/relative"), "/dev/video0");
  CHECK_EQ(world.find("/dev/absolute"), "/dev/video1");
  CHECK_EQ(world.find("/dev/twice"), "/dev/video0");
  CHECK_EQ(world.find("/dev/v4l/by-id/camera"), "/dev/video0");
  CHECK_EQ(world.find("/people/user/devices/video0"), "/dev/video0");
  CHECK_EQ(world.find("/people/user/devices/absolute"), "/dev/video1");
  CHECK_EQ(world.find("/dev/loop"), "");
}

TEST("a hard link is the node itself") {
  World world;
  CHECK_EQ(world.find("/people/user/hard"), "/dev/video0");
}

TEST("with O_NOFOLLOW the last link is not followed, those before it are") {
  World world;
  CHECK_EQ(world.find("/dev/video0", false), "/dev/video0");
  CHECK_EQ(world.find("/dev/relative", false), "");
  CHECK_EQ(world.find("/dev/absolute", false), "");
  CHECK_EQ(world.find("/people/user/devices/video0", false), "/dev/video0");
}

TEST("a slash at the end asks for a folder, which a node is not") {
  World world;
  for (const char* path : {"/dev/video0/", "/dev/video0/.", "/dev/relative/", "/dev/video0/../video0"})
    for (bool followLast : {true, false}) CHECK_EQ(world.find(path, followLast), "");
}

TEST("openat2's RESOLVE_NO_SYMLINKS: through no link at all") {
  World world("/dev");
  for (const char* path : {"/dev/video0", "video0"}) CHECK_EQ(world.find(path, true, RESOLVE_NO_SYMLINKS), "/dev/video0");
  for (const char* path : {"/dev/relative", "relative", "/people/user/devices/video0"}) CHECK_EQ(world.find(path, true, RESOLVE_NO_SYMLINKS), "");
}

TEST("openat2's RESOLVE_BENEATH: no higher than the folder it starts in, not even for a moment") {
  World world("/dev");
  for (const char* path : {"video0", "relative", "v4l/../video0"}) CHECK_EQ(world.find(path, true, RESOLVE_BENEATH), "/dev/video0");
  for (const char* path : {"/dev/video0", "../dev/video0", "absolute", "v4l/by-id/above"}) CHECK_EQ(world.find(path, true, RESOLVE_BENEATH), "");
}

TEST("openat2's RESOLVE_IN_ROOT: the folder it starts in is the root") {
  World world("/dev");
  for (const char* path : {"video0", "/video0", "../video0", "/../../video0", "v4l/by-id/camera"})
    CHECK_EQ(world.find(path, true, RESOLVE_IN_ROOT), "/dev/video0");
  for (const char* path : {"/dev/video0", "absolute"}) CHECK_EQ(world.find(path, true, RESOLVE_IN_ROOT), "");
}

TEST("a node that is a plain file looks like the device that it stands for") {
  World world;
  Node* node = world.view.resolve(world.guest.pid(), AT_FDCWD, "/dev/video0", true);
  node->major = 81;
  node->minor = 5;
  struct stat st, file;
  CHECK_EQ(statNode(*node, st), 0);
  CHECK_EQ(fstat(node->handle.get(), &file), 0);
  CHECK(S_ISREG(file.st_mode) && S_ISCHR(st.st_mode));
  CHECK_EQ(st.st_rdev, makedev(81, 5));
  CHECK_EQ(st.st_ino, file.st_ino);
  struct statx sx;
  CHECK_EQ(statxNode(*node, STATX_BASIC_STATS, sx), 0);
  CHECK(S_ISCHR(sx.stx_mode));
  CHECK_EQ(sx.stx_rdev_major * 1000 + sx.stx_rdev_minor, 81005);
  CHECK_EQ(sx.stx_ino, file.st_ino);
  node->handle.reset();
  CHECK_EQ(statNode(*node, st), EBADF);
  CHECK_EQ(statxNode(*node, STATX_BASIC_STATS, sx), EBADF);
}

TEST("a node renamed by the guest is still guarded; another file in its place is not") {
  World world;
  const std::string devices = world.root.path() + "/dev/";
  CHECK_EQ(rename((devices + "video0").c_str(), (devices + "renamed").c_str()), 0);
  makeFile(devices + "video0");
  CHECK_EQ(world.find("/dev/renamed"), "/dev/video0");
  CHECK_EQ(world.find("/dev/video0"), "");
}

TEST("a node that is not there is named at the start") {
  World world;
  GuestView view = viewOf({"/dev/video0", "/dev/video7"});
  CHECK_EQ(view.attach(world.guest.pid()), "/dev/video7");
}

TEST("of a guest that has gone nothing is found") {
  World world;
  CHECK(world.view.resolve(0x3ffffff, AT_FDCWD, "/dev/video0", true) == nullptr);
  CHECK(world.view.resolve(0x3ffffff, AT_FDCWD, "dev/video0", true) == nullptr);
  GuestView view = viewOf({"/dev/video0"});
  CHECK_EQ(view.attach(0x3ffffff), "/dev/video0");
}

TEST("mounts of the guest's own namespace count, those over a node too") {
  Folder root;
  furnish(root.path());
  Guest guest([&] {
    if (unshare(CLONE_NEWNS | (geteuid() == 0 ? 0 : CLONE_NEWUSER)) != 0) return false;
    if (mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return false;
    const std::string devices = root.path() + "/dev";
    if (mount("tmpfs", devices.c_str(), "tmpfs", 0, nullptr) != 0) return false;
    makeFile(devices + "/video0");
    makeFile(devices + "/cover");
    if (mount((devices + "/cover").c_str(), (root.path() + "/people/user/hard").c_str(), nullptr, MS_BIND, nullptr) != 0) return false;
    return chroot(root.path().c_str()) == 0 && chdir("/") == 0;
  });
  GuestView view = viewOf({"/dev/video0"});
  CHECK_EQ(view.attach(guest.pid()), "");
  CHECK(view.resolve(guest.pid(), AT_FDCWD, "/dev/video0", true) != nullptr);
  CHECK(view.resolve(guest.pid(), AT_FDCWD, "/people/user/hard", true) == nullptr);
  struct stat below, inside;
  CHECK_EQ(stat((root.path() + "/dev/video0").c_str(), &below), 0);
  Node* node = view.resolve(guest.pid(), AT_FDCWD, "/dev/video0", true);
  CHECK_EQ(fstat(node->handle.get(), &inside), 0);
  CHECK(below.st_dev != inside.st_dev || below.st_ino != inside.st_ino);
}

namespace {

// Two pages of the test's own, and none after them, to lay strings at their end.
class Pages {
 public:
  Pages() {
    void* area = mmap(nullptr, 4 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(area != MAP_FAILED);
    area_ = static_cast<char*>(area);
    CHECK_EQ(mprotect(area_ + 2 * kPage, 2 * kPage, PROT_NONE), 0);
    std::memset(area_, 'a', 2 * kPage);
  }
  ~Pages() { munmap(area_, 4 * kPage); }
  char* end() { return area_ + 2 * kPage; }
  static constexpr size_t kPage = 4096;

 private:
  char* area_;
};

int readBack(const char* at, std::string& path) { return readGuestPath(getpid(), reinterpret_cast<uint64_t>(at), path); }

}  // namespace

TEST("a path is read up to its end, though no page follows") {
  Pages pages;
  std::string path;
  pages.end()[-1] = 0;
  for (size_t length : {size_t(0), size_t(1), size_t(20), size_t(PATH_MAX - 1)}) {
    CHECK_EQ(readBack(pages.end() - 1 - length, path), 0);
    CHECK_EQ(path.size(), length);
    CHECK_EQ(path, std::string(length, 'a'));
  }
}

TEST("a path as long as PATH_MAX is too long") {
  Pages pages;
  std::string path;
  pages.end()[-1] = 0;
  CHECK_EQ(readBack(pages.end() - 1 - PATH_MAX, path), ENAMETOOLONG);
  CHECK_EQ(readBack(pages.end() - 2 * Pages::kPage, path), ENAMETOOLONG);
}

TEST("a path without an end is EFAULT, and so is none at all") {
  Pages pages;
  std::string path;
  CHECK_EQ(readBack(pages.end() - 100, path), EFAULT);
  CHECK_EQ(readBack(pages.end(), path), EFAULT);
  for (uint64_t address : {uint64_t(0), uint64_t(1) << 63, ~uint64_t(0)}) CHECK_EQ(readGuestPath(getpid(), address, path), EFAULT);
}
