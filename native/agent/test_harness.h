/* The host's side of the protocol, as small as a test needs it. Every helper ends the process with a message when
 * the agent does not do as the protocol says. */
#ifndef POSTERN_AGENT_TEST_HARNESS_H
#define POSTERN_AGENT_TEST_HARNESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "../protocol/protocol.h"

#define TEST_CHANNELS 2u

struct host {
  pid_t agent;
  int control, doorbell, memory;
  int events[TEST_CHANNELS]; /* VM: -1, the agent rings the doorbell */
  uint8_t *window;
  uint64_t agent_address; /* of channel 0 in the agent */
};

/* One channel as its host drives it. */
struct guest {
  struct host *host;
  uint32_t number;
  struct postern_channel *channel;
  uint8_t *arena;
  uint64_t next_id;
  uint32_t submit_tail, complete_head;
  /* Completions that came while another one was waited for. */
  struct postern_completion kept[4 * POSTERN_RING_ENTRIES];
  uint32_t kept_count;
};

#define CHECK(condition, ...) ((condition) ? (void)0 : test_fail(__FILE__, __LINE__, #condition, " " __VA_ARGS__))
_Noreturn void test_fail(const char *file, int line, const char *condition, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

void host_start(struct host *host, const char *agent);
/* Ends the control stream and waits for the agent. Returns its exit status. */
int host_stop(struct host *host);
/* Takes over a driver VM that is running: its RAM file, the host's end of its doorbell, and a file that holds the page list. */
void host_adopt(struct host *host, int memory, int doorbell, int pages, uint64_t agent_address);
void host_ring(const struct host *host, uint32_t number);
/* Sends a request and reads the frame of the same type that answers it; log frames go to stderr. */
uint32_t host_ask(const struct host *host, uint32_t type, const void *payload, uint32_t bytes, void *answer,
                  uint32_t answer_room);

void guest_start(struct guest *guest, struct host *host, uint32_t number);
/* STOP, and waits for FREE. */
void guest_stop(struct guest *guest);
/* Waits until the channel has the state. */
void guest_await_state(struct guest *guest, uint32_t state);
/* Puts one operation into the ring; returns its id. */
uint64_t guest_submit(struct guest *guest, struct postern_op op);
/* Puts the same operation into the ring `count` times, and then tells the agent: it finds all of them at once. */
void guest_submit_together(struct guest *guest, struct postern_op op, uint64_t *ids, uint32_t count);
/* The completion of the operation `id`. */
struct postern_completion guest_await(struct guest *guest, uint64_t id);
/* The next readiness report. */
struct postern_completion guest_await_ready(struct guest *guest);
/* Whether any completion comes, or has come, that nobody waited for: after `ms` of silence, false. */
bool guest_has_news(struct guest *guest, int ms);
/* Submits and awaits. */
struct postern_completion guest_do(struct guest *guest, struct postern_op op);
/* The agent's address of an arena offset, for ioctl arguments. */
uint64_t guest_pointer(const struct guest *guest, uint32_t arena_offset);
int64_t guest_open(struct guest *guest, uint32_t file, const char *path, uint32_t flags);

#endif
