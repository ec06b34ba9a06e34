#include "backend.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "channels.h"
#include "files.h"
#include "log.h"
#include "operations.h"
#include "pagemap.h"
#include "spin.h"
#include "threads.h"

/* How long the main loop looks for the next submission before it sleeps. A wake-up through the doorbell costs about
 * 130 us in a VM, so waiting half of that for a guest in full flow pays; more would only burn the driver's CPU. */
#define SPIN_US 75
/* Looks between two offers of the CPU to others: some 0.3 us, and 5 us where nobody has wanted it. An offer that nobody takes is shorter than
 * YIELD_ALONE_US, but under an emulator, where it is always made as often. */
#define SPIN_LOOKS_LEAST 32
#define SPIN_LOOKS_MOST 512
#define YIELD_ALONE_US 1
/* A local backend, after so many looks in a row that found nothing, looks only every so manyth time: where many guests work at once, each
 * submits seldom, and what the others need is the CPU. In a VM being woken takes longer than a look, so that none would ever pay again. */
#define FRUITLESS_SPINS_MAX 8
#define SPIN_RETRY 16

/* Wakes a system call and does nothing else: without SA_RESTART, the call ends with EINTR. */
static void on_cancel(int signal_number) { (void)signal_number; }

static void set_signals(void) {
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, BACKEND_CANCEL_SIGNAL);
  sigprocmask(SIG_SETMASK, &blocked, NULL);
  struct sigaction cancel = {.sa_handler = on_cancel};
  sigaction(BACKEND_CANCEL_SIGNAL, &cancel, NULL);
  signal(SIGPIPE, SIG_IGN);
  /* A terminal that hangs up is the guest's matter, not this process's. */
  signal(SIGHUP, SIG_IGN);
}

static void close_what_others_own(const struct domain *domain, uint32_t number) {
  close(domain->control);
  for (uint32_t i = 0; i < domain->channels; i++) {
    if (i != number && domain->events[i] >= 0) close(domain->events[i]);
  }
  channels_keep_only(domain, number);
}

static struct backend *set_up(const struct domain *domain, uint32_t number) {
  char name[16];
  snprintf(name, sizeof name, "backend-%u", number);
  prctl(PR_SET_NAME, name);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  set_signals();
  close_what_others_own(domain, number);
  struct backend *backend = calloc(1, sizeof *backend);
  if (!backend) _exit(BACKEND_EXIT_SETUP);
  backend->domain = domain;
  backend->number = number;
  backend->channel = domain_channel(domain, number);
  backend->arena = (uint8_t *)backend->channel + POSTERN_CHANNEL_HEAD_BYTES;
  backend->pagemap = domain->kind == DOMAIN_VM ? pagemap_open() : -1;
  backend->stranger = domain->kind == DOMAIN_VM ? eventfd(0, EFD_CLOEXEC) : -1;
  backend->epoll = -1;
  pthread_mutex_init(&backend->completion_lock, NULL);
  files_initialise(backend);
  threads_initialise(backend);
  return backend;
}

static uint32_t submitted(const struct backend *backend) {
  return __atomic_load_n(&backend->channel->submit_tail, __ATOMIC_SEQ_CST);
}

/* Lets others run: the driver VM has one CPU, and operations on threads and other guests' backends go first. Whether somebody did. */
static bool let_others_run(void) {
  uint64_t began = spin_now();
  syscall(SYS_sched_yield);
  return spin_now() - began > spin_ticks(YIELD_ALONE_US);
}

/* Looks for a submission after `head` for a while. Returns whether there is one. */
static bool spin(const struct backend *backend, uint32_t head) {
  uint64_t end = spin_now() + spin_ticks(SPIN_US);
  int looks = SPIN_LOOKS_LEAST;
  do {
    for (int i = 0; i < looks; i++) {
      if (submitted(backend) != head) return true;
      spin_pause();
    }
    /* Who has the CPU alone need not ask so often: while it asks, it does not look. */
    if (let_others_run()) looks = SPIN_LOOKS_LEAST;
    else if (looks < SPIN_LOOKS_MOST) looks *= 2;
  } while (spin_now() < end);
  return false;
}

static bool may_spin(const struct backend *backend, uint32_t fruitless) {
  return backend->domain->kind == DOMAIN_VM || fruitless < FRUITLESS_SPINS_MAX || fruitless % SPIN_RETRY == 0;
}

static void sleep_until_submitted(const struct backend *backend, uint32_t head) {
  struct postern_channel *channel = backend->channel;
  __atomic_store_n(&channel->agent_sleeping, 1, __ATOMIC_SEQ_CST);
  while (submitted(backend) == head) {
    syscall(SYS_futex, &channel->submit_tail, FUTEX_WAIT, head, NULL, NULL, 0);
    /* Said again before the next look: the host took the mark back when it rang. */
    __atomic_store_n(&channel->agent_sleeping, 1, __ATOMIC_SEQ_CST);
  }
  __atomic_store_n(&channel->agent_sleeping, 0, __ATOMIC_SEQ_CST);
}

/* Whether the submission at `head` is another transfer like this one, which will tell the file's readiness for both. Only of files that
 * do not block: who believes an older word then, for as long as the other one takes, gets EAGAIN. */
static bool is_followed(const struct backend *backend, const struct postern_op *op, uint32_t head, uint32_t tail) {
  if (head == tail || (op->kind != POSTERN_OP_READ && op->kind != POSTERN_OP_WRITE)) return false;
  const struct postern_op *next = &backend->channel->submissions[head % POSTERN_RING_ENTRIES];
  return next->kind == op->kind && next->file == op->file && next->flags == op->flags &&
         (op->flags & (POSTERN_OP_NONBLOCK | POSTERN_OP_BLOCKING)) == POSTERN_OP_NONBLOCK;
}

static void take_all(struct backend *backend, uint32_t *head) {
  uint32_t tail = submitted(backend);
  if (tail - *head > POSTERN_RING_ENTRIES) {
    log_line("channel %u: the submission ring's tail %u is not within %u of its head %u; the backend process ends",
             backend->number, tail, POSTERN_RING_ENTRIES, *head);
    _exit(BACKEND_EXIT_PROTOCOL);
  }
  while (*head != tail) {
    struct postern_op op = backend->channel->submissions[*head % POSTERN_RING_ENTRIES];
    ++*head;
    __atomic_store_n(&backend->channel->submit_head, *head, __ATOMIC_RELEASE);
    if (is_followed(backend, &op, *head, tail)) op.flags |= POSTERN_OP_STEADY;
    operations_dispatch(backend, &op);
  }
}

void backend_run(const struct domain *domain, uint32_t number) {
  struct backend *backend = set_up(domain, number);
  for (uint32_t head = 0, fruitless = 0;;) {
    if (may_spin(backend, fruitless) && spin(backend, head)) {
      fruitless = 0;
    } else {
      fruitless++;
      sleep_until_submitted(backend, head);
    }
    take_all(backend, &head);
  }
}
