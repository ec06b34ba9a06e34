// SPDX-License-Identifier: GPL-2.0-only
/* Rings and requests that lie: places, numbers, lengths, order, and what comes when the host has asked. */
#include <linux/delay.h>
#include <linux/random.h>

#include "hostile.h"

#define EVERY_KIND_MAX 32u
#define FLOOD_REQUESTS 2000u
#define PROCESSES_TRIED 80u
/* Long enough for a host that would take what it must not. */
#define REFUSED_MS 60u
#define OWN_FILE 9u

static void ring_at(u64 address, u32 bytes, u32 levels) {
  if (offer(address, bytes, levels, REFUSED_MS)) SUCCEEDED("the host has taken it");
  STOPPED("the host does not take it");
}

#define RING_BYTES ((u32)sizeof(struct postern_vm_ring))
static void ring_beyond_ram(void) { ring_at(hostile.ram_end, RING_BYTES, 4); }
static void ring_over_the_end(void) { ring_at(hostile.ram_end - PAGE_SIZE, RING_BYTES, 4); }
static void ring_in_aperture(void) { ring_at(hostile.aperture_at + POSTERN_VM_CONTROL_BYTES, RING_BYTES, 4); }
static void ring_in_registers(void) { ring_at(hostile.registers_at, RING_BYTES, 4); }
static void ring_at_the_top(void) { ring_at(~0ull & PAGE_MASK, RING_BYTES, 4); }
static void ring_between_pages(void) { ring_at(virt_to_phys(hostile.ring) + 8, RING_BYTES, 4); }
static void ring_too_small(void) { ring_at(virt_to_phys(hostile.ring), RING_BYTES - 1, 4); }
static void ring_of_three_levels(void) { ring_at(virt_to_phys(hostile.ring), RING_BYTES, 3); }
static void ring_of_many_levels(void) { ring_at(virt_to_phys(hostile.ring), RING_BYTES, ~0u); }

/* Every answer but a refusal means that the host has done something. */
static void expect_refusal(struct outcome outcome) {
  if (outcome.state == POSTERN_VM_SLOT_POSTED) SUCCEEDED("the host does not answer any more");
  if (outcome.state == POSTERN_VM_SLOT_ANSWERED && outcome.value >= 0) SUCCEEDED("the host has done it: %lld", outcome.value);
  STOPPED("%s", words(outcome));
}

static void kinds_that_are_none(void) {
  u32 kind, refused = 0;

  for (kind = POSTERN_VM_SEEK + 1; kind < EVERY_KIND_MAX; kind++) refused += perform(request_of(kind, 0), NULL).value == -EINVAL;
  refused += perform(request_of(0, 0), NULL).value == -EINVAL;
  refused += perform(request_of(~0u, 0), NULL).value == -EINVAL;
  if (refused != EVERY_KIND_MAX - POSTERN_VM_SEEK - 1 + 2) SUCCEEDED("only %u were refused", refused);
  STOPPED("%u kinds: EINVAL", refused);
}

static void open_of_device(u32 device) {
  struct postern_vm_request request = request_of(POSTERN_VM_OPEN, OWN_FILE);

  request.device = device;
  expect_refusal(perform(request, NULL));
}

static void foreign_device(void) { open_of_device(1); }
static void impossible_device(void) { open_of_device(~0u); }
static void number_of_the_hosts(void) { expect_refusal(perform(request_of(POSTERN_VM_OPEN, POSTERN_VM_FILES_MADE), NULL)); }
static void number_that_is_none(void) { expect_refusal(perform(request_of(POSTERN_VM_OPEN, ~0u), NULL)); }

static void number_that_is_taken(void) {
  struct outcome outcome;

  if (open_file(OWN_FILE) != 0) IMPOSSIBLE("the device does not open");
  outcome = perform(request_of(POSTERN_VM_OPEN, OWN_FILE), NULL);
  release_file(OWN_FILE);
  expect_refusal(outcome);
}

/* Sessions are another guest's, or the host's own numbers of them: a number means nothing that this guest has not opened. */
static void sessions_of_others(void) {
  u32 file, done = 0, kind;

  for (file = 0; file < POSTERN_VM_FILES_MAX; file += 17)
    for (kind = POSTERN_VM_IOCTL; kind <= POSTERN_VM_MMAP; kind++) {
      struct postern_vm_request request = request_of(kind, file);

      request.command = QUERYCAP;
      request.argument = hostile.user;
      request.length = PAGE_SIZE;
      done += perform(request, NULL).value != -EBADF;
    }
  if (done) SUCCEEDED("%u operations on files that are not this guest's", done);
  STOPPED("EBADF, whatever the number");
}

static void release_of_others(void) {
  u32 file;

  for (file = 0; file < POSTERN_VM_FILES_MAX; file += 13) release_file(file);
  release_file(~0u);
  if (!is_served()) SUCCEEDED("the host has lost its way");
  STOPPED("nothing was there to be released");
}

static void unmapping_of_others(void) {
  static const u64 offsets[] = {0, PAGE_SIZE, POSTERN_VM_CONTROL_BYTES, POSTERN_VM_CONTROL_BYTES + 1, 1ull << 40, ~0ull};
  u32 i;

  for (i = 0; i < ARRAY_SIZE(offsets); i++) {
    struct postern_vm_request request = request_of(POSTERN_VM_MUNMAP, 0);

    request.argument = offsets[i];
    if (perform(request, NULL).state != POSTERN_VM_SLOT_ANSWERED) SUCCEEDED("the host does not answer any more");
  }
  if (READ_ONCE(hostile.control->magic) != POSTERN_VM_MAGIC) SUCCEEDED("the control page has gone");
  STOPPED("nothing was there to be unmapped");
}

static void operation_of_length(u32 kind, u64 length, u64 offset) {
  struct postern_vm_request request = request_of(kind, OWN_FILE);
  struct outcome outcome;

  if (open_file(OWN_FILE) != 0) IMPOSSIBLE("the device does not open");
  request.argument = kind == POSTERN_VM_MMAP ? 0 : hostile.user;
  request.length = length;
  request.offset = offset;
  request.command = 3;
  outcome = perform(request, NULL);
  release_file(OWN_FILE);
  expect_refusal(outcome);
}

static void endless_read(void) { operation_of_length(POSTERN_VM_READ, ~0ull, 0); }
static void read_beyond_mine(void) { operation_of_length(POSTERN_VM_READ, 1ull << 30, 0); }
static void endless_write(void) { operation_of_length(POSTERN_VM_WRITE, ~0ull - 4096, 0); }
static void endless_mapping(void) { operation_of_length(POSTERN_VM_MMAP, ~0ull & PAGE_MASK, 0); }
static void mapping_of_nothing(void) { operation_of_length(POSTERN_VM_MMAP, 0, 0); }
static void mapping_at_the_end(void) { operation_of_length(POSTERN_VM_MMAP, PAGE_SIZE, ~0ull & PAGE_MASK); }
/* Another guest has such a buffer there, of another file. */
static void mapping_of_others(void) { operation_of_length(POSTERN_VM_MMAP, 460 * PAGE_SIZE, 0); }

static void head_larger_than_all(void) {
  s64 got;

  if (open_file(OWN_FILE) != 0) IMPOSSIBLE("the device does not open");
  got = command_on(OWN_FILE, QUERYCAP | 0x3fffu << 16, hostile.user);
  release_file(OWN_FILE);
  if (got >= 0) SUCCEEDED("a command of 16383 bytes gave %lld", got);
  STOPPED("%lld", got);
}

static void buffers_of_others(void) {
  u8 query[88] = {0};
  s64 got;

  *(u32 *)(query + 4) = 1; /* V4L2_BUF_TYPE_VIDEO_CAPTURE */
  if (copy_to_user((void __user *)hostile.user, query, sizeof query)) IMPOSSIBLE("no memory");
  if (open_file(OWN_FILE) != 0) IMPOSSIBLE("the device does not open");
  got = command_on(OWN_FILE, QUERYBUF, hostile.user);
  release_file(OWN_FILE);
  if (got >= 0) SUCCEEDED("the driver told of a buffer");
  STOPPED("the driver knows no buffer of this file: %lld", got);
}

static void processes_that_are_none(void) {
  static const u32 processes[] = {0, 1, ~0u, 1u << 31, 4194304};
  u32 i, served = 0;

  for (i = 0; i < ARRAY_SIZE(processes); i++) {
    struct postern_vm_request request = request_of(POSTERN_VM_OPEN, OWN_FILE);

    request.process = request.thread = processes[i];
    served += perform(request, NULL).value == 0;
    release_file(OWN_FILE);
  }
  STOPPED("numbers, no more: %u of %zu opened a file of this guest's own", served, ARRAY_SIZE(processes));
}

/* Each process gets a process beside the driver: there must be some left for others. */
static void many_processes(void) {
  u32 i, opened = 0;

  for (i = 0; i < PROCESSES_TRIED; i++) {
    struct postern_vm_request request = request_of(POSTERN_VM_OPEN, 100 + i);

    request.process = request.thread = 100000 + i;
    opened += perform(request, NULL).value == 0;
  }
  for (i = 0; i < PROCESSES_TRIED; i++) release_file(100 + i);
  if (opened >= 64) SUCCEEDED("%u processes have opened the device: none is left for others", opened);
  STOPPED("%u of %u, the others are refused", opened, PROCESSES_TRIED);
}

static void files_without_end(void) {
  u32 file, opened = 0;

  for (file = 0; file < POSTERN_VM_FILES_MADE; file++) opened += open_file(file) == 0;
  for (file = 0; file < POSTERN_VM_FILES_MADE; file++) release_file(file);
  if (opened == POSTERN_VM_FILES_MADE) SUCCEEDED("%u files", opened);
  STOPPED("%u of %u files, the envelope's limit", opened, POSTERN_VM_FILES_MADE);
}

static void rounds_without_end(void) {
  struct postern_vm_request request = request_of(POSTERN_VM_IOCTL, OWN_FILE);
  struct outcome outcome;

  if (open_file(OWN_FILE) != 0) IMPOSSIBLE("the device does not open");
  request.command = G_CTRL;
  request.argument = 0x1000; /* where this process has nothing */
  outcome = perform(request, NULL);
  release_file(OWN_FILE);
  if (outcome.state == POSTERN_VM_SLOT_NEEDS) SUCCEEDED("the host asks for ever, and remembers what it has asked for");
  if (outcome.value >= 0) SUCCEEDED("it was done: %lld", outcome.value);
  STOPPED("%s", words(outcome));
}

/* What the host has asked for never comes. */
static void frontend_that_never_answers(void) {
  u32 slot, asked = 0;

  if (open_file(OWN_FILE) != 0) IMPOSSIBLE("the device does not open");
  for (slot = 0; slot < POSTERN_VM_SLOTS; slot++) {
    struct postern_vm_request request = request_of(POSTERN_VM_IOCTL, OWN_FILE);

    request.command = G_CTRL;
    request.argument = 0x1000;
    post(slot, &request);
    asked += wait_slot(slot, NULL, ANSWER_MS_MAX) == POSTERN_VM_SLOT_NEEDS;
  }
  /* The slots stay as they are; other requests come in them. */
  release_file(OWN_FILE);
  if (!is_served()) SUCCEEDED("the host waits for what was never given");
  if (asked == 0) IMPOSSIBLE("the host asks for no pages");
  STOPPED("%u operations were sent back for pages, and are forgotten", asked);
}

/* The ring goes while operations are in flight. */
static void ring_that_goes(void) {
  u32 tries, slot;

  for (tries = 0; tries < 5; tries++) {
    if (open_file(OWN_FILE) != 0) SUCCEEDED("the host has kept what the ring before had open");
    for (slot = 0; slot < POSTERN_VM_SLOTS; slot++) {
      struct postern_vm_request request = request_of(slot % 2 ? POSTERN_VM_READ : POSTERN_VM_IOCTL, OWN_FILE);

      request.command = QUERYCAP;
      request.argument = hostile.user;
      request.length = PAGE_SIZE;
      post(slot, &request);
    }
    if (!offer_own()) SUCCEEDED("the host does not let go of the ring");
  }
  if (!is_served()) SUCCEEDED("the host is confused");
  STOPPED("each time the host let go, and began anew");
}

static void sequences_that_repeat(void) {
  struct postern_vm_request request = request_of(POSTERN_VM_IOCTL, OWN_FILE);
  u32 slot, answered = 0;

  if (open_file(OWN_FILE) != 0) IMPOSSIBLE("the device does not open");
  request.command = QUERYCAP;
  request.argument = hostile.user;
  for (slot = 0; slot < POSTERN_VM_SLOTS; slot++) {
    request.round = slot % 3;
    post(slot, &request);
  }
  for (slot = 0; slot < POSTERN_VM_SLOTS; slot++) answered += wait_slot(slot, NULL, ANSWER_MS_MAX) != POSTERN_VM_SLOT_POSTED;
  release_file(OWN_FILE);
  if (answered != POSTERN_VM_SLOTS) SUCCEEDED("only %u of %u were answered", answered, POSTERN_VM_SLOTS);
  STOPPED("each was an operation of its own");
}

static void cancelling_of_others(void) {
  static const u64 sequences[] = {0, 1, 2, 3, ~0ull};
  u32 i;

  for (i = 0; i < ARRAY_SIZE(sequences); i++) {
    struct postern_vm_request request = request_of(POSTERN_VM_CANCEL, 0);

    request.argument = sequences[i];
    (void)perform(request, NULL);
  }
  STOPPED("only this guest's own operations have such numbers");
}

static void more_descriptors_than_fit(void) {
  struct postern_vm_request request = request_of(POSTERN_VM_IOCTL, OWN_FILE);
  struct outcome outcome;

  if (open_file(OWN_FILE) != 0) IMPOSSIBLE("the device does not open");
  request.command = QUERYCAP;
  request.argument = hostile.user;
  request.resolved = ~0u;
  outcome = perform(request, NULL);
  release_file(OWN_FILE);
  if (outcome.state == POSTERN_VM_SLOT_POSTED) SUCCEEDED("the host does not answer any more");
  STOPPED("as many as a slot has are looked at: %s", words(outcome));
}

/* While the host reads the slot, everything in it changes. */
static void scribble(u32 round) {
  struct postern_vm_slot *slot = &hostile.ring->slot[hostile.sequence % POSTERN_VM_SLOTS];
  u32 *words = (u32 *)&slot->request;

  words[(round * 7) % (sizeof slot->request / 4)] = round & 1 ? round : ~round;
  slot->range[round % POSTERN_VM_RANGES_MAX].address = ~0ull;
}

static void request_that_changes(void) {
  u32 tries, answered = 0;

  for (tries = 0; tries < 200; tries++) {
    struct postern_vm_request request = request_of(POSTERN_VM_IOCTL, OWN_FILE);

    (void)open_file(OWN_FILE);
    request.sequence = ++hostile.sequence;
    request.command = QUERYCAP;
    request.argument = hostile.user;
    answered += perform(request, scribble).state != POSTERN_VM_SLOT_POSTED;
    release_file(OWN_FILE);
  }
  if (answered != tries) SUCCEEDED("only %u of %u were answered", answered, tries);
  STOPPED("%u times what the host had copied was judged", answered);
}

static void flood(void) {
  u32 sent, slot;

  for (sent = 0; sent < FLOOD_REQUESTS; sent++) {
    struct postern_vm_request request = request_of(get_random_u32() % 12, get_random_u32() % 20);

    slot = sent % POSTERN_VM_SLOTS;
    request.command = get_random_u32();
    request.argument = get_random_u64() >> get_random_u32() % 64;
    request.length = get_random_u64() >> get_random_u32() % 64;
    request.offset = get_random_u64() >> get_random_u32() % 64;
    request.round = get_random_u32() % 4;
    request.device = get_random_u32() % 2;
    hostile.ring->slot[slot].request = request;
    smp_store_release(&hostile.ring->slot[slot].state, POSTERN_VM_SLOT_POSTED);
    call_host();
    cond_resched();
  }
  if (!offer_own() || !is_served()) SUCCEEDED("the host serves nobody any more");
  STOPPED("%u requests and rings, and the host still serves", sent);
}

static void state_that_changes(void) {
  u32 round;

  for (round = 0; round < 5000; round++) WRITE_ONCE(hostile.ring->slot[round % POSTERN_VM_SLOTS].state, get_random_u32() % 8);
  call_host();
  msleep(20);
  if (!offer_own() || !is_served()) SUCCEEDED("the host serves nobody any more");
  STOPPED("the host keeps its own account of what is in hand");
}

static void whole_ring_of_noise(void) {
  u32 round;

  for (round = 0; round < 20; round++) {
    get_random_bytes(hostile.ring, sizeof *hostile.ring);
    for (u32 slot = 0; slot < POSTERN_VM_SLOTS; slot++) hostile.ring->slot[slot].state = POSTERN_VM_SLOT_POSTED;
    call_host();
    msleep(5);
  }
  if (!offer_own() || !is_served()) SUCCEEDED("the host serves nobody any more");
  STOPPED("the host still serves");
}

const struct attempt request_attempts[] = {
    {"a ring beyond RAM", "a ring behind the last page", ring_beyond_ram},
    {"a ring over the end", "a ring of which only the first page is RAM", ring_over_the_end},
    {"a ring in the aperture", "a ring in the device's memory", ring_in_aperture},
    {"a ring in the registers", "a ring in the device's registers", ring_in_registers},
    {"a ring at the top", "a ring on the last page of the address space", ring_at_the_top},
    {"a ring between pages", "a ring that begins within a page", ring_between_pages},
    {"a ring that is too small", "a byte less than a ring", ring_too_small},
    {"a ring of three levels", "page tables of a depth that is none", ring_of_three_levels},
    {"a ring of many levels", "page tables of endless depth", ring_of_many_levels},
    {"kinds that are none", "every other kind of request", kinds_that_are_none},
    {"a device of another guest", "the place behind this guest's devices", foreign_device},
    {"a device that can't be", "a place of all ones", impossible_device},
    {"a number of the host's", "an open under a number that the host gives", number_of_the_hosts},
    {"a number that is none", "an open under a number of all ones", number_that_is_none},
    {"a number that is taken", "two opens under one number", number_that_is_taken},
    {"sessions of others", "operations on every number that this guest has not opened", sessions_of_others},
    {"releasing others' files", "a release of every number", release_of_others},
    {"unmapping others' pages", "an unmapping of the control page and of what is not mapped", unmapping_of_others},
    {"a read without end", "a read of 2^64 - 1 bytes", endless_read},
    {"a read beyond its buffer", "a read of 1 GiB into 256 KiB", read_beyond_mine},
    {"a write without end", "a write of nearly 2^64 bytes", endless_write},
    {"a mapping without end", "an mmap of nearly 2^64 bytes", endless_mapping},
    {"a mapping of nothing", "an mmap of no bytes", mapping_of_nothing},
    {"a mapping at the end", "an mmap at the last offset", mapping_at_the_end},
    {"a mapping of another's buffer", "an mmap of the offset that another guest's buffer has", mapping_of_others},
    {"a head larger than all", "an argument of 16383 bytes", head_larger_than_all},
    {"a buffer of another's", "VIDIOC_QUERYBUF of a buffer that another guest has", buffers_of_others},
    {"processes that are none", "the host's own process numbers, and impossible ones", processes_that_are_none},
    {"many processes", "80 processes that each open the device", many_processes},
    {"files without end", "every number opened", files_without_end},
    {"rounds without end", "pages that the host asks for are never there", rounds_without_end},
    {"a frontend that never answers", "all slots wait for pages that never come", frontend_that_never_answers},
    {"a ring that goes", "another ring while operations are in flight", ring_that_goes},
    {"a sequence that repeats", "64 requests of one number", sequences_that_repeat},
    {"cancelling others' operations", "sequence numbers that are not this guest's", cancelling_of_others},
    {"more descriptors than fit", "a slot that tells of 2^32 descriptors", more_descriptors_than_fit},
    {"a request that changes", "the slot is rewritten while the host reads it", request_that_changes},
    {"states that change", "5000 random states of slots", state_that_changes},
    {"a ring of noise", "random bytes over the whole ring, 20 times", whole_ring_of_noise},
    {"a flood", "2000 random requests and as many doorbells", flood},
};
const size_t request_attempt_count = ARRAY_SIZE(request_attempts);
