/* SPDX-License-Identifier: GPL-2.0-only */
/* The frontend of a guest VM: device files whose operations another machine serves.
 *
 *   main.c      the PCI device: the aperture, the doorbell, the interrupt
 *   nodes.c     the device files, as the host's table names them
 *   files.c     what programs do with them: where an ioctl enters
 *   ring.c      an operation's way to the host and back
 *   memory.c    the caller's pages, held while the host works on them
 *   mappings.c  driver pages in the caller's address space
 *
 * Nothing here knows a device class: names, numbers and texts are the host's, commands and arguments go through as they are.
 */
#ifndef POSTERN_FRONTEND_H
#define POSTERN_FRONTEND_H

#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/pci.h>
#include <linux/poll.h>
#include <linux/refcount.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "vm_frontend.h"

/* What one operation may hold of the caller's memory: all that a plan may grant, and pages half used at both ends of each range. */
#define PINNED_PAGES_MAX 4096u

struct frontend {
  struct pci_dev *pci;
  void __iomem *registers;
  struct postern_vm_control *control; /* the aperture's first MiB */
  phys_addr_t aperture;
  u64 aperture_bytes;
  struct postern_vm_ring *ring;
  spinlock_t lock; /* slots, operations, files */
  DECLARE_BITMAP(slots, POSTERN_VM_SLOTS);
  struct operation *operation[POSTERN_VM_SLOTS];
  struct open_file *file[POSTERN_VM_FILES_MAX];
  wait_queue_head_t slot_free;
  u64 next_sequence;
  bool gone; /* the device is being taken away */
  /* With the lock: what the host was asked last, when, and whether it has let that go unanswered. */
  u32 asked;
  unsigned long asked_at;
  bool silent;
  /* How long the next answer is looked for before its caller sleeps, and how many have slept at once since that last paid. */
  u32 spin_us, sleepers;
  struct workqueue_struct *work;
  atomic_t unmapping; /* mappings that have gone here and that the host has not been told of */
  wait_queue_head_t unmapped;
  struct node *nodes;
  u32 node_count;
  struct node_class *classes;
  struct node_bus *buses;
  struct kobject *bus_folder;
};

/* One open file. */
struct open_file {
  struct frontend *frontend;
  u32 number;
  u32 ready; /* as last told */
  wait_queue_head_t wait;
  struct fasync_struct *fasync;
};

enum operation_state { OPERATION_POSTED, OPERATION_NEEDS, OPERATION_ANSWERED };

/* One operation, from its entry to its answer. The caller and the interrupt share it; a killed caller leaves it to the interrupt. */
struct operation {
  refcount_t references;
  struct frontend *frontend;
  u32 slot;
  enum operation_state state;
  bool abandoned;
  struct postern_vm_request request;
  struct postern_vm_answer answer;
  struct postern_vm_range range[POSTERN_VM_RANGES_MAX];
  wait_queue_head_t wait;
  struct page **pages;
  u32 pages_pinned;
  struct file *files[POSTERN_VM_DESCRIPTORS_MAX]; /* that the caller's descriptors lead to */
  struct postern_vm_range resolved[POSTERN_VM_DESCRIPTORS_MAX];
  struct work_struct late; /* posts it when there is a slot */
  struct open_file *leaving; /* whose number is free when the operation has ended */
};

/* ring.c */
struct operation *operation_new(struct frontend *frontend, u32 kind);
void operation_put(struct operation *operation);
/* Posts the operation and waits for its answer: a value, or a negative errno. A kill ends the wait; the operation is then finished
 * without its caller. Consumes the caller's reference. */
s64 operation_run(struct operation *operation);
/* The same for what must be told to the host whoever is being killed: waits at most `jiffies`, and is never lost while the host serves. */
void operation_tell(struct operation *operation, unsigned long jiffies);
void ring_interrupt(struct frontend *frontend);
/* The device goes away: every waiter gets ENODEV. */
void ring_shut(struct frontend *frontend);
/* Afterwards: what was left to the interrupt is nobody's any more. */
void ring_drop_operations(struct frontend *frontend);
bool host_serves(struct frontend *frontend);
/* Wakes a host that sleeps, whatever it waits for. */
void ring_call(struct frontend *frontend);

/* memory.c */
int memory_pin(struct operation *operation, u64 address, u64 bytes, bool writes);
void memory_unpin(struct operation *operation);

/* files.c */
/* Tells the host what the caller's descriptor is, and keeps the file until the operation ends. 0 or a negative errno. */
int file_resolve(struct operation *operation, int descriptor);
/* Makes a descriptor of a file that a driver has made. 0 or a negative errno; the host is told when there is none. */
int file_install(struct operation *operation, const struct postern_vm_range *made);
/* Tells the host that nobody has the file. */
void file_refuse(struct frontend *frontend, u32 number);
/* Forgets the file; its number may be taken again. */
void file_drop(struct open_file *file);
extern const struct file_operations frontend_files;
void file_wake(struct open_file *file);

/* mappings.c */
/* What has been unmapped is unmapped for the host too, before what comes next. */
void mapping_settle(struct frontend *frontend);
/* Tells the host that nobody has the pages. */
void mapping_refuse(struct frontend *frontend, u64 offset);
int mapping_make(struct open_file *file, struct vm_area_struct *vma);

/* nodes.c */
struct node {
  struct cdev cdev;
  bool begun, added, registered;
  struct frontend *frontend;
  u32 index;
  dev_t number;
  char name[64];
  struct device *device;
  struct node_text *texts;
  struct attribute_group **groups;
  struct node_text *uevent; /* lines beside the kernel's own */
  u32 text_count;
  bool is_of_class;
  bool linked;  /* to its bus */
};
int nodes_make(struct frontend *frontend);
void nodes_drop(struct frontend *frontend);

#endif
