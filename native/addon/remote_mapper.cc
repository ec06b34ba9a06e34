#include "remote_mapper.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string>

#include "descriptors.h"
#include "process_view.h"

namespace postern {
namespace {

// A thread stops within microseconds; one that sleeps uninterruptibly, on a disk say, is waited for this long.
constexpr auto kStopBudget = std::chrono::milliseconds(500);
constexpr size_t kScanBytes = 1 << 16;

// One stopped thread.
class StoppedThread {
 public:
  explicit StoppedThread(pid_t tid) : tid_(tid) {}
  ~StoppedThread() {
    if (isSeized_) (void)ptrace(PTRACE_DETACH, tid_, 0, signal_);
  }

  bool stop() {
    if (ptrace(PTRACE_SEIZE, tid_, 0, 0) != 0) return false;
    isSeized_ = true;
    if (ptrace(PTRACE_INTERRUPT, tid_, 0, 0) != 0) return false;
    const auto deadline = std::chrono::steady_clock::now() + kStopBudget;
    int status;
    for (;;) {
      const pid_t waited = waitpid(tid_, &status, __WALL | WNOHANG);
      if (waited == tid_) break;
      if (waited < 0 || std::chrono::steady_clock::now() > deadline) return false;
      usleep(20);
    }
    if (!WIFSTOPPED(status)) return false;
    if (status >> 16 == 0) signal_ = WSTOPSIG(status);
    if (ptrace(PTRACE_GETREGS, tid_, 0, &saved_) != 0 || ptrace(PTRACE_GETSIGMASK, tid_, sizeof mask_, &mask_) != 0) return false;
    // No signal handler runs between the steps.
    const uint64_t allButSteps = ~(1ull << (SIGTRAP - 1));
    return ptrace(PTRACE_SETSIGMASK, tid_, sizeof allButSteps, &allButSteps) == 0;
  }

  int64_t call(uint64_t instruction, long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f) {
    user_regs_struct regs = saved_;
    regs.rip = instruction;
    regs.rax = static_cast<uint64_t>(number);
    regs.orig_rax = ~0ull;
    regs.rdi = a, regs.rsi = b, regs.rdx = c, regs.r10 = d, regs.r8 = e, regs.r9 = f;
    int status;
    if (ptrace(PTRACE_SETREGS, tid_, 0, &regs) != 0) return -ESRCH;
    do {
      if (ptrace(PTRACE_SINGLESTEP, tid_, 0, 0) != 0 || waitpid(tid_, &status, __WALL) != tid_ || !WIFSTOPPED(status)) return -ESRCH;
      if (ptrace(PTRACE_GETREGS, tid_, 0, &regs) != 0) return -ESRCH;
    } while (regs.rip == instruction);
    return static_cast<int64_t>(regs.rax);
  }

  // As it was: a call that the stop interrupted is made once more by the kernel.
  void restore() {
    (void)ptrace(PTRACE_SETSIGMASK, tid_, sizeof mask_, &mask_);
    (void)ptrace(PTRACE_SETREGS, tid_, 0, &saved_);
  }

 private:
  pid_t tid_;
  bool isSeized_ = false;
  int signal_ = 0;
  uint64_t mask_ = 0;
  user_regs_struct saved_{};
};

// Files that one message brings.
constexpr size_t kFilesMax = 4;
// A message in the other process's memory.
struct RemoteMessage {
  msghdr header;
  iovec vector;
  alignas(cmsghdr) uint8_t control[CMSG_SPACE(kFilesMax * sizeof(int))];
  uint8_t byte;
};

// `message` as it is to lie at `address`.
void prepare(RemoteMessage& message, uint64_t address) {
  message = {};
  message.vector = {reinterpret_cast<void*>(address + offsetof(RemoteMessage, byte)), sizeof message.byte};
  message.header.msg_iov = reinterpret_cast<iovec*>(address + offsetof(RemoteMessage, vector));
  message.header.msg_iovlen = 1;
  message.header.msg_control = reinterpret_cast<void*>(address + offsetof(RemoteMessage, control));
  message.header.msg_controllen = sizeof message.control;
}

// The descriptors that it has brought.
std::vector<int> filesIn(const RemoteMessage& message) {
  cmsghdr header;
  std::memcpy(&header, message.control, sizeof header);
  const bool isFiles = message.header.msg_controllen >= sizeof header && header.cmsg_level == SOL_SOCKET && header.cmsg_type == SCM_RIGHTS;
  if (!isFiles || header.cmsg_len < CMSG_LEN(0) || header.cmsg_len > CMSG_LEN(kFilesMax * sizeof(int))) return {};
  std::vector<int> files((header.cmsg_len - CMSG_LEN(0)) / sizeof(int));
  std::memcpy(files.data(), message.control + CMSG_LEN(0), files.size() * sizeof(int));
  return files;
}

bool copyTo(pid_t process, uint64_t address, const void* from, size_t bytes) {
  const iovec here{const_cast<void*>(from), bytes}, there{reinterpret_cast<void*>(address), bytes};
  return process_vm_writev(process, &here, 1, &there, 1, 0) == static_cast<ssize_t>(bytes);
}

bool copyFrom(pid_t process, uint64_t address, void* to, size_t bytes) {
  const iovec here{to, bytes}, there{reinterpret_cast<void*>(address), bytes};
  return process_vm_readv(process, &here, 1, &there, 1, 0) == static_cast<ssize_t>(bytes);
}

// Looks for the two bytes of `syscall` in an executable mapping.
uint64_t scan(int memory, uint64_t first, uint64_t last) {
  std::vector<uint8_t> bytes(kScanBytes);
  for (uint64_t at = first; at < last; at += kScanBytes - 1) {
    const ssize_t count = pread(memory, bytes.data(), std::min<uint64_t>(kScanBytes, last - at), static_cast<off_t>(at));
    for (ssize_t i = 0; i + 1 < count; i++)
      if (bytes[static_cast<size_t>(i)] == 0x0f && bytes[static_cast<size_t>(i) + 1] == 0x05) return at + static_cast<uint64_t>(i);
    if (count <= 1) break;
  }
  return 0;
}

}  // namespace

bool RemoteMapper::findSyscall() {
  if (syscallAddress_ != 0) return true;
  const std::string folder = "/proc/" + std::to_string(process_);
  Descriptor memory(open((folder + "/mem").c_str(), O_RDONLY | O_CLOEXEC));
  std::unique_ptr<FILE, int (*)(FILE*)> maps(fopen((folder + "/maps").c_str(), "re"), [](FILE* file) { return file == nullptr ? 0 : fclose(file); });
  if (!memory.valid() || maps == nullptr) return false;
  char line[512];
  while (syscallAddress_ == 0 && fgets(line, sizeof line, maps.get()) != nullptr) {
    uint64_t first, last;
    char rights[5];
    if (sscanf(line, "%lx-%lx %4s", &first, &last, rights) != 3 || rights[2] != 'x') continue;
    // The C library's code has it; QEMU's own translated code must not be relied upon.
    if (strstr(line, "/libc") != nullptr || strstr(line, "[vdso]") != nullptr) syscallAddress_ = scan(memory.get(), first, last);
  }
  return syscallAddress_ != 0;
}

// Not the process's first thread: its number is the process's own, and a stop of it would look like the end of a child to whoever else in
// this process waits for that.
pid_t RemoteMapper::helper() const {
  for (pid_t tid : threadsOf(process_))
    if (tid != process_) return tid;
  return 0;
}

int RemoteMapper::replace(const std::vector<RemoteRun>& runs, int protection, int descriptor) {
  const pid_t tid = helper();
  if (tid == 0 || !findSyscall()) return ESRCH;
  StoppedThread thread(tid);
  if (!thread.stop()) return ESRCH;
  const uint64_t flags = MAP_FIXED | (descriptor >= 0 ? MAP_SHARED : MAP_SHARED | MAP_ANONYMOUS);
  int error = 0;
  for (const RemoteRun& run : runs) {
    const int64_t mapped = thread.call(syscallAddress_, SYS_mmap, run.address, run.bytes, static_cast<uint64_t>(protection), flags,
                                       static_cast<uint64_t>(static_cast<int64_t>(descriptor)), descriptor >= 0 ? run.offset : 0);
    if (mapped != static_cast<int64_t>(run.address)) {
      error = mapped < 0 ? static_cast<int>(-mapped) : ENOMEM;
      break;
    }
  }
  thread.restore();
  return error;
}

int RemoteMapper::takeFiles(int socket, const std::vector<int>& numbers) {
  const pid_t tid = helper();
  if (tid == 0 || !findSyscall()) return ESRCH;
  StoppedThread thread(tid);
  if (!thread.stop()) return ESRCH;
  const auto call = [&](long number, uint64_t a, uint64_t b, uint64_t c, uint64_t d = 0, uint64_t e = 0, uint64_t f = 0) {
    return thread.call(syscallAddress_, number, a, b, c, d, e, f);
  };
  const int64_t page = call(SYS_mmap, 0, sizeof(RemoteMessage), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, ~0ull, 0);
  int error = page < 0 ? static_cast<int>(-page) : EAGAIN;
  for (bool isMore = page >= 0; isMore;) {
    RemoteMessage message;
    const uint64_t at = static_cast<uint64_t>(page);
    prepare(message, at);
    if (!copyTo(process_, at, &message, sizeof message)) break;
    const int64_t got = call(SYS_recvmsg, static_cast<uint64_t>(socket), at, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    isMore = got > 0;
    // The end of what waits is no error once there was something.
    if (!isMore && got != -EAGAIN) error = got == 0 ? EPIPE : static_cast<int>(-got);
    if (!isMore || !copyFrom(process_, at, &message, sizeof message)) break;
    const std::vector<int> files = filesIn(message);
    error = files.size() == numbers.size() ? 0 : EPROTO;
    for (size_t i = 0; i < files.size(); i++) {
      const uint64_t file = static_cast<uint64_t>(files[i]);
      const int64_t placed = error != 0 ? 0 : call(SYS_dup3, file, static_cast<uint64_t>(numbers[i]), O_CLOEXEC);
      if (placed < 0) error = static_cast<int>(-placed);
      (void)call(SYS_close, file, 0, 0);
    }
  }
  if (page >= 0) (void)call(SYS_munmap, static_cast<uint64_t>(page), sizeof(RemoteMessage), 0);
  thread.restore();
  return error;
}

}  // namespace postern
