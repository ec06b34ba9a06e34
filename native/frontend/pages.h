/* Which of the process's own pages can be read or written without a fault. The kernel answers a bad pointer by EFAULT; a library that
 * follows it would die of it. */
#ifndef POSTERN_FRONTEND_PAGES_H
#define POSTERN_FRONTEND_PAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGES_REMEMBERED 256

struct pages {
  uint64_t known[PAGES_REMEMBERED]; /* page address, with bit 0: readable, bit 1: writable too */
};

bool pages_readable(struct pages *pages, const void *address, size_t bytes);
bool pages_writable(struct pages *pages, const void *address, size_t bytes);
/* Something has been unmapped or protected. */
void pages_forget(struct pages *pages);

#endif
