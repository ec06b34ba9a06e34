#include "operations.h"

#include <errno.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "completions.h"
#include "files.h"
#include "mappings.h"
#include "threads.h"
#include "watch.h"

static bool in_arena(uint64_t offset, uint64_t length) {
  return offset <= POSTERN_ARENA_BYTES && length <= POSTERN_ARENA_BYTES - offset;
}

static int64_t run_ioctl(struct backend *backend, struct operation *operation) {
  /* The argument goes to the driver as it is: the host has relocated every pointer into the arena. */
  int result = ioctl(operation->file->descriptor, operation->op.command, operation->op.argument);
  if (result < 0) result = -errno;
  if (operation->descriptors) descriptors_take(backend, operation->descriptors, result >= 0);
  return result;
}

static int64_t run_seek(struct operation *operation) {
  off_t position = lseek(operation->file->descriptor, (off_t)operation->op.offset, (int)operation->op.command);
  return position >= 0 ? position : -errno;
}

static int64_t run_transfer(struct backend *backend, struct operation *operation) {
  const struct postern_op *op = &operation->op;
  if (!in_arena(op->head_offset, op->length)) return -EINVAL;
  uint8_t *bytes = backend->arena + op->head_offset;
  int descriptor = operation->file->descriptor;
  bool positional = op->flags & POSTERN_OP_POSITIONAL;
  off_t offset = (off_t)op->offset;
  ssize_t result;
  if (op->kind == POSTERN_OP_READ) {
    result = positional ? pread(descriptor, bytes, op->length, offset) : read(descriptor, bytes, op->length);
  } else {
    result = positional ? pwrite(descriptor, bytes, op->length, offset) : write(descriptor, bytes, op->length);
  }
  return result >= 0 ? result : -errno;
}

static int64_t run_on_file(struct backend *backend, struct operation *operation) {
  switch (operation->op.kind) {
    case POSTERN_OP_IOCTL: return run_ioctl(backend, operation);
    case POSTERN_OP_READ:
    case POSTERN_OP_WRITE: return run_transfer(backend, operation);
    case POSTERN_OP_SEEK: return run_seek(operation);
    case POSTERN_OP_MMAP: return mappings_map(backend, operation->file, &operation->op);
    default: operation->ask_ready = true; return watch_set(backend, operation->file, operation->op.command);
  }
}

void operation_run(struct backend *backend, struct operation *operation) {
  const struct postern_op *op = &operation->op;
  switch (op->kind) {
    case POSTERN_OP_OPEN: operation->result = files_open(backend, op); return;
    case POSTERN_OP_RELEASE: operation->result = files_release(backend, op->file); return;
    case POSTERN_OP_IOCTL:
    case POSTERN_OP_READ:
    case POSTERN_OP_WRITE:
    case POSTERN_OP_SEEK:
    case POSTERN_OP_MMAP:
    case POSTERN_OP_WATCH: operation->result = run_on_file(backend, operation); return;
    case POSTERN_OP_MUNMAP: operation->result = mappings_unmap(backend, op->argument); return;
    case POSTERN_OP_CANCEL: operation->result = threads_cancel(op->argument); return;
    default: operation->result = -ENOSYS;
  }
}

void operation_complete(struct backend *backend, struct operation *operation) {
  descriptors_end(backend, operation->descriptors);
  operation->descriptors = NULL;
  struct postern_completion completion = {
      .id = operation->op.id,
      .result = operation->result,
      .kind = POSTERN_COMPLETION_DONE,
      .file = operation->op.file,
      .ready = POSTERN_READY_UNKNOWN,
  };
  struct file *file = operation->file;
  if (!file) {
    completions_post(backend, &completion);
    return;
  }
  /* Asked and posted under one lock: a rise that comes later is posted later, so the host's last word is the truth. */
  pthread_mutex_lock(&file->lock);
  bool is_steady = operation->op.flags & POSTERN_OP_STEADY;
  if (operation->ask_ready || (file->watched != 0 && !is_steady)) completion.ready = watch_ask(file);
  completions_post(backend, &completion);
  files_let_go(file);
  pthread_mutex_unlock(&file->lock);
}

/* Whether the operation needs a thread: it may sleep in the driver, or wait for another operation (RELEASE). */
static bool needs_thread(const struct postern_op *op) {
  if (op->kind == POSTERN_OP_RELEASE) return true;
  bool can_sleep = op->kind == POSTERN_OP_OPEN || op->kind == POSTERN_OP_IOCTL || op->kind == POSTERN_OP_READ ||
                   op->kind == POSTERN_OP_WRITE;
  return can_sleep && (op->flags & POSTERN_OP_BLOCKING);
}

static bool uses_file(const struct postern_op *op) {
  return op->kind == POSTERN_OP_IOCTL || op->kind == POSTERN_OP_READ || op->kind == POSTERN_OP_WRITE ||
         op->kind == POSTERN_OP_SEEK || op->kind == POSTERN_OP_MMAP || op->kind == POSTERN_OP_WATCH;
}

void operations_dispatch(struct backend *backend, const struct postern_op *op) {
  struct operation operation = {.op = *op};
  /* Held in the order of submission: a release that comes later waits, however late the operation's thread begins. */
  if (uses_file(op)) operation.result = files_hold(backend, op, &operation.file);
  /* Before any thread: one operation after the other finds what it shall lend. */
  bool has_descriptors = op->kind == POSTERN_OP_IOCTL && op->descriptors != 0;
  if (operation.result == 0 && has_descriptors) operation.result = descriptors_lend(backend, op, &operation.descriptors);
  if (operation.result != 0) {
    operation_complete(backend, &operation);
    return;
  }
  if (needs_thread(op)) {
    operation.result = threads_start(&operation);
    if (operation.result == 0) return;
  } else {
    operation_run(backend, &operation);
  }
  operation_complete(backend, &operation);
}
