// SPDX-License-Identifier: GPL-2.0-only
/* What programs do with the device files: here an ioctl of a guest VM enters. */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "frontend.h"

/* A close waits this long for the driver's own; what comes later comes all the same. */
#define RELEASE_WAIT (HZ / 2)

void file_wake(struct open_file *file) {
  const u32 ready = READ_ONCE(file->ready);

  wake_up_poll(&file->wait, ready | EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLERR | EPOLLHUP);
  kill_fasync(&file->fasync, SIGIO, (ready & EPOLLOUT) && !(ready & EPOLLIN) ? POLL_OUT : POLL_IN);
}

static int file_number(struct frontend *frontend, struct open_file *file) {
  int number, error = -EMFILE;
  unsigned long flags;

  spin_lock_irqsave(&frontend->lock, flags);
  for (number = 0; number < POSTERN_VM_FILES_MADE && error; number++) {
    if (frontend->file[number]) continue;
    frontend->file[number] = file;
    file->number = number;
    error = 0;
  }
  spin_unlock_irqrestore(&frontend->lock, flags);
  return error;
}

void file_drop(struct open_file *file) {
  unsigned long flags;

  spin_lock_irqsave(&file->frontend->lock, flags);
  file->frontend->file[file->number] = NULL;
  spin_unlock_irqrestore(&file->frontend->lock, flags);
  kfree(file);
}

void file_refuse(struct frontend *frontend, u32 number) {
  struct operation *operation = operation_new(frontend, POSTERN_VM_RELEASE);

  if (!operation) return;
  operation->request.file = number;
  operation_tell(operation, 0);
}

int file_resolve(struct operation *operation, int descriptor) {
  struct postern_vm_range *resolved = &operation->resolved[operation->request.resolved];
  struct file *file;

  if (operation->request.resolved == POSTERN_VM_DESCRIPTORS_MAX) return -EMFILE;
  file = fget(descriptor);
  resolved->address = descriptor;
  resolved->kind = POSTERN_VM_DESCRIPTOR;
  resolved->bytes = POSTERN_VM_FILE_NONE;
  if (file && file->f_op == &frontend_files) {
    struct open_file *opened = file->private_data;

    resolved->bytes = opened->frontend == operation->frontend ? opened->number : POSTERN_VM_FILE_STRANGE;
  } else if (file) {
    resolved->bytes = POSTERN_VM_FILE_STRANGE;
  }
  operation->files[operation->request.resolved++] = file;
  return 0;
}

/* The number must be the host's to give, and free. */
static int take_number(struct frontend *frontend, struct open_file *file, u32 number) {
  int error = -EIO;
  unsigned long flags;

  if (number < POSTERN_VM_FILES_MADE || number >= POSTERN_VM_FILES_MAX) return error;
  spin_lock_irqsave(&frontend->lock, flags);
  if (!frontend->file[number]) {
    frontend->file[number] = file;
    file->number = number;
    error = 0;
  }
  spin_unlock_irqrestore(&frontend->lock, flags);
  return error;
}

static struct file *file_made(struct frontend *frontend, u32 number) {
  struct open_file *opened = kzalloc(sizeof *opened, GFP_KERNEL);
  struct file *file;
  int error;

  if (!opened) return ERR_PTR(-ENOMEM);
  opened->frontend = frontend;
  init_waitqueue_head(&opened->wait);
  error = take_number(frontend, opened, number);
  if (error) {
    kfree(opened);
    return ERR_PTR(error);
  }
  file = anon_inode_getfile("[postern]", &frontend_files, opened, O_RDWR);
  if (IS_ERR(file)) file_drop(opened);
  else file->f_mode |= FMODE_LSEEK;
  return file;
}

int file_install(struct operation *operation, const struct postern_vm_range *made) {
  const int descriptor = get_unused_fd_flags(made->kind == POSTERN_VM_INSTALL_CLOEXEC ? O_CLOEXEC : 0);
  struct file *file = descriptor < 0 ? ERR_PTR(descriptor) : file_made(operation->frontend, made->bytes);

  if (IS_ERR(file)) {
    if (descriptor >= 0) put_unused_fd(descriptor);
    file_refuse(operation->frontend, made->bytes);
    return PTR_ERR(file);
  }
  fd_install(descriptor, file);
  return put_user(descriptor, (s32 __user *)made->address);
}

static struct operation *operation_on(struct file *file, u32 kind) {
  struct open_file *opened = file->private_data;
  struct operation *operation = operation_new(opened->frontend, kind);

  if (!operation) return NULL;
  operation->request.file = opened->number;
  operation->request.flags = file->f_flags;
  return operation;
}

static int frontend_open(struct inode *inode, struct file *file) {
  struct node *node = container_of(inode->i_cdev, struct node, cdev);
  struct open_file *opened = kzalloc(sizeof *opened, GFP_KERNEL);
  struct operation *operation;
  s64 result;

  if (!opened) return -ENOMEM;
  opened->frontend = node->frontend;
  init_waitqueue_head(&opened->wait);
  result = file_number(node->frontend, opened);
  if (result) {
    kfree(opened);
    return result;
  }
  WRITE_ONCE(node->frontend->ring->ready[opened->number], 0);
  file->private_data = opened;
  operation = operation_on(file, POSTERN_VM_OPEN);
  if (!operation) {
    file_drop(opened);
    return -ENOMEM;
  }
  operation->request.device = node->index;
  /* Of a caller that is killed, the number stays taken until the host is done with it. */
  operation->leaving = opened;
  refcount_inc(&operation->references);
  result = operation_run(operation);
  if (result >= 0) operation->leaving = NULL;
  operation_put(operation);
  return result < 0 ? result : nonseekable_open(inode, file);
}

static int frontend_fasync(int descriptor, struct file *file, int on) {
  struct open_file *opened = file->private_data;

  return fasync_helper(descriptor, file, on, &opened->fasync);
}

static int frontend_release(struct inode *inode, struct file *file) {
  struct open_file *opened = file->private_data;
  struct operation *operation = operation_on(file, POSTERN_VM_RELEASE);

  mapping_settle(opened->frontend);
  frontend_fasync(-1, file, 0);
  /* A number of the frontend's is free when the host has closed the file; one of the host's, as soon as it may give it again. */
  if (operation && opened->number < POSTERN_VM_FILES_MADE) operation->leaving = opened;
  else file_drop(opened);
  if (operation) operation_tell(operation, RELEASE_WAIT);
  return 0;
}

static long frontend_ioctl(struct file *file, unsigned int command, unsigned long argument) {
  struct operation *operation = operation_on(file, POSTERN_VM_IOCTL);

  if (!operation) return -ENOMEM;
  operation->request.command = command;
  operation->request.argument = argument;
  /* Most commands say how much the driver reads and writes of what the argument points to. Where that is no address, the host says so. */
  if (_IOC_DIR(command) != _IOC_NONE) (void)memory_pin(operation, argument, _IOC_SIZE(command), _IOC_DIR(command) & _IOC_READ);
  return operation_run(operation);
}

/* A 32-bit program's structures are laid out otherwise; the classes know the native ones only. */
static long frontend_compat_ioctl(struct file *file, unsigned int command, unsigned long argument) {
  pr_info_once("postern: ioctl commands of 32-bit programs are not served\n");
  return -ENOTTY;
}

static ssize_t transfer(struct file *file, u32 kind, u64 buffer, size_t bytes) {
  struct operation *operation = operation_on(file, kind);

  if (!operation) return -ENOMEM;
  operation->request.argument = buffer;
  operation->request.length = bytes;
  (void)memory_pin(operation, buffer, min_t(size_t, bytes, POSTERN_VM_BUFFER_BYTES_MAX), kind == POSTERN_VM_READ);
  return operation_run(operation);
}

static ssize_t frontend_read(struct file *file, char __user *buffer, size_t bytes, loff_t *offset) {
  return transfer(file, POSTERN_VM_READ, (u64)buffer, bytes);
}

static ssize_t frontend_write(struct file *file, const char __user *buffer, size_t bytes, loff_t *offset) {
  return transfer(file, POSTERN_VM_WRITE, (u64)buffer, bytes);
}

static __poll_t frontend_poll(struct file *file, poll_table *table) {
  struct open_file *opened = file->private_data;

  poll_wait(file, &opened->wait, table);
  if (!host_serves(opened->frontend)) return EPOLLIN | EPOLLERR | EPOLLHUP;
  return READ_ONCE(opened->frontend->ring->ready[opened->number]) & (EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLRDNORM | EPOLLWRNORM | EPOLLRDBAND);
}

/* Only of what drivers make: the device files themselves are opened as not seekable. */
static loff_t frontend_seek(struct file *file, loff_t offset, int from) {
  struct operation *operation = operation_on(file, POSTERN_VM_SEEK);

  if (!operation) return -ENOMEM;
  operation->request.offset = offset;
  operation->request.command = from;
  return operation_run(operation);
}

static int frontend_mmap(struct file *file, struct vm_area_struct *vma) {
  return mapping_make(file->private_data, vma);
}

const struct file_operations frontend_files = {
  .owner = THIS_MODULE,
  .open = frontend_open,
  .release = frontend_release,
  .unlocked_ioctl = frontend_ioctl,
  .compat_ioctl = frontend_compat_ioctl,
  .read = frontend_read,
  .write = frontend_write,
  .poll = frontend_poll,
  .mmap = frontend_mmap,
  .fasync = frontend_fasync,
  .llseek = frontend_seek,
};
