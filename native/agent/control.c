#include "control.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "channels.h"
#include "devices.h"
#include "log.h"
#include "run.h"

/* The longest request is RUN's argv; a command line of 64 KiB is beyond any use. */
#define REQUEST_BYTES_MAX (64u << 10)
/* A VM's stream whose other end is away (between two hosts) is looked at again after this time. */
#define STREAM_RETRY_MS 10

struct frame_head {
  uint32_t bytes, type;
};

static void write_all(int descriptor, const void *bytes, size_t length) {
  const char *next = bytes;
  while (length > 0) {
    ssize_t written = write(descriptor, next, length);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) _exit(EXIT_FAILURE);
    next += written;
    length -= (size_t)written;
  }
}

void control_send(const struct domain *domain, uint32_t type, const void *first, size_t first_bytes, const void *second,
                  size_t second_bytes) {
  struct frame_head head = {.bytes = (uint32_t)(first_bytes + second_bytes), .type = type};
  write_all(domain->control, &head, sizeof head);
  write_all(domain->control, first, first_bytes);
  write_all(domain->control, second, second_bytes);
}

void control_forward_log(const struct domain *domain) {
  char lines[4 * LOG_LINE_BYTES_MAX];
  ssize_t count;
  while ((count = read(log_read_end(), lines, sizeof lines)) > 0) {
    control_send(domain, POSTERN_FRAME_LOG, lines, (size_t)count, NULL, 0);
  }
}

/* Reads exactly `length` bytes. A local stream's end ends the process; a VM's comes back. */
static void read_all(const struct domain *domain, void *bytes, size_t length) {
  char *next = bytes;
  while (length > 0) {
    ssize_t got = read(domain->control, next, length);
    if (got < 0 && errno == EINTR) continue;
    if (got == 0 && domain->kind == DOMAIN_VM) {
      struct timespec retry = {.tv_nsec = STREAM_RETRY_MS * 1000000};
      nanosleep(&retry, NULL);
      continue;
    }
    if (got <= 0) _exit(got == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
    next += got;
    length -= (size_t)got;
  }
}

static void set_clock(const struct domain *domain, const void *payload, size_t length) {
  uint64_t ns = 0;
  if (length == sizeof ns) memcpy(&ns, payload, sizeof ns);
  if (ns == 0 || domain->kind != DOMAIN_VM) return;
  struct timespec now = {.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};
  if (clock_settime(CLOCK_REALTIME, &now) != 0) log_line("the clock can't be set: %s", strerror(errno));
}

static void answer_hello(const struct domain *domain, const void *payload, size_t length) {
  set_clock(domain, payload, length);
  struct postern_hello hello = {
      .version = POSTERN_PROTOCOL_VERSION,
      .channels = domain->channels,
      .channels_address = (uintptr_t)domain->memory,
      .pages_follow = domain->pages != NULL,
  };
  size_t pages_bytes = domain->pages ? domain->channels * CHANNEL_PAGES * sizeof *domain->pages : 0;
  control_send(domain, POSTERN_FRAME_HELLO, &hello, sizeof hello, domain->pages, pages_bytes);
}

static void answer_devices(const struct domain *domain) {
  if (domain->devices) {
    control_send(domain, POSTERN_FRAME_DEVICES, domain->devices, domain->devices_bytes, NULL, 0);
    return;
  }
  struct json json = devices_list_all();
  control_send(domain, POSTERN_FRAME_DEVICES, json.text, json.length, NULL, 0);
  json_free(&json);
}

static void answer(const struct domain *domain, uint32_t type, char *payload, size_t length) {
  switch (type) {
    case POSTERN_FRAME_HELLO: answer_hello(domain, payload, length); break;
    case POSTERN_FRAME_DEVICES: answer_devices(domain); break;
    case POSTERN_FRAME_RUN: run_program(domain, payload, length); break;
    case POSTERN_FRAME_PING: control_send(domain, POSTERN_FRAME_PING, NULL, 0, NULL, 0); break;
    case POSTERN_FRAME_INPUT: break; /* Its program has ended meanwhile. */
    default: log_line("control stream: no such request: %u", type);
  }
}

uint32_t control_take(const struct domain *domain, char **taken, size_t *length) {
  static char payload[REQUEST_BYTES_MAX];
  struct frame_head head;
  read_all(domain, &head, sizeof head);
  if (head.bytes > sizeof payload) {
    log_line("control stream: a request of %u bytes, the limit is %u", head.bytes, REQUEST_BYTES_MAX);
    control_forward_log(domain);
    _exit(EXIT_FAILURE);
  }
  read_all(domain, payload, head.bytes);
  *taken = payload;
  *length = head.bytes;
  return head.type;
}

static void take_request(const struct domain *domain) {
  char *payload;
  size_t length;
  uint32_t type = control_take(domain, &payload, &length);
  answer(domain, type, payload, length);
}

static void leave_supervisor(const struct domain *domain) {
  prctl(PR_SET_NAME, "postern-control");
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  signal(SIGPIPE, SIG_IGN);
  close(domain->doorbell);
}

void control_run(const struct domain *domain) {
  leave_supervisor(domain);
  for (;;) {
    struct pollfd sources[] = {{.fd = domain->control, .events = POLLIN}, {.fd = log_read_end(), .events = POLLIN}};
    if (poll(sources, 2, -1) < 0) continue;
    if (sources[1].revents) control_forward_log(domain);
    if (sources[0].revents) take_request(domain);
  }
}
