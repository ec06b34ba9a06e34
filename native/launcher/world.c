#include "world.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/types.h>
#include <unistd.h>

/* Not through <sys/mount.h>: it clashes with <linux/mount.h> in glibc before 2.37. */
int mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data);
#define MOUNT_NOSUID 2ul
#define MOUNT_NODEV 4ul
#define MOUNT_NOEXEC 8ul
#define MOUNT_RDONLY 1ul
#define MOUNT_REMOUNT 32ul
#define MOUNT_BIND 4096ul
#define MOUNT_REC 16384ul
#define MOUNT_PRIVATE (1ul << 18)

#define WORDS_MAX 5
/* Kept paths: the handful of harmless device nodes, and what a view of /sys keeps: some hundreds. Each is a descriptor, of which a process may have 1024. */
#define KEPT_MAX 900

static struct {
  const char *path;
  int tree;
} kept[KEPT_MAX];
static unsigned kept_count;
static int stand_ins, terminals;

static int clone_tree(const char *path) {
  return (int)syscall(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
}

static int make_parents(char *path) {
  for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
    *slash = 0;
    int failed = mkdir(path, 0755) != 0 && errno != EEXIST;
    *slash = '/';
    if (failed) return -1;
  }
  return 0;
}

/* Something of the tree's own kind to mount it on. */
static int make_mount_point(char *path, int tree) {
  struct stat st;
  if (fstat(tree, &st) != 0 || make_parents(path) != 0) return -1;
  if (S_ISDIR(st.st_mode)) return mkdir(path, 0755) == 0 || errno == EEXIST ? 0 : -1;
  int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
  if (fd < 0) return errno == EROFS || errno == EEXIST ? 0 : -1;
  return close(fd);
}

static int attach_tree(int tree, char *path) {
  if (make_mount_point(path, tree) != 0) return -1;
  return (int)syscall(SYS_move_mount, tree, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH);
}

static int do_keep(const char *path) {
  if (kept_count == KEPT_MAX) {
    errno = E2BIG;
    return -1;
  }
  int tree = clone_tree(path);
  if (tree < 0) return errno == ENOENT ? 0 : -1;
  kept[kept_count].path = path;
  kept[kept_count++].tree = tree;
  return 0;
}

static int do_attach(char *path) {
  for (unsigned i = 0; i < kept_count; i++) {
    if (strcmp(kept[i].path, path) != 0) continue;
    int result = attach_tree(kept[i].tree, path);
    close(kept[i].tree);
    kept[i] = kept[--kept_count];
    return result;
  }
  return 0; /* It was not there to be kept. */
}

static int do_nodev(void) {
  struct mount_attr attributes = {.attr_set = MOUNT_ATTR_NODEV};
  return (int)syscall(SYS_mount_setattr, AT_FDCWD, "/", AT_RECURSIVE, &attributes, sizeof attributes);
}

static int do_read_only(const char *path) {
  struct mount_attr attributes = {.attr_set = MOUNT_ATTR_RDONLY};
  if (syscall(SYS_mount_setattr, AT_FDCWD, path, AT_RECURSIVE, &attributes, sizeof attributes) == 0) return 0;
  return errno == ENOENT || errno == EINVAL ? 0 : -1; /* Nothing is mounted there, so nothing can be set up there. */
}

static int do_tmpfs(const char *path, const char *mode) {
  char data[32];
  snprintf(data, sizeof data, "mode=%.8s", mode);
  return mount("tmpfs", path, "tmpfs", MOUNT_NOSUID | MOUNT_NODEV, data);
}

/* Files of /proc that set up the whole machine are root's by their mode, whatever capabilities it has left: core_pattern names a
 * program that the kernel runs with all of them. Who is root only in a user namespace may not write them anyway. */
static int seal_proc(const char *proc) {
  static const char *const names[] = {"sys", "sysrq-trigger", "irq", "bus", "fs", "acpi", "scsi"};
  const unsigned long flags = MOUNT_NOSUID | MOUNT_NODEV | MOUNT_NOEXEC;
  for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
    char path[64];
    snprintf(path, sizeof path, "%.40s/%s", proc, names[i]);
    if (mount(path, path, NULL, MOUNT_BIND | MOUNT_REC, NULL) != 0) {
      if (errno == ENOENT) continue;
      return -1;
    }
    if (mount(NULL, path, NULL, MOUNT_REMOUNT | MOUNT_BIND | MOUNT_RDONLY | flags, NULL) != 0) return -1;
  }
  return 0;
}

/* Whether this is the machine's root, and not that of a user namespace. */
static int is_root_of_machine(void) {
  unsigned first = 1, outside = 1, count = 0;
  FILE *map = fopen("/proc/self/uid_map", "re");
  if (!map) return geteuid() == 0;
  int is_whole = fscanf(map, "%u %u %u", &first, &outside, &count) == 3 && first == 0 && outside == 0 && count == ~0u;
  fclose(map);
  return is_whole && geteuid() == 0;
}

static int do_proc(const char *path) {
  /* Asked before: the new one shows the guest's processes, of which this one need not be. */
  int seals = is_root_of_machine();
  if (mount("proc", path, "proc", MOUNT_NOSUID | MOUNT_NODEV | MOUNT_NOEXEC, NULL) != 0) return -1;
  return seals ? seal_proc(path) : 0;
}

static int do_node(const char *path, const char *mode, const char *major_text, const char *minor_text) {
  mode_t permissions = (mode_t)strtoul(mode, NULL, 8);
  dev_t device = makedev((unsigned)strtoul(major_text, NULL, 10), (unsigned)strtoul(minor_text, NULL, 10));
  if (mknod(path, S_IFCHR | permissions, device) == 0) return chmod(path, permissions);
  if (errno != EPERM) return -1;
  stand_ins = 1;
  int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0);
  return fd < 0 ? -1 : close(fd);
}

static int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int do_file(const char *path, const char *hex) {
  int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0444);
  if (fd < 0) return -1;
  int result = 0;
  for (; hex[0] && hex[1] && result == 0; hex += 2) {
    int high = hex_digit(hex[0]), low = hex_digit(hex[1]);
    char byte = (char)(high * 16 + low);
    if (high < 0 || low < 0) errno = EINVAL;
    if (high < 0 || low < 0 || write(fd, &byte, 1) != 1) result = -1;
  }
  return close(fd) == 0 ? result : -1;
}

static int do_line(char **word, unsigned words) {
  if (words == 2 && strcmp(word[0], "keep") == 0) return do_keep(word[1]);
  if (words == 2 && strcmp(word[0], "attach") == 0) return do_attach(word[1]);
  if (words == 1 && strcmp(word[0], "nodev") == 0) return do_nodev();
  if (words == 2 && strcmp(word[0], "read-only") == 0) return do_read_only(word[1]);
  if (words == 1 && strcmp(word[0], "stand-ins") == 0) return stand_ins = 1, 0;
  if (words == 3 && strcmp(word[0], "tmpfs") == 0) return do_tmpfs(word[1], word[2]);
  if (words == 2 && strcmp(word[0], "devpts") == 0) {
    terminals = 1;
    return mount("devpts", word[1], "devpts", MOUNT_NOSUID | MOUNT_NOEXEC, "newinstance,ptmxmode=0666,mode=0620");
  }
  if (words == 2 && strcmp(word[0], "proc") == 0) return do_proc(word[1]);
  if (words == 3 && strcmp(word[0], "dir") == 0) {
    if (make_parents(word[1]) != 0) return -1;
    return mkdir(word[1], (mode_t)strtoul(word[2], NULL, 8)) == 0 || errno == EEXIST ? 0 : -1;
  }
  if (words == 5 && strcmp(word[0], "node") == 0) return make_parents(word[1]) || do_node(word[1], word[2], word[3], word[4]);
  if (words == 3 && strcmp(word[0], "symlink") == 0) return make_parents(word[2]) || symlink(word[1], word[2]);
  /* An empty file has no third word. */
  if (words == 2 && strcmp(word[0], "file") == 0) return make_parents(word[1]) || do_file(word[1], "");
  if (words == 3 && strcmp(word[0], "file") == 0) return make_parents(word[1]) || do_file(word[1], word[2]);
  errno = EINVAL;
  return -1;
}

int build_world(char *plan, char *error, unsigned long error_bytes) {
  if (mount(NULL, "/", NULL, MOUNT_REC | MOUNT_PRIVATE, NULL) != 0) {
    snprintf(error, error_bytes, "making the mounts private: %s", strerror(errno));
    return -1;
  }
  char *line_state = NULL;
  for (char *line = strtok_r(plan, "\n", &line_state); line; line = strtok_r(NULL, "\n", &line_state)) {
    char *word[WORDS_MAX] = {0}, *word_state = NULL;
    unsigned words = 0;
    for (char *w = strtok_r(line, "\t", &word_state); w && words < WORDS_MAX; w = strtok_r(NULL, "\t", &word_state))
      word[words++] = w;
    if (words == 0 || do_line(word, words) == 0) continue;
    snprintf(error, error_bytes, "%s %.200s: %s", word[0] ? word[0] : "?", words > 1 ? word[1] : "", strerror(errno));
    return -1;
  }
  return 0;
}

int world_has_stand_ins(void) { return stand_ins; }
int world_has_terminals(void) { return terminals; }
