#include "remote_mapper.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
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

}  // namespace postern
