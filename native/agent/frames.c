#include "frames.h"

#include <asm/perf_regs.h>
#include <errno.h>
#include <linux/perf_event.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../protocol/protocol.h"

#define KPROBE_TYPE "/sys/bus/event_source/devices/kprobe/type"
/* Data pages of a ring, a power of two: room for about 1300 samples. */
#define RING_PAGES 16
/* Pages touched between two looks at the rings: few enough for a fault that maps some pages around its own. */
#define PAGES_AT_ONCE 64

/* Which registers hold what, by the kernel's calling convention: (vma, address, page number, bytes). */
#define REGISTERS ((1ull << PERF_REG_X86_CX) | (1ull << PERF_REG_X86_DX) | (1ull << PERF_REG_X86_SI))

/* The functions that make such entries, and whether one call makes many of them. TTM's vmf_insert_pfn_prot is not among them: TTM moves
 * buffers to and from video memory while they are mapped, and frees the pages that they had. The buffers of drm_gem_shmem, and what is mapped
 * once and for all, stay where they are as long as they are mapped. */
static const struct {
  const char *name;
  bool is_range;
} functions[] = {{"vmf_insert_pfn", false}, {"remap_pfn_range", true}};
#define FUNCTIONS (sizeof functions / sizeof *functions)

struct frames {
  int events[FUNCTIONS]; /* -1: none */
  struct perf_event_mmap_page *rings[FUNCTIONS];
};

/* PERF_SAMPLE_REGS_INTR alone: what registers there are, then those that were asked for, by their number. */
struct sample {
  struct perf_event_header header;
  uint64_t abi, cx, dx, si;
};

/* Where the mapping is, and what is known of it. */
struct wanted {
  uint64_t start;
  size_t count;
  uint64_t *addresses;
};

static int kprobe_type(void) {
  FILE *file = fopen(KPROBE_TYPE, "re");
  int type = -1;
  if (file && fscanf(file, "%d", &type) != 1) type = -1;
  if (file) fclose(file);
  return type;
}

static int open_event(uint32_t type, const char *function) {
  struct perf_event_attr attribute = {.type = type, .size = sizeof attribute};
  attribute.sample_period = 1;
  attribute.sample_type = PERF_SAMPLE_REGS_INTR;
  attribute.sample_regs_intr = REGISTERS;
  attribute.kprobe_func = (uintptr_t)function;
  return (int)syscall(SYS_perf_event_open, &attribute, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

static size_t ring_bytes(void) { return (1 + RING_PAGES) * (size_t)POSTERN_PAGE_BYTES; }

static bool watch_function(struct frames *frames, uint32_t type, size_t index) {
  frames->events[index] = open_event(type, functions[index].name);
  if (frames->events[index] < 0) return false;
  void *ring = mmap(NULL, ring_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, frames->events[index], 0);
  if (ring == MAP_FAILED) return false;
  frames->rings[index] = ring;
  return true;
}

struct frames *frames_watch(void) {
  int type = kprobe_type();
  if (type < 0) return NULL;
  struct frames *frames = calloc(1, sizeof *frames);
  if (!frames) return NULL;
  for (size_t i = 0; i < FUNCTIONS; i++) frames->events[i] = -1;
  for (size_t i = 0; i < FUNCTIONS; i++) {
    if (watch_function(frames, (uint32_t)type, i)) continue;
    int error = errno;
    frames_end(frames);
    errno = error;
    return NULL;
  }
  return frames;
}

void frames_end(struct frames *frames) {
  for (size_t i = 0; i < FUNCTIONS; i++) {
    if (frames->rings[i]) munmap(frames->rings[i], ring_bytes());
    if (frames->events[i] >= 0) close(frames->events[i]);
  }
  free(frames);
}

/* One page table entry, or as many as `bytes` are, from `address` on: keeps those that lie in the mapping. */
static void keep(const struct wanted *wanted, uint64_t address, uint64_t number, uint64_t bytes) {
  for (uint64_t done = 0; done < bytes; done += POSTERN_PAGE_BYTES, number++) {
    uint64_t index = ((address + done) - wanted->start) / POSTERN_PAGE_BYTES;
    if (address + done >= wanted->start && index < wanted->count) wanted->addresses[index] = number * POSTERN_PAGE_BYTES;
  }
}

static void copy_record(const uint8_t *data, uint64_t at, void *record, size_t bytes) {
  size_t room = RING_PAGES * (size_t)POSTERN_PAGE_BYTES, offset = at % room;
  size_t first = bytes < room - offset ? bytes : room - offset;
  memcpy(record, data + offset, first);
  memcpy((uint8_t *)record + first, data, bytes - first);
}

/* Takes what the ring has. What was lost there stays unknown, and shows as a page without an address. */
static void drain(struct perf_event_mmap_page *ring, bool is_range, const struct wanted *wanted) {
  const uint8_t *data = (const uint8_t *)ring + POSTERN_PAGE_BYTES;
  uint64_t head = __atomic_load_n(&ring->data_head, __ATOMIC_ACQUIRE), tail = ring->data_tail;
  while (tail < head) {
    struct sample sample;
    copy_record(data, tail, &sample.header, sizeof sample.header);
    if (sample.header.size == 0) break;
    if (sample.header.type == PERF_RECORD_SAMPLE && sample.header.size == sizeof sample) {
      copy_record(data, tail, &sample, sizeof sample);
      keep(wanted, sample.si, sample.dx, is_range ? sample.cx : POSTERN_PAGE_BYTES);
    }
    tail += sample.header.size;
  }
  __atomic_store_n(&ring->data_tail, tail, __ATOMIC_RELEASE);
}

static void drain_all(struct frames *frames, const struct wanted *wanted) {
  for (size_t i = 0; i < FUNCTIONS; i++) drain(frames->rings[i], functions[i].is_range, wanted);
}

int frames_addresses(struct frames *frames, const void *start, size_t count, uint64_t *addresses) {
  struct wanted wanted = {.start = (uintptr_t)start, .count = count, .addresses = addresses};
  for (size_t i = 0; i < count; i++) addresses[i] = 0;
  for (size_t i = 0; i < count; i++) {
    if (i % PAGES_AT_ONCE == 0) drain_all(frames, &wanted);
    /* Faults the page in, where it was not mapped at once. */
    (void)*((const volatile uint8_t *)start + i * POSTERN_PAGE_BYTES);
  }
  drain_all(frames, &wanted);
  for (size_t i = 0; i < count; i++) {
    if (addresses[i] == 0) return -EOPNOTSUPP;
  }
  return 0;
}
