/* The floor of the mechanism: a bare seccomp user-notification supervisor that answers every ioctl at once, having copied COPY_BYTES out to
 * the caller's argument. Nothing that judges and drives can be faster.
 * Usage: floor COPY_BYTES ROUNDS [STEP]
 * STEP: something more that a supervisor may do for each call, so that its cost can be told: poll (epoll before receiving), borrow
 * (pidfd_getfd and close), valid (is the thread still there), read (104 bytes of the argument), domain (another process performs an ioctl
 * on a terminal before the answer: both spin, as a mediator and a backend do).
 * Prints one line: `median NS p99 NS`. */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supervisor.h"
#include "timing.h"

/* One operation at a time goes to the second process: how many have been submitted, and how many are done. */
struct domain {
  alignas(64) _Atomic unsigned submitted;
  alignas(64) _Atomic unsigned done;
};

/* As the backend's own loop: looks for a while, then lets others run. */
#define PAUSES_UNTIL_YIELD 32

static void await_count(_Atomic unsigned *count, unsigned value) {
  while (atomic_load(count) != value) {
    for (int i = 0; i < PAUSES_UNTIL_YIELD && atomic_load(count) != value; i++) __builtin_ia32_pause();
    if (atomic_load(count) != value) sched_yield();
  }
}

static void drive(struct domain *domain) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int terminal = open("/dev/ptmx", O_RDWR | O_NOCTTY);
  must(terminal >= 0, "/dev/ptmx");
  for (unsigned count = 1;; count++) {
    await_count(&domain->submitted, count);
    must(ioctl(terminal, TIOCNXCL) == 0, "TIOCNXCL");
    atomic_store(&domain->done, count);
  }
}

static struct domain *start_domain(void) {
  struct domain *domain = mmap(NULL, sizeof *domain, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  must(domain != MAP_FAILED, "mmap");
  const pid_t driver = fork();
  must(driver >= 0, "fork");
  if (driver == 0) drive(domain);
  return domain;
}

static void call(void *argument) { must(ioctl(0, 0x1234, argument) == 0, "ioctl"); }

/* What the supervisor does beside receiving and answering. */
static void do_step(const char *step, int listener, const struct seccomp_notif *notification) {
  static char bytes[104];
  static struct domain *domain;
  if (strcmp(step, "domain") == 0) {
    if (!domain) domain = start_domain();
    const unsigned count = atomic_fetch_add(&domain->submitted, 1) + 1;
    await_count(&domain->done, count);
  } else if (strcmp(step, "borrow") == 0) {
    static int process = -1;
    if (process < 0) process = (int)syscall(SYS_pidfd_open, notification->pid, 0);
    int copy = (int)syscall(SYS_pidfd_getfd, process, STDOUT_FILENO, 0);
    must(copy >= 0 && close(copy) == 0, "pidfd_getfd");
  } else if (strcmp(step, "valid") == 0) {
    must(ioctl(listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &notification->id) == 0, "ID_VALID");
  } else if (strcmp(step, "read") == 0) {
    struct iovec local = {bytes, sizeof bytes}, remote = {(void *)notification->data.args[2], sizeof bytes};
    must(process_vm_readv((pid_t)notification->pid, &local, 1, &remote, 1, 0) == sizeof bytes, "process_vm_readv");
  }
}

static void supervise(int listener, size_t copy_bytes, const char *step) {
  static char bytes[4096];
  const int polls = strcmp(step, "poll") == 0, epoll = epoll_create1(0);
  struct epoll_event event = {.events = EPOLLIN};
  must(epoll >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) == 0, "epoll");
  (void)ioctl(listener, IOCTL_SET_FLAGS, SYNC_WAKE_UP);
  for (;;) {
    struct seccomp_notif notification;
    if (polls) must(epoll_wait(epoll, &event, 1, -1) == 1, "epoll_wait");
    if (!receive_call(listener, &notification)) return;
    do_step(step, listener, &notification);
    if (copy_bytes > 0) {
      struct iovec local = {bytes, copy_bytes}, remote = {(void *)notification.data.args[2], copy_bytes};
      must(process_vm_writev((pid_t)notification.pid, &local, 1, &remote, 1, 0) == (ssize_t)copy_bytes, "process_vm_writev");
    }
    answer_call(listener, &notification);
  }
}

int main(int argc, char **argv) {
  static char argument[4096];
  int ends[2];
  if (argc < 3 || argc > 4) return 2;
  must(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0, "socketpair");
  pid_t caller = fork();
  must(caller >= 0, "fork");
  if (caller == 0) {
    int listener = install();
    send_descriptor(ends[1], listener);
    close(listener);
    close(ends[1]);
    timing_report(call, argument, atoi(argv[2]));
    return fflush(stdout);
  }
  close(ends[1]);
  supervise(receive_descriptor(ends[0]), (size_t)atoi(argv[1]), argc > 3 ? argv[3] : "");
  int status;
  must(waitpid(caller, &status, 0) == caller && status == 0, "the caller");
  return 0;
}
