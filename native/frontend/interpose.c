/* The fast frontend: a library that is loaded before the program's others and takes its calls on guarded descriptors. What it does not
 * handle, and everything while nobody listens, is the system call that the program would have made. It is a convenience of the guest's and
 * trusted by nobody: the seccomp filter stays in force under it. */
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <x86intrin.h>

#include "../protocol/window.h"
#include "postern_fast.h"
#include "state.h"

#define EXPORT __attribute__((visibility("default")))

static ssize_t (*real_read)(int, void *, size_t);
static ssize_t (*real_write)(int, const void *, size_t);

__attribute__((constructor)) static void prepare(void) {
  real_read = (ssize_t(*)(int, void *, size_t))dlsym(RTLD_NEXT, "read");
  real_write = (ssize_t(*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
  ring_prepare();
}

static bool is_guarded(int descriptor) {
  return (unsigned)descriptor >= POSTERN_WINDOW_FIRST && (unsigned)descriptor <= POSTERN_WINDOW_LAST;
}

/* The result, and errno with it; false: make the system call. */
static bool run(struct operation *operation, long *result) {
  if (!ring_post(operation) || !ring_await(operation)) return false;
  *result = operation->error != 0 ? -1 : operation->value;
  if (operation->error != 0) errno = operation->error;
  return true;
}

EXPORT int ioctl(int descriptor, unsigned long request, ...) {
  va_list list;
  va_start(list, request);
  void *argument = va_arg(list, void *);
  va_end(list);
  if (is_guarded(descriptor)) {
    uint32_t command = (uint32_t)request;
    struct operation operation = {.call = {.kind = POSTERN_FAST_IOCTL, .descriptor = descriptor, .command = command},
                                  .in = argument, .out = argument};
    operation.call.argument = (uint64_t)argument;
    if (_IOC_DIR(command) & _IOC_WRITE) operation.call.bytes = _IOC_SIZE(command);
    long result;
    if (run(&operation, &result)) return (int)result;
    uint64_t began = __rdtsc();
    int trapped = (int)syscall(SYS_ioctl, descriptor, request, argument);
    ring_note_trapped(&operation, began);
    return trapped;
  }
  return (int)syscall(SYS_ioctl, descriptor, request, argument);
}

static struct operation transfer_of(int descriptor, bool is_write, void *buffer, size_t bytes) {
  struct operation operation = {.call = {.descriptor = descriptor}, .in = buffer, .out = buffer};
  operation.call.kind = is_write ? POSTERN_FAST_WRITE : POSTERN_FAST_READ;
  operation.call.argument = (uint64_t)buffer;
  if (is_write) operation.call.bytes = (uint32_t)bytes;
  else operation.call.length = bytes;
  return operation;
}

static bool can_transfer(int descriptor, size_t bytes) {
  return is_guarded(descriptor) && bytes > 0 && bytes <= POSTERN_FAST_PAYLOAD_BYTES;
}

EXPORT ssize_t read(int descriptor, void *buffer, size_t bytes) {
  long result;
  if (can_transfer(descriptor, bytes)) {
    struct operation operation = transfer_of(descriptor, false, buffer, bytes);
    if (run(&operation, &result)) return result;
    uint64_t began = __rdtsc();
    ssize_t trapped = syscall(SYS_read, descriptor, buffer, bytes);
    ring_note_trapped(&operation, began);
    return trapped;
  }
  return real_read ? real_read(descriptor, buffer, bytes) : syscall(SYS_read, descriptor, buffer, bytes);
}

EXPORT ssize_t write(int descriptor, const void *buffer, size_t bytes) {
  long result;
  if (can_transfer(descriptor, bytes)) {
    struct operation operation = transfer_of(descriptor, true, (void *)buffer, bytes);
    if (run(&operation, &result)) return result;
    uint64_t began = __rdtsc();
    ssize_t trapped = syscall(SYS_write, descriptor, buffer, bytes);
    ring_note_trapped(&operation, began);
    return trapped;
  }
  return real_write ? real_write(descriptor, buffer, bytes) : syscall(SYS_write, descriptor, buffer, bytes);
}

static void trap(struct postern_batch_entry *entry) {
  entry->result = syscall(entry->is_write ? SYS_write : SYS_read, entry->descriptor, entry->buffer, entry->bytes);
  entry->error = entry->result < 0 ? errno : 0;
}

/* As many at once as the ring has room for. One that can't be posted is trapped there and then: that wakes whoever looks for the next. */
static void run_batch(struct postern_batch_entry *entries, size_t count) {
  struct operation operations[POSTERN_FAST_SLOTS];
  bool posted[POSTERN_FAST_SLOTS];
  for (size_t i = 0; i < count; i++) {
    struct postern_batch_entry *entry = &entries[i];
    operations[i] = transfer_of(entry->descriptor, entry->is_write, entry->buffer, entry->bytes);
    operations[i].batched = true;
    posted[i] = can_transfer(entry->descriptor, entry->bytes) && ring_post(&operations[i]);
    if (!posted[i]) trap(entry);
  }
  for (size_t i = 0; i < count; i++) {
    struct postern_batch_entry *entry = &entries[i];
    if (!posted[i]) continue;
    if (!ring_await(&operations[i])) {
      trap(entry);
      continue;
    }
    entry->error = operations[i].error;
    entry->result = entry->error != 0 ? -1 : operations[i].value;
  }
}

EXPORT void postern_fast_batch(struct postern_batch_entry *entries, size_t count) {
  int saved = errno;
  for (size_t done = 0; done < count; done += POSTERN_FAST_SLOTS)
    run_batch(entries + done, count - done < POSTERN_FAST_SLOTS ? count - done : POSTERN_FAST_SLOTS);
  errno = saved;
}

/* What the program takes away itself is not taken for readable any more. */
static void forget_pages(void) {
  if (state) pages_forget(&state->pages);
}

EXPORT int munmap(void *address, size_t bytes) {
  forget_pages();
  return (int)syscall(SYS_munmap, address, bytes);
}

EXPORT int mprotect(void *address, size_t bytes, int protection) {
  forget_pages();
  return (int)syscall(SYS_mprotect, address, bytes, protection);
}

EXPORT void *mmap(void *address, size_t bytes, int protection, int flags, int descriptor, off_t offset) {
  if (flags & MAP_FIXED) forget_pages();
  return (void *)syscall(SYS_mmap, address, bytes, protection, flags, descriptor, offset);
}

EXPORT void *mmap64(void *, size_t, int, int, int, off_t) __attribute__((alias("mmap")));
