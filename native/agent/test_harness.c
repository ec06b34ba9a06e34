#include "test_harness.h"

#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* No wait of a test is longer; it only ends tests that have failed. */
#define PATIENCE_MS 20000
/* Like a host, the tests look for a while before they sleep, so that both ways are tried. */
#define LOOKS_BEFORE_SLEEP 40000
#define PATH_OFFSET (POSTERN_ARENA_BYTES - 4096u)

void test_fail(const char *file, int line, const char *condition, const char *format, ...) {
  fprintf(stderr, "%s:%d: expected %s.", file, line, condition);
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fputc('\n', stderr);
  exit(EXIT_FAILURE);
}

/* Moves the descriptors to fixed numbers that survive the exec, and becomes the agent. */
_Noreturn static void become_agent(const struct host *host, int control, int doorbell, const char *agent) {
  int sources[] = {control, doorbell, host->memory, host->events[0], host->events[1]};
  for (int i = 0; i < 5; i++) CHECK(dup2(sources[i], 100 + i) == 100 + i);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  execl(agent, agent, "local", "--control", "100", "--doorbell", "101", "--memory", "102", "--events", "103,104", NULL);
  _exit(127);
}

void host_start(struct host *host, const char *agent) {
  int control[2], doorbell[2];
  size_t bytes = TEST_CHANNELS * POSTERN_CHANNEL_BYTES;
  CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, control) == 0);
  CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, doorbell) == 0);
  host->memory = memfd_create("postern-test", MFD_CLOEXEC);
  CHECK(host->memory >= 0 && ftruncate(host->memory, (off_t)bytes) == 0);
  for (uint32_t i = 0; i < TEST_CHANNELS; i++) host->events[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  host->window = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, host->memory, 0);
  CHECK(host->window != MAP_FAILED);
  host->agent = fork();
  CHECK(host->agent >= 0);
  if (host->agent == 0) become_agent(host, control[1], doorbell[1], agent);
  close(control[1]);
  close(doorbell[1]);
  host->control = control[0];
  host->doorbell = doorbell[0];
  uint64_t clock = 0;
  struct postern_hello hello;
  uint32_t got = host_ask(host, POSTERN_FRAME_HELLO, &clock, sizeof clock, &hello, sizeof hello);
  CHECK(got == sizeof hello && hello.version == POSTERN_PROTOCOL_VERSION && hello.channels == TEST_CHANNELS);
  CHECK(!hello.pages_follow);
  host->agent_address = hello.channels_address;
}

void host_adopt(struct host *host, int memory, int doorbell, int pages, uint64_t agent_address) {
  *host = (struct host){.control = -1, .memory = memory, .doorbell = doorbell, .events = {-1, -1}};
  size_t bytes = TEST_CHANNELS * POSTERN_CHANNEL_BYTES;
  host->agent_address = agent_address;
  host->window = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(host->window != MAP_FAILED);
  for (size_t offset = 0; offset < bytes; offset += POSTERN_PAGE_BYTES) {
    uint64_t page;
    CHECK(pread(pages, &page, sizeof page, (off_t)(offset / POSTERN_PAGE_BYTES * sizeof page)) == sizeof page);
    void *mapped = mmap(host->window + offset, POSTERN_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, memory,
                        (off_t)page);
    CHECK(mapped == host->window + offset);
  }
}

/* Sleeps until the agent wakes the channel's host. Returns false after `ms`. */
static bool wait_for_wake(const struct host *host, uint32_t number, int ms) {
  uint64_t count;
  uint32_t rung;
  bool has_event = host->events[number] >= 0;
  struct pollfd source = {.fd = has_event ? host->events[number] : host->doorbell, .events = POLLIN};
  if (poll(&source, 1, ms) == 0) return false;
  if (has_event) CHECK(read(source.fd, &count, sizeof count) == sizeof count);
  else CHECK(read(source.fd, &rung, sizeof rung) == sizeof rung && rung < TEST_CHANNELS);
  return true;
}

int host_stop(struct host *host) {
  int status;
  close(host->control);
  CHECK(waitpid(host->agent, &status, 0) == host->agent);
  close(host->doorbell);
  return status;
}

void host_ring(const struct host *host, uint32_t number) {
  CHECK(write(host->doorbell, &number, sizeof number) == sizeof number);
}

static void read_all(int descriptor, void *bytes, size_t length) {
  for (size_t done = 0; done < length;) {
    struct pollfd source = {.fd = descriptor, .events = POLLIN};
    CHECK(poll(&source, 1, PATIENCE_MS) == 1, "the control stream is silent");
    ssize_t got = read(descriptor, (char *)bytes + done, length - done);
    CHECK(got > 0, "the control stream has ended");
    done += (size_t)got;
  }
}

uint32_t host_ask(const struct host *host, uint32_t type, const void *payload, uint32_t bytes, void *answer,
                  uint32_t answer_room) {
  uint32_t head[2] = {bytes, type};
  CHECK(write(host->control, head, sizeof head) == sizeof head);
  CHECK(bytes == 0 || write(host->control, payload, bytes) == (ssize_t)bytes);
  for (;;) {
    read_all(host->control, head, sizeof head);
    CHECK(head[1] == type || head[1] == POSTERN_FRAME_LOG, "the answer has type %u", head[1]);
    if (head[1] == type) break;
    char line[4096];
    CHECK(head[0] <= sizeof line);
    read_all(host->control, line, head[0]);
    fprintf(stderr, "agent: %.*s", (int)head[0], line);
  }
  CHECK(head[0] <= answer_room, "the answer has %u bytes", head[0]);
  read_all(host->control, answer, head[0]);
  return head[0];
}

void guest_await_state(struct guest *guest, uint32_t state) {
  for (;;) {
    uint32_t now = __atomic_load_n(&guest->channel->state, __ATOMIC_SEQ_CST);
    if (now == state) return;
    CHECK(wait_for_wake(guest->host, guest->number, PATIENCE_MS), "channel %u stays in state %u", guest->number, now);
  }
}

void guest_start(struct guest *guest, struct host *host, uint32_t number) {
  memset(guest, 0, sizeof *guest);
  guest->host = host;
  guest->number = number;
  guest->channel = (struct postern_channel *)(void *)(host->window + (size_t)number * POSTERN_CHANNEL_BYTES);
  guest->arena = (uint8_t *)guest->channel + POSTERN_CHANNEL_HEAD_BYTES;
  __atomic_store_n(&guest->channel->state, POSTERN_CHANNEL_START, __ATOMIC_SEQ_CST);
  host_ring(host, number);
  guest_await_state(guest, POSTERN_CHANNEL_RUNNING);
}

void guest_stop(struct guest *guest) {
  __atomic_store_n(&guest->channel->state, POSTERN_CHANNEL_STOP, __ATOMIC_SEQ_CST);
  host_ring(guest->host, guest->number);
  guest_await_state(guest, POSTERN_CHANNEL_FREE);
}

/* Writes one operation into the ring, without telling the agent of it. */
static uint64_t put(struct guest *guest, struct postern_op op) {
  struct postern_channel *channel = guest->channel;
  for (int ms = 0; guest->submit_tail - __atomic_load_n(&channel->submit_head, __ATOMIC_ACQUIRE) == POSTERN_RING_ENTRIES;
       ms++) {
    CHECK(ms < PATIENCE_MS, "the submission ring stays full");
    usleep(1000);
  }
  if (op.id == 0) op.id = ++guest->next_id;
  channel->submissions[guest->submit_tail++ % POSTERN_RING_ENTRIES] = op;
  return op.id;
}

/* The agent may take what has been put. */
static void publish(struct guest *guest) {
  struct postern_channel *channel = guest->channel;
  __atomic_store_n(&channel->submit_tail, guest->submit_tail, __ATOMIC_SEQ_CST);
  if (__atomic_exchange_n(&channel->agent_sleeping, 0, __ATOMIC_SEQ_CST) != 1) return;
  /* By turns, where the agent is on this machine: both ways to wake it must work. */
  bool rings = guest->submit_tail % 2 || guest->host->events[guest->number] < 0;
  if (rings) host_ring(guest->host, guest->number);
  else syscall(SYS_futex, &channel->submit_tail, FUTEX_WAKE, 1, NULL, NULL, 0);
}

uint64_t guest_submit(struct guest *guest, struct postern_op op) {
  uint64_t id = put(guest, op);
  publish(guest);
  return id;
}

void guest_submit_together(struct guest *guest, struct postern_op op, uint64_t *ids, uint32_t count) {
  CHECK(count <= POSTERN_RING_ENTRIES);
  for (uint32_t i = 0; i < count; i++) ids[i] = put(guest, op);
  publish(guest);
}

/* Takes one completion. Returns false after `ms` without one. */
static bool take(struct guest *guest, struct postern_completion *completion, int ms) {
  struct postern_channel *channel = guest->channel;
  for (int looks = 0;; looks++) {
    if (__atomic_load_n(&channel->complete_tail, __ATOMIC_ACQUIRE) != guest->complete_head) {
      *completion = channel->completions[guest->complete_head % POSTERN_RING_ENTRIES];
      __atomic_store_n(&channel->complete_head, ++guest->complete_head, __ATOMIC_RELEASE);
      return true;
    }
    CHECK(__atomic_load_n(&channel->state, __ATOMIC_SEQ_CST) != POSTERN_CHANNEL_DEAD, "the backend process has died");
    if (looks < LOOKS_BEFORE_SLEEP) continue;
    __atomic_store_n(&channel->host_sleeping, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&channel->complete_tail, __ATOMIC_SEQ_CST) != guest->complete_head) continue;
    if (!wait_for_wake(guest->host, guest->number, ms)) return false;
  }
}

static bool is_wanted(const struct postern_completion *completion, uint64_t id) {
  return id == 0 ? completion->kind == POSTERN_COMPLETION_READY : completion->id == id;
}

/* id 0: a readiness report. */
static struct postern_completion await(struct guest *guest, uint64_t id) {
  for (uint32_t i = 0; i < guest->kept_count; i++) {
    if (!is_wanted(&guest->kept[i], id)) continue;
    struct postern_completion found = guest->kept[i];
    memmove(&guest->kept[i], &guest->kept[i + 1], (--guest->kept_count - i) * sizeof found);
    return found;
  }
  for (;;) {
    struct postern_completion completion;
    CHECK(take(guest, &completion, PATIENCE_MS), "nothing has come for operation %lu", (unsigned long)id);
    if (is_wanted(&completion, id)) return completion;
    CHECK(guest->kept_count < sizeof guest->kept / sizeof *guest->kept, "too many other completions");
    guest->kept[guest->kept_count++] = completion;
  }
}

struct postern_completion guest_await(struct guest *guest, uint64_t id) {
  struct postern_completion completion = await(guest, id);
  CHECK(completion.kind == POSTERN_COMPLETION_DONE);
  return completion;
}

struct postern_completion guest_await_ready(struct guest *guest) { return await(guest, 0); }

bool guest_has_news(struct guest *guest, int ms) {
  if (guest->kept_count > 0) return true;
  return take(guest, &guest->kept[guest->kept_count], ms) && ++guest->kept_count > 0;
}

struct postern_completion guest_do(struct guest *guest, struct postern_op op) {
  return guest_await(guest, guest_submit(guest, op));
}

uint64_t guest_pointer(const struct guest *guest, uint32_t arena_offset) {
  return guest->host->agent_address + guest->number * POSTERN_CHANNEL_BYTES + POSTERN_CHANNEL_HEAD_BYTES + arena_offset;
}

int64_t guest_open(struct guest *guest, uint32_t file, const char *path, uint32_t flags) {
  snprintf((char *)guest->arena + PATH_OFFSET, 1024, "%s", path);
  struct postern_op op = {.kind = POSTERN_OP_OPEN, .file = file, .command = flags, .head_offset = PATH_OFFSET};
  return guest_do(guest, op).result;
}
