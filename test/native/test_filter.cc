// The launcher's seccomp filter: by an interpreter against a second statement of what it must do, for every system call number,
// and in the kernel for some calls of each kind.
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csetjmp>
#include <csignal>
#include <cstdarg>
#include <cstring>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "check.h"
#include "window.h"

extern "C" {
int install_filter(int answers_stat, int answers_poll, int refuses_mounts);
long __real_syscall(long number, ...);
}

namespace {

std::vector<sock_filter> captured;
bool mustCapture = false;

}  // namespace

// The linker sends filter.c's syscall() here (--wrap), so that its program can be looked at without being installed.
extern "C" long __wrap_syscall(long number, ...) {
  va_list list;
  va_start(list, number);
  long arguments[6];
  for (long& argument : arguments) argument = va_arg(list, long);
  va_end(list);
  if (number != __NR_seccomp || !mustCapture)
    return __real_syscall(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
  const auto* program = reinterpret_cast<const sock_fprog*>(arguments[2]);
  captured.assign(program->filter, program->filter + program->len);
  return 0;
}

namespace {

constexpr uint32_t kNative = SECCOMP_RET_ALLOW, kNotified = SECCOMP_RET_USER_NOTIF;
constexpr uint32_t refusedWith(int errnum) { return SECCOMP_RET_ERRNO | static_cast<uint32_t>(errnum); }

const std::vector<sock_filter>& programOf(bool answersStat) {
  static std::vector<sock_filter> programs[2];
  if (programs[answersStat].empty()) {
    mustCapture = true;
    CHECK_EQ(install_filter(answersStat, answersStat, answersStat), 0);
    mustCapture = false;
    programs[answersStat] = captured;
  }
  return programs[answersStat];
}

// Runs classic BPF as the kernel does, as far as the filter uses it; anything else in it is a failure.
uint32_t interpret(const std::vector<sock_filter>& program, const seccomp_data& data) {
  uint32_t accumulator = 0;
  for (size_t at = 0; at < program.size(); at++) {
    const sock_filter& one = program[at];
    bool holds = false;
    switch (one.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        CHECK(one.k % 4 == 0 && one.k <= sizeof data - 4);
        std::memcpy(&accumulator, reinterpret_cast<const uint8_t*>(&data) + one.k, 4);
        continue;
      case BPF_RET | BPF_K:
        return one.k;
      case BPF_ALU | BPF_RSH | BPF_K:
        accumulator >>= one.k;
        continue;
      case BPF_ALU | BPF_AND | BPF_K:
        accumulator &= one.k;
        continue;
      case BPF_JMP | BPF_JEQ | BPF_K:
        holds = accumulator == one.k;
        break;
      case BPF_JMP | BPF_JGE | BPF_K:
        holds = accumulator >= one.k;
        break;
      case BPF_JMP | BPF_JGT | BPF_K:
        holds = accumulator > one.k;
        break;
      case BPF_JMP | BPF_JSET | BPF_K:
        holds = (accumulator & one.k) != 0;
        break;
      default:
        throw check::Failure("an instruction that the filter should not have, at " + std::to_string(at));
    }
    at += holds ? one.jt : one.jf;
  }
  throw check::Failure("the program runs over its end");
}

seccomp_data callOf(uint32_t number, std::initializer_list<uint64_t> arguments = {}) {
  seccomp_data data{};
  data.nr = static_cast<int>(number);
  data.arch = AUDIT_ARCH_X86_64;
  size_t i = 0;
  for (uint64_t argument : arguments) data.args[i++] = argument;
  return data;
}

bool isOurs(uint64_t descriptor) {
  const uint32_t number = static_cast<uint32_t>(descriptor);  // The kernel takes an int.
  return number >= POSTERN_WINDOW_FIRST && number <= POSTERN_WINDOW_LAST;
}
bool isMapped(uint64_t address) { return address >= POSTERN_MAP_FIRST && address <= POSTERN_MAP_LAST; }

// What must become of a call of x86-64's own numbers, stated a second time.
uint32_t wanted(const seccomp_data& call, bool answersStat) {
  const auto& a = call.args;
  const auto ifOurs = [](bool isIt, uint32_t action) { return isIt ? action : kNative; };
  switch (call.nr) {
    case __NR_ioctl: {
      const uint32_t type = static_cast<uint32_t>(a[1]) / 256 % 256;
      return ifOurs(isOurs(a[0]) || (type != 0 && type != 'T' && type != 0x89), kNotified);
    }
    case __NR_read: case __NR_write: case __NR_fstat: case __NR_lseek: case __NR_pread64: case __NR_pwrite64: case __NR_readv:
    case __NR_writev: case __NR_preadv: case __NR_pwritev: case __NR_preadv2: case __NR_pwritev2: case __NR_dup: case __NR_close:
      return ifOurs(isOurs(a[0]), kNotified);
    case __NR_dup2: case __NR_dup3:
      return ifOurs(isOurs(a[0]) || isOurs(a[1]), kNotified);
    case __NR_close_range:
      return ifOurs(static_cast<uint32_t>(a[1]) >= POSTERN_WINDOW_FIRST, kNotified);
    case __NR_execve: case __NR_execveat:
      return kNotified;
    case __NR_unshare:
      return ifOurs((a[0] & CLONE_FILES) != 0, kNotified);
    case __NR_clone:
      return ifOurs((a[0] & CLONE_FILES) == 0 && (a[0] & CLONE_THREAD) != 0, kNotified);
    case __NR_newfstatat: case __NR_statx:
      return ifOurs(answersStat || isOurs(a[0]), kNotified);
    case __NR_stat: case __NR_lstat: case __NR_poll: case __NR_ppoll: case __NR_select: case __NR_pselect6: case __NR_epoll_wait:
    case __NR_epoll_pwait: case __NR_epoll_pwait2: case __NR_readlink: case __NR_readlinkat: case __NR_access: case __NR_faccessat:
    case __NR_faccessat2: case __NR_getxattr: case __NR_lgetxattr:
      return ifOurs(answersStat, kNotified);
    case __NR_open:
      return ifOurs(answersStat || (a[1] & (O_PATH | O_DIRECTORY)) == 0, kNotified);
    case __NR_openat:
      return ifOurs(answersStat || (a[2] & (O_PATH | O_DIRECTORY)) == 0, kNotified);
    case __NR_creat: case __NR_openat2:
      return kNotified;
    case __NR_mmap:
      return ifOurs((a[3] & MAP_ANONYMOUS) == 0 && (isOurs(a[4]) || (a[3] & (MAP_SHARED | MAP_FIXED | MAP_FIXED_NOREPLACE)) == MAP_SHARED), kNotified);
    case __NR_fcntl: {
      const uint32_t command = static_cast<uint32_t>(a[1]);
      return ifOurs(isOurs(a[0]) && (command == F_DUPFD || command == F_DUPFD_CLOEXEC || command == F_GETFL || command == F_SETFL), kNotified);
    }
    case __NR_munmap:
      return ifOurs(isMapped(a[0]), kNotified);
    case __NR_mremap:
      return ifOurs(isMapped(a[0]) || isMapped(a[4]), refusedWith(EINVAL));
    case __NR_sendto: case __NR_sendmmsg: case __NR_sendmsg:
      if (isOurs(a[0])) return refusedWith(ENOTSOCK);
      return ifOurs((a[call.nr == __NR_sendmsg ? 2 : 3] & MSG_ZEROCOPY) != 0, refusedWith(ENOBUFS));
    case __NR_socket:
      return ifOurs(static_cast<uint32_t>(a[0]) == AF_XDP, refusedWith(EAFNOSUPPORT));
    case __NR_mount: {
      uint64_t flags = a[3];
      if ((flags & 0xffff0000) == 0xc0ed0000) flags &= 0xffff;  // As the kernel does.
      const bool isNew = (flags & (MS_BIND | MS_MOVE | MS_REMOUNT | MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE)) == 0;
      return ifOurs(answersStat && isNew, refusedWith(EPERM));
    }
    case __NR_fsopen:
      return ifOurs(answersStat, refusedWith(EPERM));
    case __NR_recvfrom: case __NR_recvmsg: case __NR_recvmmsg:
    case __NR_shutdown: case __NR_connect: case __NR_bind: case __NR_listen: case __NR_accept: case __NR_accept4:
    case __NR_getsockname: case __NR_getpeername: case __NR_setsockopt: case __NR_getsockopt:
      return ifOurs(isOurs(a[0]), refusedWith(ENOTSOCK));
    case __NR_sendfile: case __NR_tee:
      return ifOurs(isOurs(a[0]) || isOurs(a[1]), refusedWith(EINVAL));
    case __NR_splice: case __NR_copy_file_range:
      return ifOurs(isOurs(a[0]) || isOurs(a[2]), refusedWith(EINVAL));
    case __NR_vmsplice:
      return refusedWith(EINVAL);
    case __NR_io_setup:
    case __NR_remap_file_pages: case __NR_io_uring_setup: case __NR_io_uring_enter: case __NR_io_uring_register:
      return refusedWith(ENOSYS);
    case __NR_bpf: case __NR_kexec_load:
      return refusedWith(EPERM);
    default:
      return kNative;
  }
}

// Words beside every boundary that the filter knows.
uint64_t anyWord(std::mt19937_64& random) {
  static const uint64_t words[] = {
      0, 1, 2, 3, POSTERN_WINDOW_FIRST - 1, POSTERN_WINDOW_FIRST, POSTERN_WINDOW_FIRST + 1, POSTERN_WINDOW_LAST - 1, POSTERN_WINDOW_LAST,
      POSTERN_WINDOW_LAST + 1, F_DUPFD, F_DUPFD_CLOEXEC, F_GETFL, F_SETFL, F_GETFD, O_PATH, O_DIRECTORY, O_PATH | O_DIRECTORY, O_RDWR, CLONE_FILES, CLONE_THREAD, CLONE_FILES | CLONE_THREAD, CLONE_VM,
      O_RDWR | O_CREAT, MAP_ANONYMOUS, MAP_ANONYMOUS | MAP_PRIVATE, MAP_SHARED, MAP_SHARED_VALIDATE, MAP_SHARED | MAP_FIXED,
      MAP_SHARED | MAP_FIXED_NOREPLACE, 'T' << 8, ('T' - 1) << 8, ('T' + 1) << 8, 0x8900, 0x8a00, 0x88ff, 255, 256, 0x40086200, POSTERN_MAP_FIRST - 1, POSTERN_MAP_FIRST,
      POSTERN_MAP_FIRST + 4096, POSTERN_MAP_LAST, POSTERN_MAP_LAST + 1, MSG_ZEROCOPY, AF_XDP, MS_BIND, MS_MOVE, MS_REMOUNT, MS_PRIVATE, MS_UNBINDABLE, 0xc0ed0000, 0xc0ed0001, 0xc0ed1000, 0xc0ee0000, 0x7fffffff, 0x80000000, 0xffffffff, ~uint64_t(0)};
  uint64_t word = words[random() % (sizeof words / sizeof *words)];
  if (random() % 8 == 0) word |= random() << 32;
  if (random() % 16 == 0) word = random();
  return word;
}

}  // namespace

TEST("the filter fits its buffer, and every jump lands inside") {
  for (bool answersStat : {false, true}) {
    const auto& program = programOf(answersStat);
    CHECK(program.size() > 100 && program.size() < 1024);
    for (size_t at = 0; at < program.size(); at++) {
      if (BPF_CLASS(program[at].code) != BPF_JMP) continue;
      CHECK(at + 1 + program[at].jt < program.size() && at + 1 + program[at].jf < program.size());
    }
    CHECK_EQ(program.back().code, BPF_RET | BPF_K);
  }
}

TEST("every system call number, with words beside every boundary, gets the answer that it must") {
  std::mt19937_64 random(19);
  constexpr uint32_t kNumbers = 600;  // the kernel's own end below 500
  std::set<uint32_t> kinds;
  for (bool answersStat : {false, true}) {
    const auto& program = programOf(answersStat);
    for (uint32_t number = 0; number < kNumbers; number++) {
      for (int round = 0; round < 200; round++) {
        seccomp_data call = callOf(number);
        for (auto& argument : call.args) argument = anyWord(random);
        const uint32_t got = interpret(program, call), want = wanted(call, answersStat);
        kinds.insert(want);
        if (got != want)
          throw check::Failure("system call " + std::to_string(number) + " is answered by " + check::show(got) + ", expected " + check::show(want));
      }
    }
  }
  CHECK_EQ(kinds.size(), 8);  // Native, notified, and refused with six errnos.
}

TEST("each descriptor number: those of the window, and no other") {
  for (uint32_t descriptor = 0; descriptor < 2048; descriptor++) {
    const uint32_t answer = interpret(programOf(false), callOf(__NR_ioctl, {descriptor}));
    CHECK_EQ(answer, descriptor >= POSTERN_WINDOW_FIRST && descriptor <= POSTERN_WINDOW_LAST ? kNotified : kNative);
  }
}

TEST("a descriptor's high word, which the kernel ignores, hides nothing") {
  for (uint64_t high : {uint64_t(1) << 32, uint64_t(0xdeadbeef) << 32, uint64_t(0xffffffff) << 32}) {
    CHECK_EQ(interpret(programOf(false), callOf(__NR_ioctl, {high | POSTERN_WINDOW_FIRST})), kNotified);
    CHECK_EQ(interpret(programOf(false), callOf(__NR_fcntl, {high | POSTERN_WINDOW_FIRST, high | F_DUPFD})), kNotified);
    CHECK_EQ(interpret(programOf(false), callOf(__NR_recvmsg, {high | POSTERN_WINDOW_FIRST})), refusedWith(ENOTSOCK));
    CHECK_EQ(interpret(programOf(false), callOf(__NR_openat, {0, 0, high | O_RDWR})), kNotified);
  }
}

TEST("x32's numbers are refused, all of them") {
  for (uint32_t number = 0; number < 600; number++)
    CHECK_EQ(interpret(programOf(false), callOf(0x40000000u | number, {POSTERN_WINDOW_FIRST})), refusedWith(ENOSYS));
  for (uint32_t number : {0x40000000u, 0x7fffffffu, 0x80000000u, 0xffffffffu})
    CHECK_EQ(interpret(programOf(false), callOf(number)), refusedWith(ENOSYS));
  CHECK_EQ(interpret(programOf(false), callOf(0x3fffffffu)), kNative);
}

TEST("other architectures' calls are refused, all of them") {
  for (uint32_t architecture : {uint32_t(AUDIT_ARCH_I386), uint32_t(AUDIT_ARCH_AARCH64), 0u, 0xffffffffu}) {
    for (uint32_t number = 0; number < 600; number++) {
      seccomp_data call = callOf(number);
      call.arch = architecture;
      CHECK_EQ(interpret(programOf(false), call), refusedWith(ENOSYS));
    }
  }
}

TEST("the injector's own open is always notified") {
  CHECK_EQ(interpret(programOf(false), callOf(__NR_openat, {static_cast<uint32_t>(POSTERN_INJECT_DIRFD), 0, O_RDWR})), kNotified);
}

namespace {

// What the listener answers with: an errno that no call here has by itself.
constexpr int kAnswered = EUCLEAN;

// In a child: installs the filter and answers every notification, from a thread that was there before and so has no filter.
class Filtered {
 public:
  explicit Filtered(int answersStat = 0) {
    std::thread server(serve);
    server.detach();
    CHECK_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    const int listener = install_filter(answersStat, answersStat, answersStat);
    if (listener < 0) throw check::Skipped(std::string("the kernel takes no such filter: ") + std::strerror(errno));
    listener_ = listener;
  }

 private:
  static void serve() {
    int listener;
    while ((listener = listener_.load()) < 0) usleep(100);
    for (;;) {
      seccomp_notif notification{};
      if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &notification) != 0) continue;
      seccomp_notif_resp response{};
      response.id = notification.id;
      response.error = -kAnswered;
      (void)ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
    }
  }
  // Of the process: the server may outlive this object by a moment.
  static inline std::atomic<int> listener_{-1};
};

// 0 or the errno of a raw system call.
int errnoOf(long number, uint64_t a = 0, uint64_t b = 0, uint64_t c = 0, uint64_t d = 0, uint64_t e = 0, uint64_t f = 0) {
  return __real_syscall(number, a, b, c, d, e, f) == -1 ? errno : 0;
}

uint64_t pointer(const void* at) { return reinterpret_cast<uint64_t>(at); }

constexpr uint64_t kInside = POSTERN_WINDOW_FIRST + 20, kBelow = POSTERN_WINDOW_FIRST - 1, kAbove = POSTERN_WINDOW_LAST + 1;

sigjmp_buf afterFault;

}  // namespace

TEST("in the kernel: operations on the window's descriptors go to the host, on others to the kernel") {
  check::inChild([] {
    Filtered filtered;
    for (long number : {__NR_ioctl, __NR_read, __NR_write, __NR_fstat, __NR_lseek, __NR_pread64, __NR_pwrite64, __NR_readv, __NR_writev, __NR_preadv,
                        __NR_pwritev, __NR_preadv2, __NR_pwritev2, __NR_dup, __NR_dup2, __NR_close}) {
      CHECK_EQ(errnoOf(number, kInside), kAnswered);
      CHECK_EQ(errnoOf(number, kInside | 0x500000000ull), kAnswered);
      for (uint64_t other : {kBelow, kAbove}) CHECK_EQ(errnoOf(number, other), EBADF);
    }
    for (int command : {F_DUPFD, F_DUPFD_CLOEXEC, F_GETFL, F_SETFL}) CHECK_EQ(errnoOf(__NR_fcntl, kInside, static_cast<uint64_t>(command)), kAnswered);
    for (int command : {F_GETFD, F_SETFD}) CHECK_EQ(errnoOf(__NR_fcntl, kInside, static_cast<uint64_t>(command)), EBADF);
    CHECK_EQ(errnoOf(__NR_dup2, kBelow, kInside), kAnswered);
    CHECK_EQ(errnoOf(__NR_close_range, kAbove, ~0u), kAnswered);
    CHECK_EQ(errnoOf(__NR_close_range, kBelow, kBelow), 0);
    CHECK_EQ(errnoOf(__NR_execve, pointer("/nowhere/at/all")), kAnswered);
  });
}

TEST("in the kernel: opens go to the host, unless they can't yield a device") {
  check::inChild([] {
    Filtered filtered;
    const uint64_t here = static_cast<uint64_t>(AT_FDCWD);
    CHECK_EQ(errnoOf(__NR_openat, here, pointer("/dev/null"), O_RDWR), kAnswered);
    CHECK_EQ(errnoOf(__NR_open, pointer("/dev/null"), O_RDONLY), kAnswered);
    CHECK_EQ(errnoOf(__NR_creat, pointer("/nowhere/at/all"), 0), kAnswered);
    CHECK_EQ(errnoOf(__NR_openat2, here, pointer("/dev/null"), 0, 0), kAnswered);
    CHECK_EQ(errnoOf(__NR_openat, here, pointer("/dev/null"), O_PATH), 0);
    CHECK_EQ(errnoOf(__NR_open, pointer("/dev"), O_DIRECTORY), 0);
    CHECK_EQ(errnoOf(__NR_open, pointer("/dev/null"), O_DIRECTORY), ENOTDIR);
  });
}

TEST("in the kernel: stat by name goes to the host only where it must answer it") {
  check::inChild([] {
    Filtered filtered;
    char room[512];
    CHECK_EQ(errnoOf(__NR_stat, pointer("/"), pointer(room)), 0);
    CHECK_EQ(errnoOf(__NR_newfstatat, static_cast<uint64_t>(AT_FDCWD), pointer("/"), pointer(room), 0), 0);
    CHECK_EQ(errnoOf(__NR_newfstatat, kInside, pointer(""), pointer(room), AT_EMPTY_PATH), kAnswered);
    CHECK_EQ(errnoOf(__NR_statx, kInside, pointer(""), AT_EMPTY_PATH, 0, pointer(room)), kAnswered);
  });
  check::inChild([] {
    Filtered filtered(1);
    char room[512];
    CHECK_EQ(errnoOf(__NR_stat, pointer("/"), pointer(room)), kAnswered);
    CHECK_EQ(errnoOf(__NR_lstat, pointer("/"), pointer(room)), kAnswered);
    CHECK_EQ(errnoOf(__NR_newfstatat, static_cast<uint64_t>(AT_FDCWD), pointer("/"), pointer(room), 0), kAnswered);
  });
}

TEST("in the kernel: the placeholder is no socket, and no end of a splice") {
  check::inChild([] {
    Filtered filtered;
    for (long number : {__NR_sendto, __NR_recvfrom, __NR_sendmsg, __NR_recvmsg, __NR_shutdown, __NR_connect, __NR_bind, __NR_listen,
                        __NR_accept4, __NR_getsockname, __NR_setsockopt, __NR_getsockopt}) {
      CHECK_EQ(errnoOf(number, kInside), ENOTSOCK);
      CHECK_EQ(errnoOf(number, kBelow), EBADF);
    }
    CHECK_EQ(errnoOf(__NR_sendfile, kInside, kBelow), EINVAL);
    CHECK_EQ(errnoOf(__NR_sendfile, kBelow, kInside), EINVAL);
    CHECK_EQ(errnoOf(__NR_sendfile, kBelow, kBelow), EBADF);
    CHECK_EQ(errnoOf(__NR_splice, kBelow, 0, kInside, 0, 1), EINVAL);
    CHECK_EQ(errnoOf(__NR_splice, kBelow, 0, kBelow, 0, 1), EBADF);
  });
}

TEST("in the kernel: mappings of the window's descriptors and in the range of driver pages") {
  check::inChild([] {
    Filtered filtered;
    CHECK_EQ(errnoOf(__NR_mmap, 0, 4096, PROT_READ, MAP_SHARED, kInside, 0), kAnswered);
    CHECK_EQ(errnoOf(__NR_mmap, 0, 4096, PROT_READ, MAP_SHARED, kBelow, 0), kAnswered);
    CHECK_EQ(errnoOf(__NR_mmap, 0, 4096, PROT_READ, MAP_PRIVATE, kBelow, 0), EBADF);
    for (int fixed : {MAP_FIXED, MAP_FIXED_NOREPLACE})
      CHECK_EQ(errnoOf(__NR_mmap, 0x10000, 4096, PROT_READ, static_cast<uint64_t>(MAP_SHARED | fixed), kBelow, 0), EBADF);
    CHECK_EQ(errnoOf(__NR_ioctl, kBelow, _IO('b', 0)), kAnswered);
    for (uint64_t command : {0x5401ull, 0x8901ull, 1ull}) CHECK_EQ(errnoOf(__NR_ioctl, kBelow, command), EBADF);
    CHECK_EQ(errnoOf(__NR_mmap, 0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, kInside, 0), 0);
    CHECK_EQ(errnoOf(__NR_munmap, POSTERN_MAP_FIRST, 4096), kAnswered);
    CHECK_EQ(errnoOf(__NR_munmap, POSTERN_MAP_LAST & ~0xfffull, 4096), kAnswered);
    CHECK_EQ(errnoOf(__NR_munmap, POSTERN_MAP_LAST + 1, 4096), 0);
    void* page = mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK_EQ(errnoOf(__NR_mremap, POSTERN_MAP_FIRST, 4096, 8192, MREMAP_MAYMOVE), EINVAL);
    CHECK_EQ(errnoOf(__NR_mremap, pointer(page), 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, POSTERN_MAP_FIRST), EINVAL);
    CHECK_EQ(errnoOf(__NR_mremap, pointer(page), 4096, 8192, MREMAP_MAYMOVE), 0);
  });
}

TEST("in the kernel: what reaches around the filter is refused") {
  check::inChild([] {
    Filtered filtered;
    for (long number : {__NR_io_uring_setup, __NR_io_uring_enter, __NR_io_uring_register, __NR_remap_file_pages})
      CHECK_EQ(errnoOf(number), ENOSYS);
    for (long number : {__NR_bpf, __NR_kexec_load}) CHECK_EQ(errnoOf(number), EPERM);
    for (uint64_t number : {uint64_t(__NR_getpid), uint64_t(__NR_read), uint64_t(514)})
      CHECK_EQ(errnoOf(static_cast<long>(0x40000000u | number), kInside), ENOSYS);
  });
}

TEST("in the kernel: an i386 call by int 0x80 is refused") {
  check::inChild([] {
    Filtered filtered;
    signal(SIGSEGV, [](int) { siglongjmp(afterFault, 1); });
    if (sigsetjmp(afterFault, 1) != 0) throw check::Skipped("this kernel has no i386 calls");
    constexpr long kI386Getpid = 20;
    long result;
    asm volatile("int $0x80" : "=a"(result) : "a"(kI386Getpid) : "memory", "r8", "r9", "r10", "r11");
    CHECK_EQ(static_cast<int>(result), -ENOSYS);
  });
}
