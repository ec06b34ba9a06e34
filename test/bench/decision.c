/* The typical check of test/bench/decision.ts by hand: a command's row in a hash table, its bytes against the row and the envelope, and a
 * plan. What a mediator would pay whose classes were compiled into it.
 * Usage: decision ROUNDS
 * Prints one line: `ns NS`. */
#include <linux/videodev2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct row {
  uint32_t number, head_bytes, access, next;
};
struct call {
  uint32_t command, head_bytes;
  uint64_t argument;
  uint8_t head[256];
};
struct plan {
  uint32_t access, grants, denied;
};

static struct row rows[128];
static uint32_t buckets[256], count = 1;

static void add(uint32_t number, uint32_t access) {
  rows[count] = (struct row){number, _IOC_SIZE(number), access, buckets[number & 0xff]};
  buckets[number & 0xff] = count++;
}

__attribute__((noinline)) static void decide(const struct call *call, struct plan *plan) {
  uint8_t snapshot[256];
  memcpy(snapshot, call->head, call->head_bytes);
  __asm__ volatile("" : : "r"(snapshot) : "memory");
  for (uint32_t at = buckets[call->command & 0xff]; at != 0; at = rows[at].next) {
    if (rows[at].number != call->command) continue;
    *plan = (struct plan){rows[at].access, 0, rows[at].head_bytes != call->head_bytes || call->argument < 4096};
    return;
  }
  *plan = (struct plan){0, 0, 1};
}

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  const long rounds = atol(argv[1]);
  for (uint32_t i = 0; i < 80; i++) add(_IOC(_IOC_READ, 'V', i, 104), 2);
  struct call call = {.command = VIDIOC_QUERYCAP, .head_bytes = sizeof(struct v4l2_capability), .argument = 0x7000000};
  struct plan plan;
  struct timespec began, ended;
  clock_gettime(CLOCK_MONOTONIC, &began);
  for (long i = 0; i < rounds; i++) {
    decide(&call, &plan);
    if (plan.denied) return 1;
  }
  clock_gettime(CLOCK_MONOTONIC, &ended);
  printf("ns %.2f\n", ((double)(ended.tv_sec - began.tv_sec) * 1e9 + (double)(ended.tv_nsec - began.tv_nsec)) / (double)rounds);
  return 0;
}
