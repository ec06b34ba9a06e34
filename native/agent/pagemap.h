/* Physical addresses of this process's pages, from /proc/self/pagemap (Documentation/admin-guide/mm/pagemap.rst). */
#ifndef POSTERN_AGENT_PAGEMAP_H
#define POSTERN_AGENT_PAGEMAP_H

#include <stddef.h>
#include <stdint.h>

/* A descriptor that is bound to the calling process's address space: a forked process needs its own. Or -errno. */
int pagemap_open(void);
/* Fills `addresses` with the physical addresses of `count` pages from `start`.
 * Returns 0, -EOPNOTSUPP when a page is not there or has no number (VM_PFNMAP), or -errno. */
int pagemap_addresses(int pagemap, const void *start, size_t count, uint64_t *addresses);

#endif
