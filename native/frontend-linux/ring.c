// SPDX-License-Identifier: GPL-2.0-only
/* An operation's way to the host and back. */
#include <linux/slab.h>
#include <linux/sched/signal.h>

#include "frontend.h"

/* Registers of an ivshmem device (QEMU, docs/specs/ivshmem-spec.rst). */
#define DOORBELL_REGISTER 12
/* The host is peer 0 of the device; it has one vector. */
#define DOORBELL_HOST 0u

bool host_serves(struct frontend *frontend) {
  return !READ_ONCE(frontend->gone) && READ_ONCE(frontend->control->host_state) == POSTERN_VM_HOST_SERVING;
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

static void post(struct operation *operation) {
  struct postern_vm_slot *slot = &operation->frontend->ring->slot[operation->slot];

  slot->request = operation->request;
  memcpy(slot->range, operation->resolved, operation->request.resolved * sizeof *slot->range);
  WRITE_ONCE(operation->state, OPERATION_POSTED);
  smp_store_release(&slot->state, POSTERN_VM_SLOT_POSTED);
  ring_doorbell(operation->frontend);
}

static bool is_over(struct operation *operation) {
  return READ_ONCE(operation->state) != OPERATION_POSTED || !host_serves(operation->frontend);
}

/* The caller goes without an answer: what the operation holds stays until the host has let go of it. */
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

  wait_event(frontend->slot_free, take_slot(operation) || !host_serves(frontend));
  if (frontend->operation[operation->slot] != operation) return operation_put(operation);
  post(operation);
  abandon(operation, 0);
}

void operation_tell(struct operation *operation, unsigned long jiffies) {
  if (!host_serves(operation->frontend)) return operation_put(operation);
  if (!take_slot(operation)) {
    INIT_WORK(&operation->late, post_late);
    queue_work(operation->frontend->work, &operation->late);
    return;
  }
  post(operation);
  if (jiffies > 0) wait_event_timeout(operation->wait, is_over(operation) || fatal_signal_pending(current), jiffies);
  abandon(operation, 0);
}

/* The pages that the host asks for, once each: it asks again for what a round had no room for. */
static int give_pages(struct operation *operation) {
  u32 ranges = min(operation->answer.ranges, POSTERN_VM_RANGES_MAX), i;

  if (ranges == 0 || ++operation->request.round > ROUNDS_MAX) return -EIO;
  for (i = 0; i < ranges; i++) {
    const struct postern_vm_range *range = &operation->range[i];
    int error = range->kind == POSTERN_VM_DESCRIPTOR
                    ? file_resolve(operation, range->address)
                    : memory_pin(operation, range->address, range->bytes, range->kind == POSTERN_VM_WRITES);

    if (error) return error;
  }
  return 0;
}

/* Until the host has said something. 0, or the errno with which the caller leaves. */
static int await(struct operation *operation) {
  if (wait_event_interruptible(operation->wait, is_over(operation)) == 0) return 0;
  cancel(operation);
  return wait_event_killable(operation->wait, is_over(operation)) == 0 ? 0 : -EINTR;
}

static s64 result_of(const struct postern_vm_answer *answer) {
  if (answer->error < 0 || answer->error > MAX_ERRNO) return -EIO;
  return answer->error ? -(s64)answer->error : answer->value;
}

/* The files that the driver has made become the caller's. 0, or the errno of what could not. */
static int install_files(struct operation *operation) {
  const u32 files = min(operation->answer.ranges, POSTERN_VM_DESCRIPTORS_MAX);
  int error = 0;
  u32 i;

  for (i = 0; i < files; i++) {
    const int failed = file_install(operation, &operation->range[i]);

    if (failed) error = failed;
  }
  return error;
}

/* The answer came when its caller had gone: what it gave goes back. */
static void give_back(struct operation *operation) {
  const u32 files = min(operation->answer.ranges, POSTERN_VM_DESCRIPTORS_MAX);
  u32 i;

  if (operation->state != OPERATION_ANSWERED) return;
  for (i = 0; i < files; i++) file_refuse(operation->frontend, operation->range[i].bytes);
  if (operation->request.kind == POSTERN_VM_MMAP && result_of(&operation->answer) > 0)
    mapping_refuse(operation->frontend, operation->answer.value);
  if (operation->request.kind == POSTERN_VM_OPEN && result_of(&operation->answer) == 0)
    file_refuse(operation->frontend, operation->request.file);
}

s64 operation_run(struct operation *operation) {
  struct frontend *frontend = operation->frontend;
  int error;

  mapping_settle(frontend);
  if (wait_event_interruptible(frontend->slot_free, take_slot(operation) || !host_serves(frontend))) {
    operation_put(operation);
    return -ERESTARTSYS;
  }
  if (frontend->operation[operation->slot] != operation) {
    operation_put(operation);
    return -ENODEV;
  }
  for (;;) {
    post(operation);
    error = await(operation);
    if (error) return abandon(operation, error);
    if (READ_ONCE(operation->state) == OPERATION_POSTED) return abandon(operation, -ENODEV);
    if (operation->state == OPERATION_ANSWERED) {
      error = install_files(operation);
      return abandon(operation, error ?: result_of(&operation->answer));
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
  unsigned long flags;
  u32 i;

  spin_lock_irqsave(&frontend->lock, flags);
  WRITE_ONCE(frontend->gone, true);
  for (i = 0; i < POSTERN_VM_SLOTS; i++)
    if (frontend->operation[i]) wake_up(&frontend->operation[i]->wait);
  for (i = 0; i < POSTERN_VM_FILES_MAX; i++)
    if (frontend->file[i]) file_wake(frontend->file[i]);
  spin_unlock_irqrestore(&frontend->lock, flags);
  wake_up_all(&frontend->slot_free);
}

void ring_drop_operations(struct frontend *frontend) {
  u32 slot;

  for (slot = 0; slot < POSTERN_VM_SLOTS; slot++)
    if (frontend->operation[slot]) operation_put(frontend->operation[slot]);
}
