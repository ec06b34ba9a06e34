/* A client of a DRM device that tries what a guest may and may not do, and says what came of it: a line each, `name result`. */
#include <errno.h>
#include <fcntl.h>
#include <libdrm/drm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/* Two thousand pages, more than are looked at in one go, and odd enough to be scattered. */
#define WIDTH 1501
#define HEIGHT 1301
#define SCAN_LAST 64

static int card;

static void say(const char *name, int result) { printf("%s %s\n", name, result < 0 ? strerrorname_np(errno) : "ok"); }

static int command(unsigned long number, void *argument) { return ioctl(card, number, argument); }

static uint32_t *map(uint64_t offset, size_t bytes) {
  uint32_t *pixels = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, card, (off_t)offset);
  return pixels == MAP_FAILED ? NULL : pixels;
}

/* Both mappings of one buffer must be the same pages, each in its place. */
static void check_pages(uint64_t offset, size_t bytes) {
  uint32_t *one = map(offset, bytes), *other = map(offset, bytes);
  say("map", one && other ? 0 : -1);
  if (!one || !other) return;
  for (size_t i = 0; i < bytes / 4; i++) one[i] = (uint32_t)i * 2654435761u;
  int wrong = 0;
  for (size_t i = 0; i < bytes / 4; i++) wrong |= other[i] != (uint32_t)i * 2654435761u;
  printf("pages %s\n", wrong ? "differ" : "ok");
}

static uint32_t make_buffer(void) {
  struct drm_mode_create_dumb made = {.width = WIDTH, .height = HEIGHT, .bpp = 32};
  say("create", command(DRM_IOCTL_MODE_CREATE_DUMB, &made));
  struct drm_mode_map_dumb mapped = {.handle = made.handle};
  say("ask-offset", command(DRM_IOCTL_MODE_MAP_DUMB, &mapped));
  check_pages(mapped.offset, made.size);
  return made.handle;
}

/* Names are the device's, given out from 1 on: whoever made one may open it. */
static void share_by_name(uint32_t handle) {
  struct drm_gem_flink flink = {.handle = handle};
  say("flink", command(DRM_IOCTL_GEM_FLINK, &flink));
  struct drm_gem_open mine = {.name = flink.name};
  say("open-own-name", command(DRM_IOCTL_GEM_OPEN, &mine));
}

static void hold_buffer(void) {
  share_by_name(make_buffer());
  fflush(stdout);
  getchar();
}

/* How many of the numbers from 1 to SCAN_LAST some command accepts. */
static void scan(const char *name, unsigned long number, void *argument, size_t bytes, size_t at) {
  uint8_t sample[256];
  int accepted = 0;
  for (uint32_t value = 1; value <= SCAN_LAST; value++) {
    memcpy(sample, argument, bytes);
    memcpy(sample + at, &value, sizeof value);
    accepted += command(number, sample) == 0;
  }
  printf("%s %d\n", name, accepted);
}

static void scan_others(void) {
  struct drm_gem_open by_name = {0};
  struct drm_mode_fb_cmd frame = {0};
  struct drm_auth magic = {0};
  scan("foreign-names", DRM_IOCTL_GEM_OPEN, &by_name, sizeof by_name, 0);
  scan("foreign-frames", DRM_IOCTL_MODE_GETFB, &frame, sizeof frame, 0);
  scan("foreign-magics", DRM_IOCTL_AUTH_MAGIC, &magic, sizeof magic, 0);
  int mapped = 0;
  for (uint64_t page = 0; page < 0x200000; page += 0x100) mapped += map((0x100000 + page) << 12, 4096) != NULL;
  printf("foreign-offsets %d\n", mapped);
}

/* The kernel writes -1 to the address that is the value of a fence property: none may be set. */
static void set_every_property(void) {
  uint32_t crtcs[8] = {0};
  struct drm_mode_card_res resources = {.crtc_id_ptr = (uintptr_t)crtcs, .count_crtcs = 8};
  say("resources", command(DRM_IOCTL_MODE_GETRESOURCES, &resources));
  struct drm_set_client_cap atomic = {.capability = DRM_CLIENT_CAP_ATOMIC, .value = 1};
  say("atomic", command(DRM_IOCTL_SET_CLIENT_CAP, &atomic));
  int fences = 0, refused = 0;
  for (uint32_t id = 1; id <= SCAN_LAST; id++) {
    struct drm_mode_get_property property = {.prop_id = id};
    if (command(DRM_IOCTL_MODE_GETPROPERTY, &property) != 0 || !strstr(property.name, "FENCE")) continue;
    static int32_t fence;
    struct drm_mode_obj_set_property set = {.value = (uintptr_t)&fence, .prop_id = id, .obj_id = crtcs[0]};
    fences++;
    refused += command(DRM_IOCTL_MODE_OBJ_SETPROPERTY, &set) != 0 && errno == EACCES;
  }
  printf("fences %s\n", fences > 0 && fences == refused ? "refused" : "accepted");
}

static void pass_descriptors(uint32_t handle) {
  struct drm_prime_handle prime = {.handle = handle};
  say("export", command(DRM_IOCTL_PRIME_HANDLE_TO_FD, &prime));
  struct drm_prime_handle import = {.fd = 0};
  say("import", command(DRM_IOCTL_PRIME_FD_TO_HANDLE, &import));
}

/* A framebuffer of a small buffer; the kernel gives the least number that is free. */
static uint32_t make_frame(void) {
  struct drm_mode_create_dumb made = {.width = 64, .height = 64, .bpp = 32};
  say("create", command(DRM_IOCTL_MODE_CREATE_DUMB, &made));
  struct drm_mode_fb_cmd frame = {.width = 64, .height = 64, .pitch = made.pitch, .bpp = 32, .depth = 24, .handle = made.handle};
  say("frame", command(DRM_IOCTL_MODE_ADDFB, &frame));
  printf("number %u\n", frame.fb_id);
  return frame.fb_id;
}

/* A number that was one's own names the framebuffer of another guest later. */
static void use_old_number(void) {
  uint32_t number = make_frame();
  say("remove", command(DRM_IOCTL_MODE_RMFB, &number));
  fflush(stdout);
  getchar();
  struct drm_mode_fb_cmd frame = {.fb_id = number};
  say("look-at-it", command(DRM_IOCTL_MODE_GETFB, &frame));
  say("remove-again", command(DRM_IOCTL_MODE_RMFB, &number));
}

/* The driver gives the least number that is free, and others come and go meanwhile: frames are made until one has the number. */
static void hold_frame(uint32_t wanted) {
  for (int i = 0; i < 16 && make_frame() != wanted; i++) continue;
  puts("held ok");
  fflush(stdout);
  getchar();
}

int main(int count, char **arguments) {
  if (count != 3 || (card = open(arguments[1], O_RDWR | O_CLOEXEC)) < 0) return 2;
  if (strcmp(arguments[2], "own") == 0) {
    uint32_t handle = make_buffer();
    share_by_name(handle);
    set_every_property();
    pass_descriptors(handle);
  } else if (strcmp(arguments[2], "hold") == 0) {
    hold_buffer();
  } else if (strcmp(arguments[2], "old-number") == 0) {
    use_old_number();
  } else if (strncmp(arguments[2], "hold-frame=", 11) == 0) {
    hold_frame((uint32_t)strtoul(arguments[2] + 11, NULL, 10));
  } else {
    scan_others();
  }
  return 0;
}
