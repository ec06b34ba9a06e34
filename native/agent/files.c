#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "watch.h"

/* Longest device path below /dev, with the NUL; the kernel's own device names are far shorter. */
#define PATH_BYTES_MAX 256
/* The flags that mean something for an existing device. O_CREAT, O_TRUNC, O_PATH and the like are left out. */
#define OPEN_FLAGS_KEPT (O_ACCMODE | O_NONBLOCK | O_APPEND | O_DSYNC | O_SYNC | O_DIRECT | O_LARGEFILE | O_EXCL)

void files_initialise(struct backend *backend) {
  for (uint32_t i = 0; i < POSTERN_FILES_MAX; i++) {
    struct file *file = &backend->files[i];
    pthread_mutex_init(&file->lock, NULL);
    pthread_cond_init(&file->drained, NULL);
    file->state = FILE_FREE;
    file->descriptor = -1;
  }
}

static int copy_path(const struct backend *backend, uint32_t head_offset, char path[PATH_BYTES_MAX]) {
  if (head_offset >= POSTERN_ARENA_BYTES) return -EINVAL;
  size_t room = POSTERN_ARENA_BYTES - head_offset;
  if (room > PATH_BYTES_MAX) room = PATH_BYTES_MAX;
  memcpy(path, backend->arena + head_offset, room);
  if (!memchr(path, 0, room) || path[0] == 0) return -EINVAL;
  return 0;
}

/* Opens below /dev and nowhere else: the kernel refuses absolute paths, "..", and /proc's magic links. */
static int open_below_dev(const struct backend *backend, const char *path, uint32_t flags) {
  struct open_how how = {
      .flags = (flags & OPEN_FLAGS_KEPT) | O_CLOEXEC | O_NOCTTY,
      .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
  };
  int descriptor = (int)syscall(SYS_openat2, backend->domain->dev, path, &how, sizeof how);
  if (descriptor < 0) return errno == EXDEV || errno == ELOOP ? -EINVAL : -errno;
  struct stat status;
  if (fstat(descriptor, &status) == 0 && S_ISCHR(status.st_mode)) return descriptor;
  close(descriptor);
  return -ENODEV;
}

static int reserve(struct file *file) {
  pthread_mutex_lock(&file->lock);
  int result = file->state == FILE_FREE ? 0 : -EBUSY;
  if (result == 0) file->state = FILE_OPENING;
  pthread_mutex_unlock(&file->lock);
  return result;
}

/* The end of a reservation: the file is open, or (-1) its number free. */
static void settle(struct file *file, int descriptor) {
  pthread_mutex_lock(&file->lock);
  file->state = descriptor >= 0 ? FILE_OPEN : FILE_FREE;
  file->descriptor = descriptor;
  file->status_flags = descriptor >= 0 ? fcntl(descriptor, F_GETFL) : 0;
  file->watched = file->posted = 0;
  pthread_mutex_unlock(&file->lock);
}

int64_t files_open(struct backend *backend, const struct postern_op *op) {
  char path[PATH_BYTES_MAX];
  if (op->file >= POSTERN_FILES_MAX) return -EINVAL;
  int result = copy_path(backend, op->head_offset, path);
  if (result != 0) return result;
  struct file *file = &backend->files[op->file];
  result = reserve(file);
  if (result != 0) return result;
  int descriptor = open_below_dev(backend, path, op->command);
  settle(file, descriptor);
  return descriptor >= 0 ? 0 : descriptor;
}

int64_t files_release(struct backend *backend, uint32_t number) {
  if (number >= POSTERN_FILES_MAX) return -EBADF;
  struct file *file = &backend->files[number];
  pthread_mutex_lock(&file->lock);
  if (file->state != FILE_OPEN) {
    pthread_mutex_unlock(&file->lock);
    return -EBADF;
  }
  file->state = FILE_CLOSING;
  watch_clear(backend, file);
  while (file->users > 0) pthread_cond_wait(&file->drained, &file->lock);
  int descriptor = file->descriptor;
  file->descriptor = -1;
  pthread_mutex_unlock(&file->lock);
  int64_t result = close(descriptor) == 0 ? 0 : -errno;
  pthread_mutex_lock(&file->lock);
  file->state = FILE_FREE;
  pthread_mutex_unlock(&file->lock);
  return result;
}

int files_reserve(struct backend *backend, uint32_t number) {
  return number < POSTERN_FILES_MAX ? reserve(&backend->files[number]) : -EINVAL;
}

void files_forget(struct backend *backend, uint32_t number) { settle(&backend->files[number], -1); }

int files_adopt(struct backend *backend, uint32_t number, int descriptor) {
  int placed = dup3(descriptor, (int)(POSTERN_TAKEN_FIRST + number), O_CLOEXEC);
  int result = placed >= 0 ? 0 : -errno;
  close(descriptor);
  settle(&backend->files[number], placed);
  return result;
}

int files_descriptor(struct backend *backend, uint32_t number) {
  if (number >= POSTERN_FILES_MAX) return -1;
  struct file *file = &backend->files[number];
  pthread_mutex_lock(&file->lock);
  int descriptor = file->state == FILE_OPEN ? file->descriptor : -1;
  pthread_mutex_unlock(&file->lock);
  return descriptor;
}

static void match_nonblock(struct file *file, bool nonblock) {
  int wanted = nonblock ? file->status_flags | O_NONBLOCK : file->status_flags & ~O_NONBLOCK;
  if (wanted == file->status_flags) return;
  if (fcntl(file->descriptor, F_SETFL, wanted) == 0) file->status_flags = wanted;
}

int64_t files_hold(struct backend *backend, const struct postern_op *op, struct file **held) {
  if (op->file >= POSTERN_FILES_MAX) return -EBADF;
  struct file *file = &backend->files[op->file];
  pthread_mutex_lock(&file->lock);
  bool is_open = file->state == FILE_OPEN;
  if (is_open) {
    file->users++;
    /* Mapping and watching don't depend on O_NONBLOCK: their flags say nothing about it. */
    if (op->kind != POSTERN_OP_MMAP && op->kind != POSTERN_OP_WATCH) {
      match_nonblock(file, op->flags & POSTERN_OP_NONBLOCK);
    }
    *held = file;
  }
  pthread_mutex_unlock(&file->lock);
  return is_open ? 0 : -EBADF;
}

void files_let_go(struct file *file) {
  if (--file->users == 0) pthread_cond_broadcast(&file->drained);
}
