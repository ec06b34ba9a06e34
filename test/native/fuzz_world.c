/* libFuzzer: any bytes as the host's plan of a guest's view. The launcher's reader of it runs with system calls that only pretend:
 * which of them fail the input says too. It must stay inside its plan, and close each descriptor once. */
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/types.h>
#include <unistd.h>

#define DESCRIPTORS_MAX 2048

static uint8_t is_open[DESCRIPTORS_MAX];
static uint32_t lot; /* decides which calls fail */
static uint32_t failing_in_256;

static void demand(int condition, const char *what) {
  if (condition) return;
  fprintf(stderr, "Not so: %s.\n", what);
  abort();
}

/* 0, or -1 with an errno. */
static int outcome(void) {
  static const int errors[] = {ENOENT, EEXIST, EPERM, EROFS, EINVAL, EMFILE, EACCES, ENOTDIR};
  lot = lot * 1664525u + 1013904223u;
  if (lot >> 24 >= failing_in_256) return 0;
  errno = errors[lot >> 8 & 7];
  return -1;
}

static int descriptor(void) {
  if (outcome() != 0) return -1;
  for (int i = 3; i < DESCRIPTORS_MAX; i++) {
    if (is_open[i]) continue;
    is_open[i] = 1;
    return i;
  }
  errno = EMFILE;
  return -1;
}

static void read_path(const char *path) {
  demand(path != NULL, "a path is there");
  volatile size_t length = strlen(path);
  (void)length;
}

static int fake_open(const char *path, int flags, ...) {
  (void)flags;
  read_path(path);
  return descriptor();
}
static int fake_close(int fd) {
  demand(fd >= 3 && fd < DESCRIPTORS_MAX && is_open[fd], "what is closed was open");
  is_open[fd] = 0;
  return outcome();
}
static ssize_t fake_write(int fd, const void *bytes, size_t count) {
  demand(fd >= 3 && is_open[fd], "what is written to is open");
  volatile uint8_t last = ((const uint8_t *)bytes)[count - 1];
  (void)last;
  return outcome() == 0 ? (ssize_t)count : -1;
}
static int fake_mkdir(const char *path, mode_t mode) {
  (void)mode;
  read_path(path);
  return outcome();
}
static int fake_mknod(const char *path, mode_t mode, dev_t device) {
  (void)mode, (void)device;
  read_path(path);
  return outcome();
}
static int fake_chmod(const char *path, mode_t mode) { return fake_mkdir(path, mode); }
static int fake_symlink(const char *target, const char *path) {
  read_path(target);
  read_path(path);
  return outcome();
}
static int fake_fstat(int fd, struct stat *st) {
  demand(is_open[fd], "what is looked at is open");
  st->st_mode = (lot & 1) != 0 ? S_IFDIR : S_IFCHR;
  return outcome();
}
static long fake_syscall(long number, ...) {
  return number == SYS_open_tree ? descriptor() : outcome();
}

#define open fake_open
#define close fake_close
#define write fake_write
#define mkdir fake_mkdir
#define mknod fake_mknod
#define chmod fake_chmod
#define symlink fake_symlink
#define fstat fake_fstat
#define syscall fake_syscall
#define mount fake_mount
#include "../../native/launcher/world.c"

int mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data) {
  (void)flags;
  if (source) read_path(source);
  if (type) read_path(type);
  if (data) read_path(data);
  read_path(target);
  return outcome();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count) {
  if (count < 2) return 0;
  failing_in_256 = bytes[0] < 128 ? 0 : bytes[0] - 128u;
  lot = bytes[1];
  memset(is_open, 0, sizeof is_open);
  kept_count = 0;
  char *plan = malloc(count - 1);
  if (!plan) return 0;
  memcpy(plan, bytes + 2, count - 2);
  plan[count - 2] = 0;
  char error[64];
  memset(error, 'x', sizeof error);
  int result = build_world(plan, error, sizeof error);
  demand(result == 0 || result == -1, "the answer is yes or no");
  if (result == -1) demand(memchr(error, 0, sizeof error) != NULL, "a failure has words, and they end");
  free(plan);
  return 0;
}
