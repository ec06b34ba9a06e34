#include "supervisor.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "backend.h"
#include "channels.h"
#include "control.h"
#include "log.h"

/* Rings taken from the doorbell in one read; they only say which channels to look at. */
#define RINGS_AT_ONCE 256
/* A doorbell whose other end is away (a VM between two hosts) is looked at again after this time. */
#define DOORBELL_RETRY_MS 10

/* The backend process of each channel, 0: none. Shared with them, who find each other by it. */
static pid_t *processes;

pid_t supervisor_process(uint32_t number) {
  return number < POSTERN_CHANNELS_MAX ? __atomic_load_n(&processes[number], __ATOMIC_SEQ_CST) : 0;
}

static uint32_t state_of(const struct domain *domain, uint32_t number) {
  return __atomic_load_n(&domain_channel(domain, number)->state, __ATOMIC_SEQ_CST);
}

/* Moves the channel's state unless the host has moved it meanwhile, and tells the host. */
static bool move_state(const struct domain *domain, uint32_t number, uint32_t from, uint32_t to) {
  bool moved = __atomic_compare_exchange_n(&domain_channel(domain, number)->state, &from, to, false, __ATOMIC_SEQ_CST,
                                           __ATOMIC_SEQ_CST);
  if (moved) channels_wake_host(domain, number);
  return moved;
}

static void start(const struct domain *domain, uint32_t number) {
  if (processes[number] != 0) return;
  pid_t process = fork();
  if (process == 0) backend_run(domain, number);
  if (process < 0) {
    log_line("channel %u: no backend process: %s", number, strerror(errno));
    move_state(domain, number, POSTERN_CHANNEL_START, POSTERN_CHANNEL_DEAD);
    return;
  }
  __atomic_store_n(&processes[number], process, __ATOMIC_SEQ_CST);
  domain_channel(domain, number)->pid = (uint32_t)process;
  move_state(domain, number, POSTERN_CHANNEL_START, POSTERN_CHANNEL_RUNNING);
}

static void set_free(const struct domain *domain, uint32_t number) {
  channels_clear(domain, number);
  move_state(domain, number, POSTERN_CHANNEL_STOP, POSTERN_CHANNEL_FREE);
}

static void serve(const struct domain *domain, uint32_t number) {
  switch (state_of(domain, number)) {
    case POSTERN_CHANNEL_START: start(domain, number); break;
    case POSTERN_CHANNEL_RUNNING: channels_wake_backend(domain, number); break;
    case POSTERN_CHANNEL_STOP:
      if (processes[number] == 0) set_free(domain, number);
      else kill(processes[number], SIGKILL); /* freed when it has been reaped */
      break;
    default: break;
  }
}

static const char *exit_reason(int status) {
  if (WIFSIGNALED(status)) return strsignal(WTERMSIG(status));
  switch (WEXITSTATUS(status)) {
    case BACKEND_EXIT_SETUP: return "a resource was missing at its start";
    case BACKEND_EXIT_PROTOCOL: return "its submission ring was broken";
    case BACKEND_EXIT_STALLED: return "the host took no completions";
    default: return "it exited";
  }
}

static void backend_ended(const struct domain *domain, uint32_t number, int status) {
  __atomic_store_n(&processes[number], 0, __ATOMIC_SEQ_CST);
  if (state_of(domain, number) != POSTERN_CHANNEL_STOP) {
    log_line("channel %u: the backend process died: %s", number, exit_reason(status));
    if (move_state(domain, number, POSTERN_CHANNEL_RUNNING, POSTERN_CHANNEL_DEAD)) return;
    if (move_state(domain, number, POSTERN_CHANNEL_START, POSTERN_CHANNEL_DEAD)) return;
  }
  /* The host asked for it, perhaps in this very moment. */
  set_free(domain, number);
}

/* Reaps every child. Returns whether the control server was among them. */
static bool reap(const struct domain *domain, pid_t control_server) {
  int status;
  pid_t ended;
  bool control_ended = false;
  while ((ended = waitpid(-1, &status, WNOHANG)) > 0) {
    if (ended == control_server) control_ended = true;
    for (uint32_t i = 0; i < domain->channels; i++) {
      if (processes[i] == ended) backend_ended(domain, i, status);
    }
  }
  return control_ended;
}

static void serve_each_once(const struct domain *domain, const uint32_t *rings, size_t count) {
  bool served[POSTERN_CHANNELS_MAX] = {false};
  for (size_t i = 0; i < count; i++) {
    uint32_t number = rings[i];
    if (number >= domain->channels || served[number]) continue;
    served[number] = true;
    serve(domain, number);
  }
}

/* Takes what has been rung. Returns whether the doorbell can still ring. */
static bool take_rings(const struct domain *domain) {
  static uint32_t rings[RINGS_AT_ONCE];
  static size_t carried; /* bytes of a ring that has come in part */
  ssize_t count = read(domain->doorbell, (uint8_t *)rings + carried, sizeof rings - carried);
  if (count < 0) return errno == EINTR || errno == EAGAIN;
  if (count == 0 && domain->kind == DOMAIN_LOCAL) return false;
  if (count == 0) {
    struct timespec retry = {.tv_nsec = DOORBELL_RETRY_MS * 1000000};
    nanosleep(&retry, NULL);
    return true;
  }
  size_t bytes = carried + (size_t)count, whole = bytes / sizeof *rings;
  serve_each_once(domain, rings, whole);
  carried = bytes % sizeof *rings;
  memmove(rings, rings + whole, carried);
  return true;
}

static int open_child_signal(void) {
  sigset_t child;
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  sigprocmask(SIG_BLOCK, &child, NULL);
  return signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
}

const char *supervisor_run(const struct domain *domain) {
  prctl(PR_SET_NAME, "postern-agent");
  processes = mmap(NULL, POSTERN_CHANNELS_MAX * sizeof *processes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (processes == MAP_FAILED) return "no shared memory";
  int child_signal = open_child_signal();
  if (child_signal < 0) return "no signalfd";
  pid_t control_server = fork();
  if (control_server < 0) return "no process for the control stream";
  if (control_server == 0) control_run(domain);
  for (;;) {
    struct pollfd sources[] = {{.fd = domain->doorbell, .events = POLLIN}, {.fd = child_signal, .events = POLLIN}};
    if (poll(sources, 2, -1) < 0 && errno != EINTR) return "poll failed";
    if (sources[1].revents) {
      struct signalfd_siginfo information;
      while (read(child_signal, &information, sizeof information) > 0) continue;
      if (reap(domain, control_server)) return "the control stream ended";
    }
    if (sources[0].revents && !take_rings(domain)) return "the doorbell stream ended";
  }
}
