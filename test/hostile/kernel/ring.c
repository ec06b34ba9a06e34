// SPDX-License-Identifier: GPL-2.0-only
/* Speaking to the host: as the frontend does, but with whatever a request says. */
#include <linux/delay.h>
#include <linux/io.h>
#include <linux/sched.h>

#include "hostile.h"

#define DOORBELL_REGISTER 12
#define RING_MS_MAX 5000u
/* Of one honest file. */
#define OWN_FILE 77u

void call_host(void) { writel(0, hostile.registers + DOORBELL_REGISTER); }

static bool is_taken_within(bool taken, u32 ms) {
  const unsigned long end = jiffies + msecs_to_jiffies(ms);

  do {
    if (!!READ_ONCE(hostile.control->ring_taken) == taken) return true;
    call_host();
    msleep(1);
  } while (time_before(jiffies, end));
  return !!READ_ONCE(hostile.control->ring_taken) == taken;
}

bool offer(u64 address, u32 bytes, u32 levels, u32 ms) {
  WRITE_ONCE(hostile.control->ring_ready, 0);
  smp_mb();
  if (!is_taken_within(false, RING_MS_MAX)) return false;
  if (bytes == 0) return false;
  WRITE_ONCE(hostile.control->ring_address, address);
  WRITE_ONCE(hostile.control->ring_bytes, bytes);
  WRITE_ONCE(hostile.control->page_levels, levels);
  smp_store_release(&hostile.control->ring_ready, 1);
  return is_taken_within(true, ms);
}

bool offer_own(void) {
  const u32 levels = pgtable_l5_enabled() ? 5 : 4;

  WRITE_ONCE(hostile.control->ring_ready, 0);
  smp_mb();
  if (!is_taken_within(false, RING_MS_MAX)) return false;
  memset(hostile.ring, 0, sizeof *hostile.ring);
  return offer(virt_to_phys(hostile.ring), sizeof *hostile.ring, levels, RING_MS_MAX);
}

struct postern_vm_request request_of(u32 kind, u32 file) {
  return (struct postern_vm_request){
      .sequence = ++hostile.sequence,
      .kind = kind,
      .file = file,
      .process = task_tgid_nr(current),
      .thread = task_pid_nr(current),
      .flags = 2, /* O_RDWR */
      .page_table = hostile.page_table,
  };
}

void post(u32 slot, const struct postern_vm_request *request) {
  hostile.ring->slot[slot].request = *request;
  smp_store_release(&hostile.ring->slot[slot].state, POSTERN_VM_SLOT_POSTED);
  smp_mb();
  if (READ_ONCE(hostile.ring->host_sleeps)) call_host();
}

u32 wait_slot(u32 slot, void (*meanwhile)(u32 round), u32 ms_max) {
  const unsigned long end = jiffies + msecs_to_jiffies(ms_max);
  u32 round = 0, state;

  do {
    state = smp_load_acquire(&hostile.ring->slot[slot].state);
    if (state != POSTERN_VM_SLOT_POSTED) return state;
    if (meanwhile) meanwhile(round++);
    else cond_resched();
  } while (time_before(jiffies, end));
  return state;
}

struct outcome perform(struct postern_vm_request request, void (*meanwhile)(u32 round)) {
  const u32 slot = request.sequence % POSTERN_VM_SLOTS;
  struct postern_vm_slot *shared = &hostile.ring->slot[slot];
  struct outcome outcome = {0};

  for (;;) {
    post(slot, &request);
    outcome.state = wait_slot(slot, meanwhile, ANSWER_MS_MAX);
    if (outcome.state != POSTERN_VM_SLOT_NEEDS || outcome.rounds++ > 2 * POSTERN_VM_ROUNDS_MAX) break;
    request.round++;
  }
  if (outcome.state == POSTERN_VM_SLOT_ANSWERED) outcome.value = shared->answer.error ? -(s64)shared->answer.error : shared->answer.value;
  WRITE_ONCE(shared->state, POSTERN_VM_SLOT_FREE);
  return outcome;
}

const char *words(struct outcome outcome) {
  static char text[64];

  if (outcome.state == POSTERN_VM_SLOT_POSTED) return "no answer";
  if (outcome.state == POSTERN_VM_SLOT_NEEDS) return "asked for the page, and asked for ever";
  if (outcome.rounds > 0) snprintf(text, sizeof text, "asked for the page %u times, then %lld", outcome.rounds, outcome.value);
  else snprintf(text, sizeof text, "answered %lld", outcome.value);
  return text;
}

s64 open_file(u32 file) {
  const struct outcome outcome = perform(request_of(POSTERN_VM_OPEN, file), NULL);

  return outcome.state == POSTERN_VM_SLOT_ANSWERED ? outcome.value : -ETIMEDOUT;
}

s64 command_on(u32 file, u32 command, u64 argument) {
  struct postern_vm_request request = request_of(POSTERN_VM_IOCTL, file);
  struct outcome outcome;

  request.command = command;
  request.argument = argument;
  outcome = perform(request, NULL);
  return outcome.state == POSTERN_VM_SLOT_ANSWERED ? outcome.value : -ETIMEDOUT;
}

void release_file(u32 file) { (void)perform(request_of(POSTERN_VM_RELEASE, file), NULL); }

bool is_served(void) {
  s64 got;

  if (open_file(OWN_FILE) != 0) return false;
  got = command_on(OWN_FILE, QUERYCAP, hostile.user);
  release_file(OWN_FILE);
  return got == 0;
}
