#include "mappings.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "frames.h"
#include "log.h"
#include "pagemap.h"

static int64_t check(const struct backend *backend, const struct postern_op *op) {
  if (op->argument >= POSTERN_MAPPINGS_MAX) return -EINVAL;
  if (backend->mappings[op->argument].bytes != 0) return -EBUSY;
  if (op->length == 0 || op->length % POSTERN_PAGE_BYTES != 0) return -EINVAL;
  if (op->head_offset % sizeof(uint64_t) != 0 || op->head_offset > POSTERN_ARENA_BYTES) return -EINVAL;
  uint64_t room = (POSTERN_ARENA_BYTES - op->head_offset) / sizeof(uint64_t);
  if (op->length / POSTERN_PAGE_BYTES > room) return -EINVAL;
  /* Without the pages' numbers (local domain) the host can't map them into a guest. */
  return backend->pagemap >= 0 ? 0 : -EOPNOTSUPP;
}

static void *map(const struct file *file, const struct postern_op *op) {
  int protection = (int)op->command & (PROT_READ | PROT_WRITE);
  return mmap(NULL, op->length, protection, MAP_SHARED | MAP_POPULATE, file->descriptor, (off_t)op->offset);
}

/* The mapping once more, while the making of its page table entries is watched: for those that pagemap shows no frames of. */
static int64_t map_watched(const struct file *file, const struct postern_op *op, uint64_t *addresses, void **address) {
  struct frames *frames = frames_watch();
  if (!frames) {
    log_line("pages without a number in pagemap can't be named: no kprobe event: %s", strerror(errno));
    return -EOPNOTSUPP;
  }
  *address = map(file, op);
  int64_t result = *address == MAP_FAILED ? -errno : 0;
  if (result == 0) {
    result = frames_addresses(frames, *address, op->length / POSTERN_PAGE_BYTES, addresses);
    if (result != 0) munmap(*address, op->length);
    if (result == -EOPNOTSUPP) log_line("no mmap: the driver's pages are none that stay in place in the VM's memory (a buffer that moves, memory of a device)");
  }
  frames_end(frames);
  return result;
}

int64_t mappings_map(struct backend *backend, const struct file *file, const struct postern_op *op) {
  int64_t result = check(backend, op);
  if (result != 0) return result;
  void *address = map(file, op);
  if (address == MAP_FAILED) return -errno;
  size_t pages = op->length / POSTERN_PAGE_BYTES;
  uint64_t *addresses = (uint64_t *)(void *)(backend->arena + op->head_offset);
  result = pagemap_addresses(backend->pagemap, address, pages, addresses);
  if (result != 0) munmap(address, op->length);
  if (result == -EOPNOTSUPP) result = map_watched(file, op, addresses, &address);
  if (result != 0) return result;
  backend->mappings[op->argument] = (struct mapping){.address = address, .bytes = op->length};
  return (int64_t)pages;
}

int64_t mappings_unmap(struct backend *backend, uint64_t number) {
  if (number >= POSTERN_MAPPINGS_MAX || backend->mappings[number].bytes == 0) return -EINVAL;
  struct mapping mapping = backend->mappings[number];
  backend->mappings[number].bytes = 0;
  return munmap(mapping.address, mapping.bytes) == 0 ? 0 : -errno;
}
