#include "pages.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE_BYTES 4096u
enum { READABLE = 1, WRITABLE = 2 };

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

/* The kernel faults the page in as an access would, and says what would have happened (Linux 5.14). */
static bool ask(uint64_t page, uint64_t wanted) {
  int advice = wanted & WRITABLE ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;
  return syscall(SYS_madvise, page, PAGE_BYTES, advice) == 0;
}

static bool are(struct pages *pages, const void *address, size_t bytes, uint64_t wanted) {
  uint64_t first = (uint64_t)address & ~(uint64_t)(PAGE_BYTES - 1), last;
  if (bytes == 0) return true;
  if (__builtin_add_overflow((uint64_t)address, bytes - 1, &last)) return false;
  for (uint64_t page = first; page <= last; page += PAGE_BYTES) {
    uint64_t *known = &pages->known[page / PAGE_BYTES % PAGES_REMEMBERED];
    uint64_t entry = __atomic_load_n(known, __ATOMIC_RELAXED);
    if ((entry & ~(uint64_t)(PAGE_BYTES - 1)) == page && (entry & wanted) == wanted) continue;
    if (!ask(page, wanted)) return false;
    __atomic_store_n(known, page | wanted, __ATOMIC_RELAXED);
  }
  return true;
}

bool pages_readable(struct pages *pages, const void *address, size_t bytes) { return are(pages, address, bytes, READABLE); }

bool pages_writable(struct pages *pages, const void *address, size_t bytes) {
  return are(pages, address, bytes, READABLE | WRITABLE);
}

void pages_forget(struct pages *pages) {
  for (int i = 0; i < PAGES_REMEMBERED; i++) __atomic_store_n(&pages->known[i], 0, __ATOMIC_RELAXED);
}
