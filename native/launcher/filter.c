/* The guest's seccomp filter: which system calls the host answers (user notification), which are refused, and that
 * everything else runs natively. It is generated from the tables below, one row a system call. */
#include "filter.h"

#include <asm/unistd.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/ioctl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../protocol/window.h"

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

/* The type of a socket's commands (linux/sockios.h, SOCK_IOC_TYPE). */
#define SOCKET_IOCTLS 0x89
#define INSTRUCTIONS_MAX 1024 /* four times what the tables need now; BPF's own limit is 4096 */

#ifndef AF_XDP
#define AF_XDP 44
#endif
/* MS_MGC_VAL and MS_MGC_MSK of linux/mount.h. */
#define MOUNT_MAGIC 0xc0ed0000u
#define MOUNT_MAGIC_MASK 0xffff0000u
#define MOUNT_PROPAGATION (MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE)

static struct sock_filter program[INSTRUCTIONS_MAX];
static unsigned length;

static void emit(uint16_t code, uint8_t jt, uint8_t jf, uint32_t k) {
  if (length < INSTRUCTIONS_MAX) program[length++] = (struct sock_filter){code, jt, jf, k};
}

static void answer(uint32_t action) { emit(BPF_RET | BPF_K, 0, 0, action); }
static void load(uint32_t offset) { emit(BPF_LD | BPF_W | BPF_ABS, 0, 0, offset); }
static void load_number(void) { load(offsetof(struct seccomp_data, nr)); }
/* Little-endian: the low word of an argument comes first. */
static void load_low(unsigned argument) { load(offsetof(struct seccomp_data, args) + 8 * argument); }
static void load_high(unsigned argument) { load(offsetof(struct seccomp_data, args) + 8 * argument + 4); }

/* Jumps are 8 bits wide, so each row is its own block that a failed comparison of the number skips. Where a row is done without
 * an answer it falls to ALLOW: no other row has its number. */
static unsigned block_begin(uint32_t number) {
  emit(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, number);
  return length - 1;
}
static void block_end(unsigned at) {
  answer(SECCOMP_RET_ALLOW);
  program[at].jf = (uint8_t)(length - at - 1);
  load_number();
}

/* Answers with `action` when the low word of the argument is in the descriptor window. Descriptors are ints: the kernel ignores the high
 * word, and so does the filter. */
static void if_in_window(unsigned argument, uint32_t action) {
  load_low(argument);
  emit(BPF_JMP | BPF_JGE | BPF_K, 0, 2, POSTERN_WINDOW_FIRST);
  emit(BPF_JMP | BPF_JGT | BPF_K, 1, 0, POSTERN_WINDOW_LAST);
  answer(action);
}

static void row_always(uint32_t number, uint32_t action) {
  unsigned at = block_begin(number);
  answer(action);
  block_end(at);
}

static void row_window(uint32_t number, unsigned argument, uint32_t action) {
  unsigned at = block_begin(number);
  if_in_window(argument, action);
  block_end(at);
}

static void row_window_two(uint32_t number, unsigned first, unsigned second, uint32_t action) {
  unsigned at = block_begin(number);
  if_in_window(first, action);
  if_in_window(second, action);
  block_end(at);
}

/* Opens that can't yield a device by themselves run natively: O_PATH gives no file, O_DIRECTORY only directories. */
static void row_open(uint32_t number, unsigned flags_argument, int answers_all) {
  unsigned at = block_begin(number);
  load_low(flags_argument);
  if (answers_all) answer(SECCOMP_RET_USER_NOTIF);
  emit(BPF_JMP | BPF_JSET | BPF_K, 1, 0, O_PATH | O_DIRECTORY);
  answer(SECCOMP_RET_USER_NOTIF);
  block_end(at);
}

/* F_GETFL tells the session's access mode, the F_DUPFD family must stay in the window, and the host must know of F_SETFL; the other
 * commands act on the placeholder. */
static void row_fcntl(void) {
  static const uint32_t commands[] = {F_DUPFD, F_DUPFD_CLOEXEC, F_GETFL, F_SETFL};
  for (unsigned i = 0; i < sizeof commands / sizeof *commands; i++) {
    emit(BPF_JMP | BPF_JEQ | BPF_K, 0, 7, __NR_fcntl);
    load_low(1);
    emit(BPF_JMP | BPF_JEQ | BPF_K, 0, 4, commands[i]);
    if_in_window(0, SECCOMP_RET_USER_NOTIF);
    load_number();
  }
}

/* Unless it ends below the window. */
static void row_close_range(void) {
  unsigned at = block_begin(__NR_close_range);
  load_low(1);
  emit(BPF_JMP | BPF_JGE | BPF_K, 0, 1, POSTERN_WINDOW_FIRST);
  answer(SECCOMP_RET_USER_NOTIF);
  block_end(at);
}

/* A thread that gets a descriptor table of its own: the host must know that the process has more than one. clone3's flags are in
 * memory, where a filter can't look; the C library always shares. */
static void row_unshare(void) {
  unsigned at = block_begin(__NR_unshare);
  load_low(0);
  emit(BPF_JMP | BPF_JSET | BPF_K, 0, 1, CLONE_FILES);
  answer(SECCOMP_RET_USER_NOTIF);
  block_end(at);
}

static void row_clone(void) {
  unsigned at = block_begin(__NR_clone);
  load_low(0);
  emit(BPF_JMP | BPF_JSET | BPF_K, 2, 0, CLONE_FILES);
  emit(BPF_JMP | BPF_JSET | BPF_K, 0, 1, CLONE_THREAD);
  answer(SECCOMP_RET_USER_NOTIF);
  block_end(at);
}

/* A placeholder that a guest has received over a socket has a number outside the window. So what is mapped to be shared is looked at
 * whatever its number, but not where the address is given: so the host itself maps, and nobody maps a driver's pages. */
static void row_mmap(void) {
  unsigned at = block_begin(__NR_mmap);
  load_low(3);
  emit(BPF_JMP | BPF_JSET | BPF_K, 8, 0, MAP_ANONYMOUS);
  if_in_window(4, SECCOMP_RET_USER_NOTIF);
  load_low(3);
  emit(BPF_JMP | BPF_JSET | BPF_K, 0, 2, MAP_SHARED);
  emit(BPF_JMP | BPF_JSET | BPF_K, 1, 0, MAP_FIXED | MAP_FIXED_NOREPLACE);
  answer(SECCOMP_RET_USER_NOTIF);
  block_end(at);
}

/* Likewise the commands, but for those of terminals, sockets and the kernel's oldest: they are many, and their files are the guest's. */
static void row_ioctl(void) {
  static const uint32_t frequent[] = {0, 'T', SOCKET_IOCTLS};
  const unsigned count = sizeof frequent / sizeof *frequent;
  unsigned at = block_begin(__NR_ioctl);
  if_in_window(0, SECCOMP_RET_USER_NOTIF);
  load_low(1);
  emit(BPF_ALU | BPF_RSH | BPF_K, 0, 0, _IOC_TYPESHIFT);
  emit(BPF_ALU | BPF_AND | BPF_K, 0, 0, _IOC_TYPEMASK);
  for (unsigned i = 0; i < count; i++) emit(BPF_JMP | BPF_JEQ | BPF_K, (uint8_t)(count - i), 0, frequent[i]);
  answer(SECCOMP_RET_USER_NOTIF);
  block_end(at);
}

/* Acts on an address argument inside the range for driver pages: its high words are 0x2000 to 0x20ff. */
static void row_mapped(uint32_t number, unsigned argument, uint32_t action) {
  unsigned at = block_begin(number);
  load_high(argument);
  emit(BPF_JMP | BPF_JGE | BPF_K, 0, 2, (uint32_t)(POSTERN_MAP_FIRST >> 32));
  emit(BPF_JMP | BPF_JGT | BPF_K, 1, 0, (uint32_t)(POSTERN_MAP_LAST >> 32));
  answer(action);
  block_end(at);
}

/* The kernel moves a mapping to wherever the fifth argument says, so both addresses count. */
static void row_mremap(void) {
  unsigned at = block_begin(__NR_mremap);
  static const unsigned arguments[] = {0, 4};
  for (unsigned i = 0; i < 2; i++) {
    load_high(arguments[i]);
    emit(BPF_JMP | BPF_JGE | BPF_K, 0, 2, (uint32_t)(POSTERN_MAP_FIRST >> 32));
    emit(BPF_JMP | BPF_JGT | BPF_K, 1, 0, (uint32_t)(POSTERN_MAP_LAST >> 32));
    answer(SECCOMP_RET_ERRNO | EINVAL);
  }
  block_end(at);
}

/* Sending without a copy leaves the network a hold on the pages: see row_always(__NR_vmsplice). The placeholder is no socket at all. */
static void row_send(uint32_t number, unsigned flags_argument) {
  unsigned at = block_begin(number);
  if_in_window(0, SECCOMP_RET_ERRNO | ENOTSOCK);
  load_low(flags_argument);
  emit(BPF_JMP | BPF_JSET | BPF_K, 0, 1, MSG_ZEROCOPY);
  answer(SECCOMP_RET_ERRNO | ENOBUFS);
  block_end(at);
}

static void row_socket(void) {
  unsigned at = block_begin(__NR_socket);
  load_low(0);
  emit(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, AF_XDP);
  answer(SECCOMP_RET_ERRNO | EAFNOSUPPORT);
  block_end(at);
}

/* A file system of the guest's own, which it may mount in a user namespace, can have devices: a devpts has this machine's terminals. Only
 * what mounts no new one is left: binds, moves, changes of flags. The kernel takes off the magic of old in the upper half, and so what else is there. */
static void row_mount(void) {
  unsigned at = block_begin(__NR_mount);
  load_low(3);
  emit(BPF_JMP | BPF_JSET | BPF_K, 4, 0, MS_BIND | MS_MOVE | MS_REMOUNT);
  emit(BPF_ALU | BPF_AND | BPF_K, 0, 0, MOUNT_MAGIC_MASK);
  emit(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, MOUNT_MAGIC);
  emit(BPF_JMP | BPF_JSET | BPF_K, 1, 0, MOUNT_PROPAGATION);
  answer(SECCOMP_RET_ERRNO | EPERM);
  block_end(at);
}

static void emit_rows(int answers_stat, int answers_poll, int refuses_mounts) {
  const uint32_t notify = SECCOMP_RET_USER_NOTIF;
  const uint32_t not_socket = SECCOMP_RET_ERRNO | ENOTSOCK;
  const uint32_t invalid = SECCOMP_RET_ERRNO | EINVAL;
  const uint32_t no_call = SECCOMP_RET_ERRNO | ENOSYS;
  const uint32_t not_permitted = SECCOMP_RET_ERRNO | EPERM;

  /* The hot ones first. */
  row_ioctl();
  row_window(__NR_read, 0, notify);
  row_window(__NR_write, 0, notify);
  row_open(__NR_openat, 2, answers_stat);
  row_open(__NR_open, 1, answers_stat);
  row_mmap();
  row_window(__NR_fstat, 0, notify);
  if (answers_stat) {
    row_always(__NR_newfstatat, notify);
    row_always(__NR_statx, notify);
    row_always(__NR_stat, notify);
    row_always(__NR_lstat, notify);
  } else {
    row_window(__NR_newfstatat, 0, notify);
    row_window(__NR_statx, 0, notify);
  }
  row_always(__NR_creat, notify);
  row_always(__NR_openat2, notify);
  row_window(__NR_pread64, 0, notify);
  row_window(__NR_pwrite64, 0, notify);
  row_window(__NR_readv, 0, notify);
  row_window(__NR_writev, 0, notify);
  row_window(__NR_preadv, 0, notify);
  row_window(__NR_pwritev, 0, notify);
  row_window(__NR_preadv2, 0, notify);
  row_window(__NR_pwritev2, 0, notify);
  row_window(__NR_lseek, 0, notify);
  row_window(__NR_dup, 0, notify);
  row_fcntl();
  /* What frees or replaces a number of the window: the host remembers whose it is. */
  row_window_two(__NR_dup2, 0, 1, notify);
  row_window_two(__NR_dup3, 0, 1, notify);
  row_window(__NR_close, 0, notify);
  row_close_range();
  row_unshare();
  row_clone();
  row_always(__NR_execve, notify);
  row_always(__NR_execveat, notify);
  row_mapped(__NR_munmap, 0, notify);
  row_mremap();

  if (answers_stat) {
    static const uint32_t by_name[] = {
        __NR_readlink, __NR_readlinkat, __NR_access, __NR_faccessat, __NR_faccessat2, __NR_getxattr, __NR_lgetxattr,
    };
    for (unsigned i = 0; i < sizeof by_name / sizeof *by_name; i++) row_always(by_name[i], notify);
  }
  if (answers_poll) {
    static const uint32_t polls[] = {
        __NR_poll, __NR_ppoll, __NR_select, __NR_pselect6, __NR_epoll_wait, __NR_epoll_pwait, __NR_epoll_pwait2,
    };
    for (unsigned i = 0; i < sizeof polls / sizeof *polls; i++) row_always(polls[i], notify);
  }

  /* The placeholder is a socket only for its poll state. */
  static const uint32_t socket_calls[] = {
      __NR_recvfrom, __NR_recvmsg, __NR_recvmmsg,    __NR_shutdown,    __NR_connect,    __NR_bind,       __NR_listen,
      __NR_accept,   __NR_accept4, __NR_getsockname, __NR_getpeername, __NR_setsockopt, __NR_getsockopt,
  };
  for (unsigned i = 0; i < sizeof socket_calls / sizeof *socket_calls; i++) row_window(socket_calls[i], 0, not_socket);
  row_window_two(__NR_sendfile, 0, 1, invalid);
  row_window_two(__NR_splice, 0, 2, invalid);
  row_window_two(__NR_tee, 0, 1, invalid);
  row_window_two(__NR_copy_file_range, 0, 2, invalid);
  /* Pages of a driver that a pipe, a socket or a disk still holds when no process maps them any more would show what the driver
   * puts into them for another guest. */
  row_always(__NR_vmsplice, invalid);
  row_always(__NR_io_setup, no_call);
  row_send(__NR_sendto, 3);
  row_send(__NR_sendmsg, 2);
  row_send(__NR_sendmmsg, 3);
  row_socket();
  if (refuses_mounts) {
    row_mount();
    row_always(__NR_fsopen, not_permitted);
  }

  /* remap_file_pages could point a granted mapping at other pages of the driver VM's memory. */
  row_always(__NR_remap_file_pages, no_call);
  /* io_uring does file operations that no filter sees. */
  row_always(__NR_io_uring_setup, no_call);
  row_always(__NR_io_uring_enter, no_call);
  row_always(__NR_io_uring_register, no_call);
  row_always(__NR_bpf, not_permitted);
  row_always(__NR_kexec_load, not_permitted);
}

int install_filter(int answers_stat, int answers_poll, int refuses_mounts) {
  length = 0;
  /* Another architecture's numbers mean other calls: i386 by its own arch value, x32 by a bit in the number. */
  load(offsetof(struct seccomp_data, arch));
  emit(BPF_JMP | BPF_JEQ | BPF_K, 1, 0, AUDIT_ARCH_X86_64);
  answer(SECCOMP_RET_ERRNO | ENOSYS);
  load_number();
  emit(BPF_JMP | BPF_JGE | BPF_K, 0, 1, 0x40000000u);
  answer(SECCOMP_RET_ERRNO | ENOSYS);
  emit_rows(answers_stat, answers_poll, refuses_mounts);
  answer(SECCOMP_RET_ALLOW);
  if (length >= INSTRUCTIONS_MAX) {
    errno = E2BIG;
    return -1;
  }
  struct sock_fprog fprog = {(unsigned short)length, program};
  return (int)syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER,
                      SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, &fprog);
}
