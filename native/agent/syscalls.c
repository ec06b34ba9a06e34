#include "syscalls.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Numbers with this bit are the x32 ABI's. */
#define X32_SYSCALL_BIT 0x40000000u
/* Threads and forks of the agent need none of these. */
#define CLONE_NAMESPACES                                                                                             \
  (CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP)

static const int allowed[] = {
    /* operations */
    SYS_ioctl, SYS_read, SYS_write, SYS_pread64, SYS_pwrite64, SYS_lseek, SYS_openat2, SYS_close, SYS_fstat, SYS_newfstatat, SYS_fcntl,
    SYS_poll, SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_wait, SYS_epoll_pwait,
    /* memory */
    SYS_munmap, SYS_madvise, SYS_brk,
    /* threads and sleep */
    SYS_futex, SYS_sched_yield, SYS_nanosleep, SYS_clock_nanosleep, SYS_clock_gettime, SYS_set_robust_list, SYS_rseq,
    SYS_set_tid_address, SYS_gettid, SYS_getpid, SYS_tgkill, SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn,
    SYS_restart_syscall, SYS_sched_getaffinity, SYS_prlimit64,
    /* processes: the PID namespace holds nothing but the agent */
    SYS_kill, SYS_wait4, SYS_exit, SYS_exit_group, SYS_prctl, SYS_signalfd4, SYS_getrandom,
};
#define ALLOWED_COUNT (sizeof allowed / sizeof *allowed)

struct program {
  struct sock_filter code[2 * ALLOWED_COUNT + 32];
  unsigned short length;
};

static void put(struct program *program, struct sock_filter instruction) { program->code[program->length++] = instruction; }

static void load(struct program *program, size_t offset) {
  put(program, (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offset));
}

static void answer(struct program *program, unsigned action) {
  put(program, (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, action));
}

/* The next instruction is executed only when the loaded word equals `value`. */
static void if_equal(struct program *program, unsigned value) {
  put(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1));
}

static void check_abi(struct program *program) {
  load(program, offsetof(struct seccomp_data, arch));
  put(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 1, 0));
  answer(program, SECCOMP_RET_KILL_PROCESS);
  load(program, offsetof(struct seccomp_data, nr));
  put(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, X32_SYSCALL_BIT, 0, 1));
  answer(program, SECCOMP_RET_KILL_PROCESS);
}

/* Allows the call while none of `bits` is set in the low word of its argument `index`; kills otherwise. */
static void allow_without_bits(struct program *program, int number, int index, unsigned bits) {
  put(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 4));
  load(program, offsetof(struct seccomp_data, args) + sizeof(__u64) * (size_t)index);
  put(program, (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, bits, 0, 1));
  answer(program, SECCOMP_RET_KILL_PROCESS);
  answer(program, SECCOMP_RET_ALLOW);
}

int syscalls_restrict(void) {
  struct program program = {.length = 0};
  check_abi(&program);
  allow_without_bits(&program, SYS_mmap, 2, PROT_EXEC);
  allow_without_bits(&program, SYS_mprotect, 2, PROT_EXEC);
  allow_without_bits(&program, SYS_clone, 0, CLONE_NAMESPACES);
  /* clone3's flags are in memory, beyond a filter's sight; the C library falls back to clone. */
  if_equal(&program, SYS_clone3);
  answer(&program, SECCOMP_RET_ERRNO | ENOSYS);
  for (size_t i = 0; i < ALLOWED_COUNT; i++) {
    if_equal(&program, (unsigned)allowed[i]);
    answer(&program, SECCOMP_RET_ALLOW);
  }
  answer(&program, SECCOMP_RET_KILL_PROCESS);
  struct sock_fprog filter = {.len = program.length, .filter = program.code};
  return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0 ? 0 : -errno;
}
