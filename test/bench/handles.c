/* A guest with many handles: buffers of a graphics card. Each operation names one of them, another one each time.
 * Usage: handles DEVICE HANDLES
 * Standard input: a line with how many operations to make, again and again; its end is the end. It prints `ready`, then for each line
 * `median NS p99 NS`. */
#include <fcntl.h>
#include <libdrm/drm.h>
#include <libdrm/drm_mode.h>
#include <sys/ioctl.h>

#include "timing.h"

enum { HANDLES_MAX = 1 << 16, OPERATIONS_MAX = 1 << 20, STRIDE = 769 };

static unsigned handles[HANDLES_MAX];
static double samples[OPERATIONS_MAX];

static void must(int holds, const char *what) {
  if (holds) return;
  perror(what);
  exit(1);
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  const int count = atoi(argv[2]);
  if (count < 1 || count > HANDLES_MAX) return 2;
  const int device = open(argv[1], O_RDWR);
  must(device >= 0, argv[1]);
  for (int i = 0; i < count; i++) {
    struct drm_mode_create_dumb create = {.width = 32, .height = 32, .bpp = 32};
    must(ioctl(device, DRM_IOCTL_MODE_CREATE_DUMB, &create) == 0, "DRM_IOCTL_MODE_CREATE_DUMB");
    handles[i] = create.handle;
  }
  printf("ready\n");
  fflush(stdout);
  int operations;
  while (scanf("%d", &operations) == 1 && operations > 0 && operations <= OPERATIONS_MAX) {
    for (int i = 0; i < operations; i++) {
      struct drm_mode_map_dumb map = {.handle = handles[(long)i * STRIDE % count]};
      const double start = timing_now();
      must(ioctl(device, DRM_IOCTL_MODE_MAP_DUMB, &map) == 0, "DRM_IOCTL_MODE_MAP_DUMB");
      samples[i] = timing_now() - start;
    }
    qsort(samples, (size_t)operations, sizeof *samples, timing_compare);
    printf("median %.1f p99 %.1f\n", samples[operations / 2], samples[(size_t)operations * 99 / 100]);
    fflush(stdout);
  }
  return 0;
}
