#include "descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "files.h"
#include "log.h"
#include "supervisor.h"

/* No process has so many descriptors. */
#define NO_DESCRIPTOR INT_MAX
/* Longer than the name of any kind; the rest of a file's name is its own (a dma-buf's, for instance). */
#define NAME_BYTES_MAX 64

struct descriptors {
  struct postern_descriptor *shared; /* in the arena */
  uint32_t count;
  bool kept[POSTERN_DESCRIPTORS_MAX]; /* a file is kept for what may be taken */
  struct postern_descriptor entries[POSTERN_DESCRIPTORS_MAX]; /* this process's own copy */
};

/* How the kernel's names of such files begin, in /proc/self/fd: dma_buf_fs_type, and anon_inode_getfile's argument. */
static const char *const kind_names[] = {
    [POSTERN_KIND_DMA_BUF] = "/dmabuf:",
    [POSTERN_KIND_SYNC_FILE] = "anon_inode:sync_file",
    [POSTERN_KIND_SYNCOBJ] = "anon_inode:syncobj_file",
};

static bool is_of_kind(int number, uint32_t kind) {
  char path[64], name[NAME_BYTES_MAX];
  snprintf(path, sizeof path, "/proc/self/fd/%d", number);
  ssize_t length = readlink(path, name, sizeof name);
  size_t wanted = strlen(kind_names[kind]);
  return length >= (ssize_t)wanted && memcmp(name, kind_names[kind], wanted) == 0;
}

static bool is_sound(const struct postern_descriptor *entry) {
  bool is_width = entry->width == 4 || (entry->width == 8 && entry->flow == POSTERN_LEND);
  return is_width && entry->flow <= POSTERN_TAKE && entry->kind <= POSTERN_KIND_SYNCOBJ &&
         entry->place <= POSTERN_ARENA_BYTES - entry->width;
}

static void put_number(struct backend *backend, struct postern_descriptor *entry, int number) {
  int64_t wide = number;
  memcpy(backend->arena + entry->place, &wide, entry->width);
  entry->result = number;
}

/* Makes a file of another backend process one of this process too. */
static int fetch(struct backend *backend, const struct postern_descriptor *entry) {
  pid_t process = supervisor_process(entry->channel);
  if (process == 0 || entry->source >= POSTERN_FILES_MAX) return -ENODEV;
  int pidfd = (int)syscall(SYS_pidfd_open, process, 0);
  if (pidfd < 0) return -ENODEV;
  /* Still that channel's: the number was not another process's when the pidfd was opened. */
  bool is_same = supervisor_process(entry->channel) == process;
  int copy = is_same ? (int)syscall(SYS_pidfd_getfd, pidfd, POSTERN_TAKEN_FIRST + entry->source, 0) : -1;
  close(pidfd);
  if (copy < 0) return -ENODEV;
  int result = files_reserve(backend, entry->file);
  if (result == 0) return files_adopt(backend, entry->file, copy);
  close(copy);
  return result;
}

static int lend(struct backend *backend, struct postern_descriptor *entry) {
  if (entry->file == POSTERN_FILE_NONE || entry->file == POSTERN_FILE_STRANGE) {
    put_number(backend, entry, entry->file == POSTERN_FILE_NONE ? NO_DESCRIPTOR : backend->stranger);
    return 0;
  }
  if (files_descriptor(backend, entry->file) < 0) {
    int result = fetch(backend, entry);
    if (result != 0) return result;
  }
  put_number(backend, entry, files_descriptor(backend, entry->file));
  return 0;
}

static int prepare(struct backend *backend, struct descriptors *set) {
  for (uint32_t i = 0; i < set->count; i++) {
    struct postern_descriptor *entry = &set->entries[i];
    if (!is_sound(entry)) return -EINVAL;
    int result = entry->flow == POSTERN_LEND ? lend(backend, entry) : files_reserve(backend, entry->file);
    if (result != 0) return result;
    set->kept[i] = entry->flow == POSTERN_TAKE;
  }
  return 0;
}

int descriptors_lend(struct backend *backend, const struct postern_op *op, struct descriptors **made) {
  if (backend->domain->kind != DOMAIN_VM) return -EOPNOTSUPP;
  size_t bytes = op->descriptors * sizeof(struct postern_descriptor);
  if (op->descriptors > POSTERN_DESCRIPTORS_MAX || op->descriptors_offset % sizeof(uint64_t) != 0) return -EINVAL;
  if (op->descriptors_offset > POSTERN_ARENA_BYTES || bytes > POSTERN_ARENA_BYTES - op->descriptors_offset) return -EINVAL;
  struct descriptors *set = calloc(1, sizeof *set);
  if (!set) return -ENOMEM;
  set->shared = (struct postern_descriptor *)(void *)(backend->arena + op->descriptors_offset);
  set->count = op->descriptors;
  memcpy(set->entries, set->shared, bytes);
  for (uint32_t i = 0; i < set->count; i++) set->entries[i].result = 1;
  *made = set;
  return prepare(backend, set);
}

static void describe(struct postern_descriptor *entry, int number) {
  struct stat status;
  if (fstat(number, &status) != 0) return;
  entry->open_flags = (uint32_t)fcntl(number, F_GETFL);
  entry->mode = status.st_mode;
  entry->device = status.st_dev;
  entry->inode = status.st_ino;
  entry->bytes = (uint64_t)status.st_size;
}

/* Only what is of the kind is taken, and only what was just made: what is taken already has a number from POSTERN_TAKEN_FIRST on. */
static int take(struct backend *backend, struct postern_descriptor *entry) {
  int32_t number, none = -1;
  memcpy(&number, backend->arena + entry->place, sizeof number);
  if (number < 0) return 1;
  memcpy(backend->arena + entry->place, &none, sizeof none);
  if (number >= (int32_t)POSTERN_TAKEN_FIRST || !is_of_kind(number, entry->kind)) return -EBADF;
  describe(entry, number);
  return files_adopt(backend, entry->file, number);
}

void descriptors_take(struct backend *backend, struct descriptors *set, bool succeeded) {
  for (uint32_t i = 0; i < set->count && succeeded; i++) {
    struct postern_descriptor *entry = &set->entries[i];
    if (entry->flow != POSTERN_TAKE) continue;
    entry->result = take(backend, entry);
    if (entry->result == 0) set->kept[i] = false;
    if (entry->result < 0) log_line("channel %u: a descriptor could not be taken: %s", backend->number, strerror(-entry->result));
  }
}

void descriptors_end(struct backend *backend, struct descriptors *set) {
  if (!set) return;
  for (uint32_t i = 0; i < set->count; i++) {
    if (set->kept[i]) files_forget(backend, set->entries[i].file);
  }
  memcpy(set->shared, set->entries, set->count * sizeof *set->shared);
  free(set);
}
