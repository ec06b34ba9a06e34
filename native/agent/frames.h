/* The page numbers of mappings that /proc/self/pagemap has none for (VM_PFNMAP: the kernel keeps no struct page for them, as for the
 * buffers of drm_gem_shmem, and for DMA memory that a driver maps by remap_pfn_range).
 *
 * The kernel makes such page table entries in a few functions, whose arguments are an address and a page number. A perf event on a
 * kprobe there (CONFIG_KPROBE_EVENTS) samples the registers, for this thread alone, into a ring in this process's memory. */
#ifndef POSTERN_AGENT_FRAMES_H
#define POSTERN_AGENT_FRAMES_H

#include <stddef.h>
#include <stdint.h>

struct frames;

/* Starts to watch this thread make page table entries. Returns NULL where the kernel can't: errno says why. */
struct frames *frames_watch(void);

/* Touches the `count` pages from `start` that have been mapped since frames_watch, by this thread, and stores their physical addresses.
 * Returns 0, or -EOPNOTSUPP when a page was made in another way, or not at all. */
int frames_addresses(struct frames *frames, const void *start, size_t count, uint64_t *addresses);

/* Ends what frames_watch has begun. */
void frames_end(struct frames *frames);

#endif
