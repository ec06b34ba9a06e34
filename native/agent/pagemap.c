#include "pagemap.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "../protocol/protocol.h"

#define PAGEMAP_PRESENT (1ull << 63)
#define PAGEMAP_NUMBER_MASK ((1ull << 55) - 1)

int pagemap_open(void) {
  int descriptor = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  return descriptor >= 0 ? descriptor : -errno;
}

static int read_entries(int pagemap, uint64_t first, size_t count, uint64_t *entries) {
  size_t bytes = count * sizeof *entries, done = 0;
  while (done < bytes) {
    ssize_t got = pread(pagemap, (char *)entries + done, bytes - done, (off_t)(first * sizeof *entries + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return -errno;
    if (got == 0) return -EOPNOTSUPP;
    done += (size_t)got;
  }
  return 0;
}

int pagemap_addresses(int pagemap, const void *start, size_t count, uint64_t *addresses) {
  int result = read_entries(pagemap, (uintptr_t)start / POSTERN_PAGE_BYTES, count, addresses);
  if (result != 0) return result;
  for (size_t i = 0; i < count; i++) {
    uint64_t number = addresses[i] & PAGEMAP_NUMBER_MASK;
    if (!(addresses[i] & PAGEMAP_PRESENT) || number == 0) return -EOPNOTSUPP;
    addresses[i] = number * POSTERN_PAGE_BYTES;
  }
  return 0;
}
