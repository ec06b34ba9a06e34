/* What a program can ask of the fast frontend beside what it does unasked (LD_PRELOAD=postern-fast.so, as `postern run --fast` sets it).
 * The symbol is weak: without the frontend it is null. */
#ifndef POSTERN_FAST_API_H
#define POSTERN_FAST_API_H

#include <stddef.h>
#include <sys/types.h>

struct postern_batch_entry {
  int descriptor;
  int is_write;
  void *buffer;
  size_t bytes;
  ssize_t result; /* as read and write return it */
  int error;      /* errno where the result is -1 */
};

/* Reads and writes many buffers by few exchanges: each entry is an operation of its own, judged as such; their order among each other is
 * not promised. Files should be O_NONBLOCK: what may sleep is made a system call. */
__attribute__((weak)) void postern_fast_batch(struct postern_batch_entry *entries, size_t count);

#endif
