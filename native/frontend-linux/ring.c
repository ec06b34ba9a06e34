// SPDX-License-Identifier: GPL-2.0-only
/* An operation's way to the host and back. */
#include <linux/delay.h>
#include <linux/moduleparam.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "frontend.h"

/* Registers of an ivshmem device (QEMU, docs/specs/ivshmem-spec.rst). */
#define DOORBELL_REGISTER 12
/* The host is peer 0 of the device; it has one vector. */
#define DOORBELL_HOST 0u

/* An answer is looked for so long before its caller sleeps: it begins so, is doubled by each success and halved by each failure. A
 * host that is awake answers within these microseconds; being interrupted and woken costs several times that. */
#define SPIN_FIRST_US 50u
#define SPIN_MOST_US 100u
#define SPIN_LEAST_US 5u
/* When it has not paid for long, it is tried again after so many operations. */
#define SPIN_RETRY 64u
/* Between two looks at the clock. */
#define SPIN_ROUNDS 16u

/* An operation may take for ever, the host may not: after this long it is asked whether it is there, and has as long to say so. */
static unsigned int host_patience_s = 10;
module_param(host_patience_s, uint, 0644);
MODULE_PARM_DESC(host_patience_s, "seconds after which a silent host is asked, and again as many after which it is given up");

static unsigned long patience(void) { return clamp(READ_ONCE(host_patience_s), 1u, 3600u) * HZ; }

bool host_serves(struct frontend *frontend) {
  if (READ_ONCE(frontend->gone) || READ_ONCE(frontend->control->host_state) != POSTERN_VM_HOST_SERVING) return false;
  /* One that was paused, and goes on, is there again. */
  return !READ_ONCE(frontend->silent) || READ_ONCE(frontend->ring->told) == READ_ONCE(frontend->asked);
}

void ring_call(struct frontend *frontend) { writel(DOORBELL_HOST << 16, frontend->registers + DOORBELL_REGISTER); }

static void wake_everyone(struct frontend *frontend) {
  unsigned long flags;
  u32 i;

  spin_lock_irqsave(&frontend->lock, flags);
  for (i = 0; i < POSTERN_VM_SLOTS; i++)
    if (frontend->operation[i]) wake_up(&frontend->operation[i]->wait);
  for (i = 0; i < POSTERN_VM_FILES_MAX; i++)
    if (frontend->file[i]) file_wake(frontend->file[i]);
  spin_unlock_irqrestore(&frontend->lock, flags);
  wake_up_all(&frontend->slot_free);
}

/* Somebody has waited for long: the host is asked, or was asked long enough ago. */
static void doubt_host(struct frontend *frontend) {
  bool is_lost = false, asks;
  unsigned long flags;

  spin_lock_irqsave(&frontend->lock, flags);
  asks = READ_ONCE(frontend->ring->told) == frontend->asked;
  if (asks) {
    frontend->silent = false;
    frontend->asked_at = jiffies;
    WRITE_ONCE(frontend->asked, frontend->asked + 1);
    WRITE_ONCE(frontend->ring->asked, frontend->asked);
  } else if (!frontend->silent && time_after_eq(jiffies, frontend->asked_at + patience() - 1)) {
    is_lost = true;
    WRITE_ONCE(frontend->silent, true);
  }
  spin_unlock_irqrestore(&frontend->lock, flags);
  if (asks) ring_call(frontend);
  if (!is_lost) return;
  dev_warn(&frontend->pci->dev, "the host does not answer: its device files are of no use until it does\n");
  wake_everyone(frontend);
}

struct operation *operation_new(struct frontend *frontend, u32 kind) {
  struct operation *operation = kzalloc(sizeof *operation, GFP_KERNEL);

  if (!operation) return NULL;
  refcount_set(&operation->references, 1);
  operation->frontend = frontend;
  init_waitqueue_head(&operation->wait);
  operation->request.kind = kind;
  operation->request.process = task_tgid_nr(current);
  operation->request.thread = task_pid_nr(current);
  if (current->mm) operation->request.page_table = virt_to_phys(current->mm->pgd);
  return operation;
}

void operation_put(struct operation *operation) {
  if (!refcount_dec_and_test(&operation->references)) return;
  memory_unpin(operation);
  if (operation->leaving) file_drop(operation->leaving);
  kfree(operation);
}

static bool take_slot(struct operation *operation) {
  struct frontend *frontend = operation->frontend;
  unsigned long flags;
  u32 slot;

  spin_lock_irqsave(&frontend->lock, flags);
  slot = find_first_zero_bit(frontend->slots, POSTERN_VM_SLOTS);
  if (slot < POSTERN_VM_SLOTS) {
    set_bit(slot, frontend->slots);
    operation->slot = slot;
    operation->request.sequence = ++frontend->next_sequence;
    frontend->operation[slot] = operation;
    refcount_inc(&operation->references); /* the slot's own */
  }
  spin_unlock_irqrestore(&frontend->lock, flags);
  return slot < POSTERN_VM_SLOTS;
}

/* With the lock held. The slot's reference is the caller's then. */
static void free_slot(struct operation *operation) {
  struct frontend *frontend = operation->frontend;

  WRITE_ONCE(frontend->ring->slot[operation->slot].state, POSTERN_VM_SLOT_FREE);
  frontend->operation[operation->slot] = NULL;
  clear_bit(operation->slot, frontend->slots);
}

static void ring_doorbell(struct frontend *frontend) {
  /* The host looks at the slots once more after it has said that it sleeps. */
  smp_mb();
  if (READ_ONCE(frontend->ring->host_sleeps)) writel(DOORBELL_HOST << 16, frontend->registers + DOORBELL_REGISTER);
}

/* `sleeps`: whoever waits for it, if anybody does, is to be interrupted. */
static void post(struct operation *operation, bool sleeps) {
  struct postern_vm_slot *slot = &operation->frontend->ring->slot[operation->slot];

  WRITE_ONCE(slot->caller_sleeps, sleeps);
  slot->request = operation->request;
  memcpy(slot->range, operation->resolved, operation->request.resolved * sizeof *slot->range);
  WRITE_ONCE(operation->state, OPERATION_POSTED);
  smp_store_release(&slot->state, POSTERN_VM_SLOT_POSTED);
  ring_doorbell(operation->frontend);
}

static bool is_over(struct operation *operation) {
  return READ_ONCE(operation->state) != OPERATION_POSTED || !host_serves(operation->frontend);
}

static void take_answers(struct frontend *frontend);
static bool take_answer(struct operation *operation);

/* Has the operation's end, or whatever comes, interrupt this guest; what has come before is taken at once. */
static void await_interrupt(struct operation *operation) {
  WRITE_ONCE(operation->frontend->ring->slot[operation->slot].caller_sleeps, 1);
  smp_mb();
  take_answers(operation->frontend);
}

/* The caller goes, with an answer or without: without, what the operation holds stays until the host has let go of it. */
static s64 abandon(struct operation *operation, s64 result) {
  struct frontend *frontend = operation->frontend;
  bool is_free;
  unsigned long flags;

  spin_lock_irqsave(&frontend->lock, flags);
  is_free = operation->state != OPERATION_POSTED;
  if (is_free) free_slot(operation);
  else operation->abandoned = true;
  spin_unlock_irqrestore(&frontend->lock, flags);
  if (is_free) {
    wake_up(&frontend->slot_free);
    operation_put(operation);
  } else {
    await_interrupt(operation);
  }
  operation_put(operation);
  return result;
}

/* Tells the host that a signal waits for the caller. Nobody waits for the answer. */
static void cancel(struct operation *operation) {
  struct operation *message = operation_new(operation->frontend, POSTERN_VM_CANCEL);

  if (!message) return;
  message->request.argument = operation->request.sequence;
  operation_tell(message, 0);
}

/* Every slot was taken: a worker waits for one, so that no caller has to. */
static void post_late(struct work_struct *work) {
  struct operation *operation = container_of(work, struct operation, late);
  struct frontend *frontend = operation->frontend;

  while (!wait_event_idle_timeout(frontend->slot_free, take_slot(operation) || !host_serves(frontend), patience())) doubt_host(frontend);
  if (frontend->operation[operation->slot] != operation) return operation_put(operation);
  post(operation, true);
  abandon(operation, 0);
}

void operation_tell(struct operation *operation, unsigned long jiffies) {
  if (!host_serves(operation->frontend)) return operation_put(operation);
  if (!take_slot(operation)) {
    INIT_WORK(&operation->late, post_late);
    queue_work(operation->frontend->work, &operation->late);
    return;
  }
  post(operation, true);
  if (jiffies > 0) wait_event_timeout(operation->wait, is_over(operation) || fatal_signal_pending(current), jiffies);
  abandon(operation, 0);
}

/* The pages that the host asks for, once each: it asks again for what a round had no room for. */
static int give_pages(struct operation *operation) {
  u32 ranges = min(operation->answer.ranges, POSTERN_VM_RANGES_MAX), i;

  if (ranges == 0 || ++operation->request.round > POSTERN_VM_ROUNDS_MAX) return -EIO;
  /* The kernel holds the address space's lock for a caller of mmap, which faulting pages in would take again. */
  if (operation->request.kind == POSTERN_VM_MMAP) return -EIO;
  for (i = 0; i < ranges; i++) {
    const struct postern_vm_range *range = &operation->range[i];
    int error = range->kind == POSTERN_VM_DESCRIPTOR
                    ? file_resolve(operation, range->address)
                    : memory_pin(operation, range->address, range->bytes, range->kind == POSTERN_VM_WRITES);

    if (error) return error;
  }
  return 0;
}

/* The caller's own look for the answer. Whether there is one. */
static bool look(struct operation *operation) {
  struct frontend *frontend = operation->frontend;
  unsigned long flags;

  if (smp_load_acquire(&frontend->ring->slot[operation->slot].state) == POSTERN_VM_SLOT_POSTED) return false;
  spin_lock_irqsave(&frontend->lock, flags);
  if (frontend->operation[operation->slot] == operation) (void)take_answer(operation);
  spin_unlock_irqrestore(&frontend->lock, flags);
  return READ_ONCE(operation->state) != OPERATION_POSTED;
}

/* Looks for the answer for a bounded time, as long as nobody else wants this processor. Whether it has come. */
static bool spin(struct operation *operation) {
  struct frontend *frontend = operation->frontend;
  const u32 spin_us = READ_ONCE(frontend->spin_us);
  u64 end;
  u32 i;

  if (spin_us < SPIN_LEAST_US) {
    if (frontend->sleepers++ % SPIN_RETRY == 0) WRITE_ONCE(frontend->spin_us, SPIN_FIRST_US);
    return false;
  }
  end = ktime_get_ns() + spin_us * NSEC_PER_USEC;
  do {
    for (i = 0; i < SPIN_ROUNDS; i++) {
      if (look(operation)) {
        WRITE_ONCE(frontend->spin_us, min(SPIN_MOST_US, 2 * spin_us));
        return true;
      }
      cpu_relax();
    }
  } while (!need_resched() && !signal_pending(current) && ktime_get_ns() < end);
  WRITE_ONCE(frontend->spin_us, spin_us / 2);
  return false;
}

/* Until the host has said something, or is given up. 0, or the errno with which the caller leaves. */
static int await(struct operation *operation) {
  struct frontend *frontend = operation->frontend;
  long left;

  if (spin(operation)) return 0;
  await_interrupt(operation);
  while ((left = wait_event_interruptible_timeout(operation->wait, is_over(operation), patience())) == 0) doubt_host(frontend);
  if (left > 0) return 0;
  cancel(operation);
  while ((left = wait_event_killable_timeout(operation->wait, is_over(operation), patience())) == 0) doubt_host(frontend);
  return left > 0 ? 0 : -EINTR;
}

/* The errno or the value, if it is one that this kind of operation can have. */
static s64 result_of(const struct operation *operation) {
  const struct postern_vm_answer *answer = &operation->answer;
  const bool is_transfer = operation->request.kind == POSTERN_VM_READ || operation->request.kind == POSTERN_VM_WRITE;

  if (answer->error < 0 || answer->error > MAX_ERRNO) return -EIO;
  if (answer->error) return -(s64)answer->error;
  if (answer->value < 0 || (is_transfer && answer->value > operation->request.length)) return -EIO;
  return answer->value;
}

/* The files that the driver has made become the caller's. 0, or the errno of what could not. */
static int install_files(struct operation *operation) {
  const u32 files = min(operation->answer.ranges, POSTERN_VM_DESCRIPTORS_MAX);
  int error = 0;
  u32 i;

  if (files > 0 && operation->request.kind != POSTERN_VM_IOCTL) return -EIO;
  for (i = 0; i < files; i++) {
    const int failed = file_install(operation, &operation->range[i]);

    if (failed) error = failed;
  }
  return error;
}

/* An open whose caller has gone: the number is free when the host has closed the file. */
static void file_refuse_opened(struct operation *open) {
  struct operation *operation = operation_new(open->frontend, POSTERN_VM_RELEASE);

  if (!operation) return;
  operation->request.file = open->request.file;
  operation->leaving = open->leaving;
  open->leaving = NULL;
  operation_tell(operation, 0);
}

/* The answer came when its caller had gone: what it gave goes back. */
static void give_back(struct operation *operation) {
  const u32 files = min(operation->answer.ranges, POSTERN_VM_DESCRIPTORS_MAX);
  u32 i;

  if (operation->state != OPERATION_ANSWERED) return;
  for (i = 0; i < files; i++) file_refuse(operation->frontend, operation->range[i].bytes);
  if (operation->request.kind == POSTERN_VM_MMAP && result_of(operation) > 0)
    mapping_refuse(operation->frontend, operation->answer.value);
  if (operation->request.kind == POSTERN_VM_OPEN && result_of(operation) == 0) file_refuse_opened(operation);
}

/* A program wants the device while every slot is taken. 0, or the errno with which it leaves. */
static int await_slot(struct operation *operation) {
  struct frontend *frontend = operation->frontend;
  long left;

  do {
    left = wait_event_interruptible_timeout(frontend->slot_free, take_slot(operation) || !host_serves(frontend), patience());
    if (left == 0) doubt_host(frontend);
  } while (left == 0);
  if (left < 0) return -ERESTARTSYS;
  return frontend->operation[operation->slot] == operation ? 0 : -ENODEV;
}

s64 operation_run(struct operation *operation) {
  struct frontend *frontend = operation->frontend;
  int error;

  mapping_settle(frontend);
  error = await_slot(operation);
  if (error) {
    operation_put(operation);
    return error;
  }
  for (;;) {
    post(operation, false);
    error = await(operation);
    if (error) return abandon(operation, error);
    if (READ_ONCE(operation->state) == OPERATION_POSTED) return abandon(operation, -ENODEV);
    if (operation->state == OPERATION_ANSWERED) {
      error = install_files(operation);
      return abandon(operation, error ?: result_of(operation));
    }
    error = give_pages(operation);
    if (error) return abandon(operation, error);
  }
}

/* What the host has written into a slot, taken over once. With the lock held. Whether the operation has no caller any more. */
static bool take_answer(struct operation *operation) {
  struct postern_vm_slot *slot = &operation->frontend->ring->slot[operation->slot];
  const u32 state = smp_load_acquire(&slot->state);

  if (operation->state != OPERATION_POSTED) return false;
  if (state != POSTERN_VM_SLOT_NEEDS && state != POSTERN_VM_SLOT_ANSWERED) return false;
  operation->answer = slot->answer;
  memcpy(operation->range, slot->range, sizeof operation->range);
  WRITE_ONCE(operation->state, state == POSTERN_VM_SLOT_NEEDS ? OPERATION_NEEDS : OPERATION_ANSWERED);
  wake_up(&operation->wait);
  if (!operation->abandoned) return false;
  free_slot(operation);
  return true;
}

static void take_answers(struct frontend *frontend) {
  u32 slot;

  for (slot = 0; slot < POSTERN_VM_SLOTS; slot++) {
    struct operation *operation, *finished = NULL;
    unsigned long flags;

    if (!READ_ONCE(frontend->operation[slot])) continue;
    spin_lock_irqsave(&frontend->lock, flags);
    operation = frontend->operation[slot];
    if (operation && take_answer(operation)) finished = operation;
    spin_unlock_irqrestore(&frontend->lock, flags);
    if (!finished) continue;
    wake_up(&frontend->slot_free);
    give_back(finished);
    operation_put(finished);
  }
}

static void take_readiness(struct frontend *frontend) {
  u32 number;

  for (number = 0; number < POSTERN_VM_FILES_MAX; number++) {
    const u32 ready = READ_ONCE(frontend->ring->ready[number]);
    struct open_file *file;
    unsigned long flags;

    if (!READ_ONCE(frontend->file[number])) continue;
    spin_lock_irqsave(&frontend->lock, flags);
    file = frontend->file[number];
    if (file && file->ready != ready) {
      WRITE_ONCE(file->ready, ready);
      file_wake(file);
    }
    spin_unlock_irqrestore(&frontend->lock, flags);
  }
}

void ring_interrupt(struct frontend *frontend) {
  take_answers(frontend);
  take_readiness(frontend);
}

void ring_shut(struct frontend *frontend) {
  WRITE_ONCE(frontend->gone, true);
  wake_everyone(frontend);
}

void ring_drop_operations(struct frontend *frontend) {
  u32 slot;

  for (slot = 0; slot < POSTERN_VM_SLOTS; slot++)
    if (frontend->operation[slot]) operation_put(frontend->operation[slot]);
}
