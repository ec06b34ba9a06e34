#include "channels.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pagemap.h"

static int list_pages(struct domain *domain, size_t bytes) {
  size_t count = bytes / POSTERN_PAGE_BYTES;
  domain->pages = calloc(count, sizeof *domain->pages);
  if (!domain->pages) return -ENOMEM;
  int pagemap = pagemap_open();
  if (pagemap < 0) return pagemap;
  int result = pagemap_addresses(pagemap, domain->memory, count, domain->pages);
  close(pagemap);
  return result;
}

int channels_allocate(struct domain *domain, uint32_t channels) {
  size_t bytes = (size_t)channels * POSTERN_CHANNEL_BYTES;
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return -errno;
  memset(memory, 0, bytes);
  if (mlock(memory, bytes) != 0) return -errno;
  domain->memory = memory;
  domain->channels = channels;
  return list_pages(domain, bytes);
}

int channels_map(struct domain *domain, int descriptor) {
  struct stat status;
  if (fstat(descriptor, &status) != 0) return -errno;
  uint64_t channels = (uint64_t)status.st_size / POSTERN_CHANNEL_BYTES;
  if (channels == 0 || channels > POSTERN_CHANNELS_MAX) return -EINVAL;
  size_t bytes = (size_t)channels * POSTERN_CHANNEL_BYTES;
  void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (memory == MAP_FAILED) return -errno;
  domain->memory = memory;
  domain->channels = (uint32_t)channels;
  return 0;
}

void channels_keep_only(const struct domain *domain, uint32_t number) {
  size_t before = (size_t)number * POSTERN_CHANNEL_BYTES;
  size_t after = (size_t)(domain->channels - number - 1) * POSTERN_CHANNEL_BYTES;
  if (before > 0) munmap(domain->memory, before);
  if (after > 0) munmap(domain->memory + before + POSTERN_CHANNEL_BYTES, after);
  /* Populated now, so that the first operations don't fault page by page. It is an optimisation: failure is harmless. */
  madvise(domain->memory + before, POSTERN_CHANNEL_BYTES, MADV_POPULATE_WRITE);
}

void channels_clear(const struct domain *domain, uint32_t number) {
  struct postern_channel *channel = domain_channel(domain, number);
  size_t state_bytes = sizeof channel->state;
  memset((uint8_t *)channel + state_bytes, 0, POSTERN_CHANNEL_BYTES - state_bytes);
}

void channels_wake_backend(const struct domain *domain, uint32_t number) {
  /* Not FUTEX_PRIVATE_FLAG: the sleeper is another process. */
  syscall(SYS_futex, &domain_channel(domain, number)->submit_tail, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

void channels_wake_host(const struct domain *domain, uint32_t number) {
  ssize_t written;
  do {
    if (domain->events[number] >= 0) {
      uint64_t one = 1;
      written = write(domain->events[number], &one, sizeof one);
    } else {
      written = write(domain->doorbell, &number, sizeof number);
    }
  } while (written < 0 && errno == EINTR);
}
