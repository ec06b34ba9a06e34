// Mappings of another process, replaced while it runs.
#include "remote_mapper.h"

#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <string>
#include <thread>

#include "check.h"

using namespace postern;

namespace {

constexpr size_t kPageBytes = 4096, kPages = 4;

int memoryFile(uint8_t mark) {
  const int file = memfd_create("test", MFD_CLOEXEC);
  CHECK(file >= 0);
  CHECK_EQ(ftruncate(file, kPages * kPageBytes), 0);
  for (size_t page = 0; page < kPages; page++) {
    uint8_t bytes[kPageBytes];
    std::memset(bytes, mark + static_cast<int>(page), sizeof bytes);
    CHECK_EQ(pwrite(file, bytes, sizeof bytes, static_cast<off_t>(page * kPageBytes)), ssize_t(sizeof bytes));
  }
  return file;
}

// A process with two threads: one sleeps in the kernel, the other looks at a page and tells what it sees whenever it changes.
struct Process {
  int before = memoryFile(10), after = memoryFile(60), told[2];
  uint8_t* shared;
  pid_t pid;

  Process() {
    CHECK_EQ(pipe(told), 0);
    shared = static_cast<uint8_t*>(mmap(nullptr, kPages * kPageBytes, PROT_READ | PROT_WRITE, MAP_SHARED, before, 0));
    CHECK(shared != MAP_FAILED);
    pid = fork();
    if (pid == 0) live();
    CHECK_EQ(see(), 11);
  }
  ~Process() {
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    munmap(shared, kPages * kPageBytes);
    close(before), close(after), close(told[0]), close(told[1]);
  }
  [[noreturn]] void live() {
    check::dieWithParent();
    std::thread sleeper([] {
      for (;;) pause();
    });
    uint8_t last = 0;
    for (;;) {
      const uint8_t now = *static_cast<volatile uint8_t*>(shared + kPageBytes);
      if (now != last) (void)!write(told[1], &now, 1);
      last = now;
      usleep(100);
    }
  }
  int see() {
    uint8_t seen;
    return read(told[0], &seen, 1) == 1 ? seen : -1;
  }
  uint64_t address(size_t page) const { return reinterpret_cast<uint64_t>(shared) + page * kPageBytes; }
};

void send(int socket, const std::vector<int>& files) {
  char byte = '+';
  iovec vector{&byte, 1};
  alignas(cmsghdr) uint8_t control[256] = {};
  msghdr message{};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  if (!files.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(files.size() * sizeof(int));
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(files.size() * sizeof(int));
    std::memcpy(CMSG_DATA(header), files.data(), files.size() * sizeof(int));
  }
  CHECK_EQ(sendmsg(socket, &message, 0), 1);
}

ino_t inodeOf(pid_t pid, int number) {
  struct stat st;
  return stat(("/proc/" + std::to_string(pid) + "/fd/" + std::to_string(number)).c_str(), &st) == 0 ? st.st_ino : 0;
}

ino_t inodeOf(int file) { return inodeOf(getpid(), file); }

size_t descriptorsOf(pid_t pid) {
  const std::filesystem::path folder = "/proc/" + std::to_string(pid) + "/fd";
  return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(folder), std::filesystem::directory_iterator()));
}

}  // namespace

TEST("a running process sees other pages where it had its own, scattered ones in the order that was said") {
  Process process;
  RemoteMapper mapper(process.pid);
  CHECK_EQ(mapper.replace({{process.address(1), kPageBytes, 3 * kPageBytes}, {process.address(2), kPageBytes, 0}}, PROT_READ, process.after), 0);
  CHECK_EQ(process.see(), 63);
  CHECK_EQ(mapper.replace({{process.address(1), kPageBytes, 0}}, PROT_READ | PROT_WRITE, -1), 0);
  CHECK_EQ(process.see(), 0);
  // The file's own bytes are as they were.
  uint8_t byte;
  CHECK_EQ(pread(process.after, &byte, 1, 3 * kPageBytes), 1);
  CHECK_EQ(byte, 63);
}

TEST("the threads go on as they were, a hundred times over") {
  Process process;
  RemoteMapper mapper(process.pid);
  for (int round = 0; round < 100; round++) {
    const size_t page = static_cast<size_t>(round) % kPages;
    CHECK_EQ(mapper.replace({{process.address(1), kPageBytes, page * kPageBytes}}, PROT_READ, process.after), 0);
    if (round > 0 || page != 0) CHECK_EQ(process.see(), int(60 + page));
    else CHECK_EQ(process.see(), 60);
  }
  CHECK_EQ(kill(process.pid, 0), 0);
  CHECK_EQ(waitpid(process.pid, nullptr, WNOHANG), 0);
}

TEST("what can't be mapped is an errno, and the process lives") {
  Process process;
  RemoteMapper mapper(process.pid);
  CHECK_EQ(mapper.replace({{process.address(1) + 1, kPageBytes, 0}}, PROT_READ, process.after), EINVAL);
  CHECK_EQ(mapper.replace({{process.address(1), kPageBytes, 0}}, PROT_READ, 9999), EBADF);
  CHECK_EQ(mapper.replace({{process.address(1), kPageBytes, 0}}, PROT_READ, process.after), 0);
  CHECK_EQ(process.see(), 60);
}

TEST("a process that has gone is an errno") {
  pid_t gone = fork();
  if (gone == 0) _exit(0);
  waitpid(gone, nullptr, 0);
  RemoteMapper mapper(gone);
  CHECK_EQ(mapper.replace({{0x10000, kPageBytes, 0}}, PROT_READ, -1), ESRCH);
}

TEST("a running process takes files from its socket, in place of what it had, and is mapped them") {
  int ends[2];
  CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  Process process;
  RemoteMapper mapper(process.pid);
  CHECK_EQ(mapper.takeFiles(ends[1], {process.before, process.after}), EAGAIN);
  const int first = memoryFile(100), second = memoryFile(150);
  const size_t descriptors = descriptorsOf(process.pid);
  // One message that was left behind, and the one that counts.
  send(ends[0], {second, first});
  send(ends[0], {first, second});
  CHECK_EQ(mapper.takeFiles(ends[1], {process.before, process.after}), 0);
  CHECK_EQ(inodeOf(process.pid, process.before), inodeOf(first));
  CHECK_EQ(inodeOf(process.pid, process.after), inodeOf(second));
  CHECK_EQ(descriptorsOf(process.pid), descriptors);
  CHECK_EQ(mapper.replace({{process.address(1), kPageBytes, kPageBytes}}, PROT_READ, process.before), 0);
  CHECK_EQ(process.see(), 101);
  close(first), close(second), close(ends[0]), close(ends[1]);
}

TEST("messages with other numbers of files, or from nobody, change nothing and leave nothing behind") {
  int ends[2];
  CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  Process process;
  RemoteMapper mapper(process.pid);
  const ino_t before = inodeOf(process.pid, process.before);
  const size_t descriptors = descriptorsOf(process.pid);
  const int file = memoryFile(100);
  for (const std::vector<int>& files : {std::vector<int>{}, {file}, {file, file, file}, {file, file, file, file, file, file}}) {
    send(ends[0], files);
    CHECK_EQ(mapper.takeFiles(ends[1], {process.before, process.after}), EPROTO);
    CHECK_EQ(inodeOf(process.pid, process.before), before);
    CHECK_EQ(descriptorsOf(process.pid), descriptors);
  }
  CHECK_EQ(mapper.takeFiles(9999, {process.before, process.after}), EBADF);
  close(ends[0]);
  // The child has both ends of the pair, which it was made with: what it takes from is never at its end, only empty.
  CHECK_EQ(mapper.takeFiles(ends[1], {process.before, process.after}), EAGAIN);
  CHECK_EQ(kill(process.pid, 0), 0);
  close(file), close(ends[1]);
}
