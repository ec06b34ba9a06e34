// SPDX-License-Identifier: GPL-2.0-only
/* Driver pages in the caller's address space: the host puts them into the aperture, and here they are mapped from it. */
#include <linux/slab.h>

#include "frontend.h"

/* How long an operation lets the host take back what was unmapped before it. */
#define SETTLE_WAIT (2 * HZ)

/* One piece of the aperture, for as long as any address space has it. */
struct mapping {
  refcount_t references;
  struct frontend *frontend;
  u64 offset;
  u32 file;
  struct work_struct work;
};

void mapping_refuse(struct frontend *frontend, u64 offset) {
  struct operation *operation = operation_new(frontend, POSTERN_VM_MUNMAP);

  if (!operation) return;
  operation->request.argument = offset;
  operation_tell(operation, 0);
}

/* The host takes the pages back. Not from the unmapping itself, which holds the address space's lock. */
static void unmap(struct work_struct *work) {
  struct mapping *mapping = container_of(work, struct mapping, work);
  struct operation *operation = operation_new(mapping->frontend, POSTERN_VM_MUNMAP);

  if (operation) {
    operation->request.argument = mapping->offset;
    operation->request.file = mapping->file;
    operation_tell(operation, HZ);
  }
  if (atomic_dec_and_test(&mapping->frontend->unmapping)) wake_up_all(&mapping->frontend->unmapped);
  kfree(mapping);
}

/* Bounded, and not by the workqueue's end: there may be messages in it that a host without a free slot lets wait for ever. */
void mapping_settle(struct frontend *frontend) {
  if (!atomic_read(&frontend->unmapping)) return;
  wait_event_timeout(frontend->unmapped, !atomic_read(&frontend->unmapping) || !host_serves(frontend), SETTLE_WAIT);
}

static void begin_unmap(struct mapping *mapping) {
  atomic_inc(&mapping->frontend->unmapping);
  queue_work(mapping->frontend->work, &mapping->work);
}

static void mapping_open(struct vm_area_struct *vma) {
  struct mapping *mapping = vma->vm_private_data;

  refcount_inc(&mapping->references);
}

static void mapping_close(struct vm_area_struct *vma) {
  struct mapping *mapping = vma->vm_private_data;

  if (refcount_dec_and_test(&mapping->references)) begin_unmap(mapping);
}

static const struct vm_operations_struct mapping_operations = {.open = mapping_open, .close = mapping_close};

static struct mapping *mapping_new(struct open_file *file) {
  struct mapping *mapping = kzalloc(sizeof *mapping, GFP_KERNEL);

  if (!mapping) return NULL;
  refcount_set(&mapping->references, 1);
  mapping->frontend = file->frontend;
  mapping->file = file->number;
  INIT_WORK(&mapping->work, unmap);
  return mapping;
}

static bool is_in_aperture(const struct frontend *frontend, u64 offset, u64 bytes) {
  return offset % PAGE_SIZE == 0 && offset >= POSTERN_VM_CONTROL_BYTES && offset < frontend->aperture_bytes &&
         bytes <= frontend->aperture_bytes - offset;
}

int mapping_make(struct open_file *file, struct vm_area_struct *vma) {
  const u64 bytes = vma->vm_end - vma->vm_start;
  struct frontend *frontend = file->frontend;
  struct operation *operation;
  struct mapping *mapping;
  s64 offset;
  int error;

  if (!(vma->vm_flags & VM_SHARED)) return -EINVAL;
  mapping = mapping_new(file);
  operation = operation_new(frontend, POSTERN_VM_MMAP);
  if (!mapping || !operation) {
    kfree(mapping);
    if (operation) operation_put(operation);
    return -ENOMEM;
  }
  operation->request.file = file->number;
  operation->request.flags = vma->vm_file->f_flags;
  operation->request.command = (vma->vm_flags & VM_READ ? 1 : 0) | (vma->vm_flags & VM_WRITE ? 2 : 0);
  operation->request.length = bytes;
  operation->request.offset = (u64)vma->vm_pgoff << PAGE_SHIFT;
  offset = operation_run(operation);
  if (offset < 0) {
    kfree(mapping);
    return offset;
  }
  mapping->offset = offset;
  if (!is_in_aperture(frontend, offset, bytes)) {
    kfree(mapping);
    return -EIO;
  }
  /* mprotect can't add what the host was not asked for. */
  if (!(vma->vm_flags & VM_WRITE)) vma->vm_flags &= ~VM_MAYWRITE;
  vma->vm_flags |= VM_DONTEXPAND | VM_DONTDUMP;
  error = remap_pfn_range(vma, vma->vm_start, (frontend->aperture + offset) >> PAGE_SHIFT, bytes, vma->vm_page_prot);
  if (error) {
    begin_unmap(mapping);
    return error;
  }
  vma->vm_private_data = mapping;
  vma->vm_ops = &mapping_operations;
  return 0;
}
