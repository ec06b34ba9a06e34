// SPDX-License-Identifier: GPL-2.0-only
/* The caller's pages, held while the host works on them: never longer than the operation. */
#include <linux/file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "frontend.h"

/* Holds the pages of a range of the caller's own memory. 0, EFAULT where the caller itself could not read (or write) it, ENOMEM. */
int memory_pin(struct operation *operation, u64 address, u64 bytes, bool writes) {
  const u64 first = address & PAGE_MASK;
  u64 pages;
  int pinned;

  if (bytes == 0) return 0;
  if (bytes > PINNED_PAGES_MAX * PAGE_SIZE || !access_ok((void __user *)address, bytes)) return -EFAULT;
  pages = ((address + bytes - 1) >> PAGE_SHIFT) - (first >> PAGE_SHIFT) + 1;
  if (pages > PINNED_PAGES_MAX - operation->pages_pinned) return -ENOMEM;
  if (!operation->pages) {
    operation->pages = kvcalloc(PINNED_PAGES_MAX, sizeof *operation->pages, GFP_KERNEL);
    if (!operation->pages) return -ENOMEM;
  }
  pinned = pin_user_pages_fast(first, pages, writes ? FOLL_WRITE : 0, operation->pages + operation->pages_pinned);
  if (pinned > 0) operation->pages_pinned += pinned;
  return pinned == pages ? 0 : -EFAULT;
}

void memory_unpin(struct operation *operation) {
  u32 i;

  for (i = 0; i < operation->request.resolved; i++)
    if (operation->files[i]) fput(operation->files[i]);
  if (!operation->pages) return;
  /* Which of them the host has written to, only the host knows. */
  unpin_user_pages_dirty_lock(operation->pages, operation->pages_pinned, true);
  kvfree(operation->pages);
  operation->pages = NULL;
  operation->pages_pinned = 0;
}
