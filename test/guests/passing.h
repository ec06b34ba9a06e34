/* Descriptors that pass between drivers: a dumb buffer of a graphics card, a camera's buffers, and what fstat and poll say of them. */
#ifndef POSTERN_TEST_PASSING_H
#define POSTERN_TEST_PASSING_H

#include "video.h"

#include <libdrm/drm.h>
#include <linux/dma-buf.h>
#include <linux/sync_file.h>

#define WIDTH 320u
#define HEIGHT 180u
#define FRAME_BYTES (WIDTH * HEIGHT * 4u)

/* drm/vgem_drm.h, which no package installs. */
struct vgem_fence_attach {
  uint32_t handle, flags, out_fence, pad;
};
struct vgem_fence_signal {
  uint32_t fence, flags;
};
#define VGEM_FENCE_ATTACH _IOWR('d', 0x41, struct vgem_fence_attach)
#define VGEM_FENCE_SIGNAL _IOW('d', 0x42, struct vgem_fence_signal)
#define VGEM_FENCE_WRITE 1u

/* The card whose driver has that name. */
static inline int open_card(const char *driver) {
  for (int number = 0; number < 4; number++) {
    char path[32], name[32] = "";
    snprintf(path, sizeof path, "/dev/dri/card%d", number);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) continue;
    struct drm_version version = {.name = name, .name_len = sizeof name - 1};
    if (ioctl(fd, DRM_IOCTL_VERSION, &version) == 0 && strcmp(name, driver) == 0) return fd;
    close(fd);
  }
  say("no card of %s", driver);
  _exit(99);
}

struct dumb {
  uint32_t handle;
  size_t bytes;
  uint8_t *pixels;
};

static inline struct dumb make_dumb(int card) {
  struct drm_mode_create_dumb made = {.width = WIDTH, .height = HEIGHT, .bpp = 32};
  MUST(ioctl(card, DRM_IOCTL_MODE_CREATE_DUMB, &made));
  struct drm_mode_map_dumb mapped = {.handle = made.handle};
  MUST(ioctl(card, DRM_IOCTL_MODE_MAP_DUMB, &mapped));
  void *pixels = (void *)MUST(mmap(NULL, made.size, PROT_READ | PROT_WRITE, MAP_SHARED, card, (off_t)mapped.offset));
  return (struct dumb){made.handle, made.size, pixels};
}

/* The buffer's descriptor, or -1. */
static inline int export_handle(int card, uint32_t handle, uint32_t flags) {
  struct drm_prime_handle prime = {.handle = handle, .flags = flags, .fd = -1};
  return ioctl(card, DRM_IOCTL_PRIME_HANDLE_TO_FD, &prime) == 0 ? prime.fd : -1;
}

/* The handle that the card gives to the descriptor's buffer, or -1. */
static inline long import_fd(int card, int fd) {
  struct drm_prime_handle prime = {.fd = fd};
  return ioctl(card, DRM_IOCTL_PRIME_FD_TO_HANDLE, &prime) == 0 ? (long)prime.handle : -1;
}

/* A camera's buffer as a descriptor, or -1. */
static inline int export_buffer(int fd, unsigned index, uint32_t flags) {
  struct v4l2_exportbuffer export = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .index = index, .flags = flags};
  return ioctl(fd, VIDIOC_EXPBUF, &export) == 0 ? export.fd : -1;
}

static inline void *map_fd(int fd, size_t bytes, int protection) {
  void *mapped = mmap(NULL, bytes, protection, MAP_SHARED, fd, 0);
  return mapped == MAP_FAILED ? NULL : mapped;
}

/* Whether two descriptors are of one buffer, as programs find out. */
static inline bool is_same_file(int one, int other) {
  struct stat first, second;
  MUST(fstat(one, &first));
  MUST(fstat(other, &second));
  return first.st_ino == second.st_ino && first.st_dev == second.st_dev;
}

static inline const char *readiness(int fd, short events) {
  struct pollfd question = {.fd = fd, .events = events};
  int count = poll(&question, 1, 0);
  if (count <= 0) return count == 0 ? "none" : "failed";
  static char text[64];
  snprintf(text, sizeof text, "%s%s%s", question.revents & POLLIN ? "IN " : "", question.revents & POLLOUT ? "OUT " : "",
           question.revents & (POLLERR | POLLHUP | POLLNVAL) ? "bad" : "");
  return text;
}

#endif
