/* The floor of the mechanism for many callers at once: each has a bare user-notification supervisor, a thread of one process, that answers
 * every ioctl at once or, with `domain`, when a process of the caller's own has performed one on a terminal.
 * Usage: crowd CALLERS ROUNDS [domain]
 * Prints one line: `perSecond CALLS` of all callers together, from when they are let go until the last one is done. */
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "supervisor.h"
#include "timing.h"

enum { CALLERS_MAX = 256, WARM_UP_CALLS = 200 };
/* Looks for the other side before sleeping, where processors are to spare: as many as the one and its answer take. Elsewhere they'd keep the other
 * side from its processor. */
#define LOOKS 2000

/* What a supervisor has its driver do: how often it was submitted, and how often it is done. */
struct domain {
  alignas(64) _Atomic unsigned submitted;
  alignas(64) _Atomic unsigned done;
};

struct shared {
  struct domain domains[CALLERS_MAX];
  double done_at[CALLERS_MAX];
};

static struct shared *shared;
static int looks, drives;

static void await_count(_Atomic unsigned *count, unsigned value) {
  for (int i = 0; i < looks; i++) {
    if (atomic_load(count) == value) return;
    __builtin_ia32_pause();
  }
  for (unsigned seen; (seen = atomic_load(count)) != value;) syscall(SYS_futex, count, FUTEX_WAIT, seen, NULL, NULL, 0);
}

static void tell_count(_Atomic unsigned *count, unsigned value) {
  atomic_store(count, value);
  syscall(SYS_futex, count, FUTEX_WAKE, 1, NULL, NULL, 0);
}

static pid_t start(void) {
  const pid_t child = fork();
  must(child >= 0, "fork");
  if (child == 0) prctl(PR_SET_PDEATHSIG, SIGKILL);
  return child;
}

static pid_t start_driver(struct domain *domain, const int gate[2]) {
  const pid_t child = start();
  if (child != 0) return child;
  close(gate[1]);
  const int terminal = open("/dev/ptmx", O_RDWR | O_NOCTTY);
  must(terminal >= 0, "/dev/ptmx");
  for (unsigned count = 1;; count++) {
    await_count(&domain->submitted, count);
    must(ioctl(terminal, TIOCNXCL) == 0, "TIOCNXCL");
    tell_count(&domain->done, count);
  }
}

/* A caller sends its listener, then calls when it is let go: when the write end of `gate` is closed. */
static void start_caller(int number, int socket, const int gate[2], int rounds) {
  if (start() != 0) return;
  close(gate[1]);
  const int listener = install();
  send_descriptor(socket, listener);
  close(listener);
  for (int i = 0; i < WARM_UP_CALLS; i++) must(ioctl(0, 0x1234) == 0, "ioctl");
  must(write(socket, "", 1) == 1, "ready");
  char byte;
  must(read(gate[0], &byte, 1) == 0, "the gate");
  for (int i = 0; i < rounds; i++) must(ioctl(0, 0x1234) == 0, "ioctl");
  shared->done_at[number] = timing_now();
  _exit(0);
}

struct supervised {
  int listener;
  struct domain *domain;
};

static void *supervise(void *argument) {
  const struct supervised *it = argument;
  struct seccomp_notif notification;
  (void)ioctl(it->listener, IOCTL_SET_FLAGS, SYNC_WAKE_UP);
  for (unsigned count = 1; receive_call(it->listener, &notification); count++) {
    if (drives) {
      tell_count(&it->domain->submitted, count);
      await_count(&it->domain->done, count);
    }
    answer_call(it->listener, &notification);
  }
  return NULL;
}

int main(int argc, char **argv) {
  static struct supervised supervised[CALLERS_MAX];
  static pid_t drivers[CALLERS_MAX];
  if (argc < 3 || argc > 4) return 2;
  const int callers = atoi(argv[1]), rounds = atoi(argv[2]);
  if (callers < 1 || callers > CALLERS_MAX || rounds < 1) return 2;
  drives = argc == 4 && strcmp(argv[3], "domain") == 0;
  looks = callers < sysconf(_SC_NPROCESSORS_ONLN) ? LOOKS : 0;
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  must(shared != MAP_FAILED, "mmap");
  int gate[2], ends[2];
  char byte;
  must(pipe(gate) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0, "pipe");
  for (int i = 0; i < callers; i++) {
    supervised[i].domain = &shared->domains[i];
    if (drives) drivers[i] = start_driver(supervised[i].domain, gate);
    start_caller(i, ends[1], gate, rounds);
    supervised[i].listener = receive_descriptor(ends[0]);
    pthread_t thread;
    must(pthread_create(&thread, NULL, supervise, &supervised[i]) == 0, "pthread_create");
    must(read(ends[0], &byte, 1) == 1, "a caller");
  }
  const double began = timing_now();
  close(gate[1]);
  double ended = began;
  int status;
  for (int i = 0; i < callers; i++) must(wait(&status) > 0 && status == 0, "a caller");
  for (int i = 0; i < callers; i++) ended = shared->done_at[i] > ended ? shared->done_at[i] : ended;
  for (int i = 0; drives && i < callers; i++) kill(drivers[i], SIGKILL);
  printf("perSecond %.1f\n", 1e9 * (double)callers * (double)rounds / (ended - began));
  fflush(stdout);
  _exit(0);
}
