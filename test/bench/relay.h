/* The floor of what a posted operation can cost: reads and writes go through shared memory to a process that judges nothing, and from there to one
 * that makes the system call, as with Postern's fast frontend, its mediator and its backend. Every byte is copied as often as there.
 * Each party says how long it was at work for a packet, what it waited for left out. */
#ifndef POSTERN_BENCH_RELAY_H
#define POSTERN_BENCH_RELAY_H

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "timing.h"

enum { RELAY_SLOTS = 64, RELAY_BYTES_MAX = 2048, RELAY_ROUNDS_MAX = 1 << 17, RELAY_LOOKS = 32 };
enum relay_party { RELAY_GUEST, RELAY_MIDDLE, RELAY_DRIVER, RELAY_PARTIES };

struct relay_slot {
  int descriptor, is_write, error;
  uint32_t bytes;
  ssize_t result;
  uint8_t payload[RELAY_BYTES_MAX];
};

/* What is on its way between two parties: counts that only grow, each written by one of them. */
struct relay_ring {
  alignas(64) _Atomic uint32_t posted;
  alignas(64) _Atomic uint32_t answered;
  alignas(64) struct relay_slot slots[RELAY_SLOTS];
};

static struct relay {
  struct relay_ring near, far; /* guest to middle, middle to driver */
  double busy[RELAY_PARTIES][RELAY_ROUNDS_MAX];
  uint32_t batch;
  pid_t processes[2];
} *relay;

/* As the parties of Postern: looks for a while, then lets others run. */
static void relay_await(_Atomic uint32_t *count, uint32_t seen) {
  for (int looks = 1; atomic_load_explicit(count, memory_order_acquire) == seen; looks++) {
    __builtin_ia32_pause();
    if (looks % RELAY_LOOKS == 0) sched_yield();
  }
}

static void relay_note(enum relay_party party, uint32_t number, double began) {
  const uint32_t round = number / relay->batch;
  if (round < RELAY_ROUNDS_MAX) relay->busy[party][round] += timing_now() - began;
}

/* Copies what goes in to the driver, and the other way round what comes out. */
static void relay_copy(struct relay_slot *to, const struct relay_slot *from, int is_back) {
  to->descriptor = from->descriptor;
  to->is_write = from->is_write;
  to->bytes = from->bytes;
  to->result = from->result;
  to->error = from->error;
  if (is_back && !from->is_write && from->result > 0) memcpy(to->payload, from->payload, (size_t)from->result);
  if (!is_back && from->is_write) memcpy(to->payload, from->payload, from->bytes);
}

static void relay_drive(void) {
  for (uint32_t number = 0;; number++) {
    relay_await(&relay->far.posted, number);
    const double began = timing_now();
    struct relay_slot *slot = &relay->far.slots[number % RELAY_SLOTS];
    slot->result = slot->is_write ? write(slot->descriptor, slot->payload, slot->bytes) : read(slot->descriptor, slot->payload, slot->bytes);
    slot->error = slot->result < 0 ? errno : 0;
    atomic_store_explicit(&relay->far.answered, number + 1, memory_order_release);
    relay_note(RELAY_DRIVER, number, began);
  }
}

static void relay_mediate(void) {
  uint32_t forwarded = 0, answered = 0;
  for (int looks = 1;; looks++) {
    const double began = timing_now();
    if (atomic_load_explicit(&relay->near.posted, memory_order_acquire) != forwarded) {
      relay_copy(&relay->far.slots[forwarded % RELAY_SLOTS], &relay->near.slots[forwarded % RELAY_SLOTS], 0);
      atomic_store_explicit(&relay->far.posted, ++forwarded, memory_order_release);
      relay_note(RELAY_MIDDLE, forwarded - 1, began);
      looks = 0;
    }
    if (atomic_load_explicit(&relay->far.answered, memory_order_acquire) != answered) {
      const double back = timing_now();
      relay_copy(&relay->near.slots[answered % RELAY_SLOTS], &relay->far.slots[answered % RELAY_SLOTS], 1);
      atomic_store_explicit(&relay->near.answered, ++answered, memory_order_release);
      relay_note(RELAY_MIDDLE, answered - 1, back);
      looks = 0;
    }
    if (looks % RELAY_LOOKS == 0) sched_yield();
    __builtin_ia32_pause();
  }
}

/* Starts both parties, which use descriptors that are open already. Whether it could. */
static int relay_start(int batch) {
  relay = mmap(NULL, sizeof *relay, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (relay == MAP_FAILED) return 0;
  relay->batch = (uint32_t)batch;
  void (*const parties[])(void) = {relay_mediate, relay_drive};
  for (int i = 0; i < 2; i++) {
    const pid_t child = fork();
    if (child < 0) return 0;
    if (child > 0) {
      relay->processes[i] = child;
      continue;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    parties[i]();
  }
  return 1;
}

/* Ends them, so that they no longer hold what they have open. */
static void relay_stop(void) {
  for (int i = 0; i < 2; i++)
    if (kill(relay->processes[i], SIGKILL) == 0) waitpid(relay->processes[i], NULL, 0);
}

/* One packet is posted; the guest's part of it. */
static void relay_post(uint32_t number, int descriptor, int is_write, const void *buffer, uint32_t bytes) {
  const double began = timing_now();
  struct relay_slot *slot = &relay->near.slots[number % RELAY_SLOTS];
  slot->descriptor = descriptor;
  slot->is_write = is_write;
  slot->bytes = bytes;
  if (is_write) memcpy(slot->payload, buffer, bytes);
  atomic_store_explicit(&relay->near.posted, number + 1, memory_order_release);
  relay_note(RELAY_GUEST, number, began);
}

/* The answer of one that was posted, with its errno in `error`. */
static ssize_t relay_collect(uint32_t number, void *buffer, int *error) {
  while ((int32_t)(atomic_load_explicit(&relay->near.answered, memory_order_acquire) - number) <= 0)
    relay_await(&relay->near.answered, atomic_load_explicit(&relay->near.answered, memory_order_relaxed));
  const double began = timing_now();
  const struct relay_slot *slot = &relay->near.slots[number % RELAY_SLOTS];
  if (!slot->is_write && slot->result > 0) memcpy(buffer, slot->payload, (size_t)slot->result);
  *error = slot->error;
  const ssize_t result = slot->result;
  relay_note(RELAY_GUEST, number, began);
  return result;
}

/* Nanoseconds of work of a party for one packet: the median of the batches, of which `skipped` were to warm up. */
static double relay_median(enum relay_party party, int skipped, int batches) {
  double *busy = relay->busy[party] + skipped;
  const int kept = skipped + batches <= RELAY_ROUNDS_MAX ? batches : RELAY_ROUNDS_MAX - skipped;
  if (kept <= 0) return 0;
  qsort(busy, (size_t)kept, sizeof *busy, timing_compare);
  return busy[kept / 2] / relay->batch;
}

#endif
