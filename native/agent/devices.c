#include "devices.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "log.h"

/* Attributes that programs read to recognise a device are one line; what is larger is a table of some other kind. */
#define ATTRIBUTE_BYTES_MAX 4096
/* Groups of attributes, and a connector's in a card's folder, are a few levels deep. */
#define FOLDER_DEPTH_MAX 4
/* The major number of the slaves of UNIX98 pseudo terminals (Documentation/admin-guide/devices.txt). */
#define PTS_MAJOR 136

/* Below these there is no hardware to share, only the kernel's own services and the agent's own ports. */
static const char *const excluded_prefixes[] = {"/devices/virtual/vc/", "/devices/virtual/tty/", "/devices/virtual/mem/",
                                                "/devices/virtual/vtconsole/"};
static const char *const excluded_subsystem = "virtio-ports";

static ssize_t read_bytes(int directory, const char *name, char *bytes) {
  struct stat status;
  if (fstatat(directory, name, &status, AT_SYMLINK_NOFOLLOW) != 0) return -1;
  if (!S_ISREG(status.st_mode) || !(status.st_mode & 0444)) return -1;
  int descriptor = openat(directory, name, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
  if (descriptor < 0) return -1;
  ssize_t length = read(descriptor, bytes, ATTRIBUTE_BYTES_MAX + 1);
  close(descriptor);
  return length >= 0 && length <= ATTRIBUTE_BYTES_MAX ? length : -1;
}

static ssize_t read_attribute(int directory, const char *name, char *bytes) {
  ssize_t length = read_bytes(directory, name, bytes);
  return length >= 0 && json_is_text(bytes, (size_t)length) ? length : -1;
}

static void put_files(struct json *json, int directory, struct dirent **entries, int count) {
  json_key(json, "files");
  json_mark(json, '{');
  for (int i = 0; i < count; i++) {
    char bytes[ATTRIBUTE_BYTES_MAX + 1];
    ssize_t length = read_attribute(directory, entries[i]->d_name, bytes);
    if (length < 0) continue;
    json_key(json, entries[i]->d_name);
    json_string(json, bytes, (size_t)length);
  }
  json_mark(json, '}');
}

/* What is no text, such as what a monitor says of itself (edid), in hexadecimal digits. */
static void put_binaries(struct json *json, int directory, struct dirent **entries, int count) {
  static const char digits[] = "0123456789abcdef";
  json_key(json, "binaries");
  json_mark(json, '{');
  for (int i = 0; i < count; i++) {
    char bytes[ATTRIBUTE_BYTES_MAX + 1], hex[2 * ATTRIBUTE_BYTES_MAX];
    ssize_t length = read_bytes(directory, entries[i]->d_name, bytes);
    if (length < 0 || json_is_text(bytes, (size_t)length)) continue;
    for (ssize_t k = 0; k < length; k++) {
      hex[2 * k] = digits[(unsigned char)bytes[k] >> 4];
      hex[2 * k + 1] = digits[(unsigned char)bytes[k] & 15];
    }
    json_key(json, entries[i]->d_name);
    json_string(json, hex, 2 * (size_t)length);
  }
  json_mark(json, '}');
}

static void put_links(struct json *json, int directory, struct dirent **entries, int count) {
  json_key(json, "links");
  json_mark(json, '{');
  for (int i = 0; i < count; i++) {
    char target[PATH_MAX];
    ssize_t length = readlinkat(directory, entries[i]->d_name, target, sizeof target);
    if (length <= 0 || !json_is_text(target, (size_t)length)) continue;
    json_key(json, entries[i]->d_name);
    json_string(json, target, (size_t)length);
  }
  json_mark(json, '}');
}

static int is_visible(const struct dirent *entry) {
  return entry->d_name[0] != '.' && json_is_text(entry->d_name, strlen(entry->d_name));
}

static bool has(int directory, const char *folder, const char *entry) {
  char path[NAME_MAX + 16];
  snprintf(path, sizeof path, "%.255s/%s", folder, entry);
  return faccessat(directory, path, F_OK, 0) == 0;
}

/* A folder that only groups devices has neither files nor links. */
static bool has_attributes(int directory, const char *name) {
  struct dirent **entries = NULL;
  int folder = openat(directory, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
  int count = folder >= 0 ? scandirat(folder, ".", &entries, is_visible, NULL) : 0;
  bool found = false;
  for (int i = 0; i < count; i++) {
    found |= entries[i]->d_type == DT_REG || entries[i]->d_type == DT_LNK;
    free(entries[i]);
  }
  free(entries);
  if (folder >= 0) close(folder);
  return found;
}

/* A subfolder belongs to the device: a group of its attributes, or, `with_children`, what hangs on it and has no device file of its own,
 * such as a card's connectors. */
static bool is_part(int directory, const char *name, bool with_children) {
  if (has(directory, name, "dev")) return false;
  if (has(directory, name, "uevent")) return with_children;
  return has_attributes(directory, name);
}

static void put_folder(struct json *json, int directory, bool with_children, int depth);

static void put_folders(struct json *json, int directory, struct dirent **entries, int count, bool with_children, int depth) {
  json_key(json, "folders");
  json_mark(json, '{');
  for (int i = 0; i < count && depth < FOLDER_DEPTH_MAX; i++) {
    if (entries[i]->d_type != DT_DIR || !is_part(directory, entries[i]->d_name, with_children)) continue;
    int folder = openat(directory, entries[i]->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (folder < 0) continue;
    json_key(json, entries[i]->d_name);
    json_mark(json, '{');
    put_folder(json, folder, with_children, depth + 1);
    json_mark(json, '}');
    close(folder);
  }
  json_mark(json, '}');
}

static void put_folder(struct json *json, int directory, bool with_children, int depth) {
  struct dirent **entries = NULL;
  int count = directory >= 0 ? scandirat(directory, ".", &entries, is_visible, alphasort) : 0;
  if (count < 0) count = 0;
  put_files(json, directory, entries, count);
  put_binaries(json, directory, entries, count);
  put_links(json, directory, entries, count);
  put_folders(json, directory, entries, count, with_children, depth);
  for (int i = 0; i < count; i++) free(entries[i]);
  free(entries);
}

static void put_sysfs(struct json *json, const char *path, bool with_children) {
  int directory = path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
  put_folder(json, directory, with_children, 0);
  if (directory >= 0) close(directory);
}

static void put_text(struct json *json, const char *key, const char *value) {
  json_key(json, key);
  json_string(json, value, strlen(value));
}

/* The devices that the device hangs on, from the nearest up: programs recognise a card by the PCI device that it is on. A directory on
 * the way that only groups devices has no uevent. */
static void put_parents(struct json *json, const char *sysfs) {
  char path[PATH_MAX], uevent[PATH_MAX + 8];
  snprintf(path, sizeof path, "%s", sysfs ? sysfs : "");
  json_key(json, "parents");
  json_mark(json, '[');
  for (char *slash = strrchr(path, '/'); slash && slash > path + strlen("/sys/devices"); slash = strrchr(path, '/')) {
    *slash = 0;
    snprintf(uevent, sizeof uevent, "%s/uevent", path);
    if (access(uevent, F_OK) != 0) continue;
    json_mark(json, '{');
    put_text(json, "sysfs", path + strlen("/sys"));
    put_sysfs(json, path, false);
    json_mark(json, '}');
  }
  json_mark(json, ']');
}

/* What programs look up of sound cards outside of /sys; of it a guest sees what is of its own devices. */
static void put_proc(struct json *json, const char *name) {
  if (strncmp(name, "snd/controlC", strlen("snd/controlC")) != 0) return;
  json_key(json, "proc");
  json_mark(json, '{');
  put_sysfs(json, "/proc/asound", true);
  json_mark(json, '}');
}

/* `sysfs`: the device's directory with the leading /sys, or NULL where there is none. */
static void put_device(struct json *json, const char *name, dev_t number, const char *subsystem, const char *sysfs) {
  json_mark(json, '{');
  put_text(json, "name", name);
  json_key(json, "major");
  json_number(json, major(number));
  json_key(json, "minor");
  json_number(json, minor(number));
  put_text(json, "subsystem", subsystem);
  put_text(json, "sysfs", sysfs ? sysfs + strlen("/sys") : "");
  put_sysfs(json, sysfs, true);
  put_proc(json, name);
  put_parents(json, sysfs);
  json_mark(json, '}');
}

/* The base name of the `subsystem` link, in a static buffer; "" where there is none. */
static const char *subsystem_of(const char *sysfs) {
  static char target[PATH_MAX];
  char path[PATH_MAX + 16];
  snprintf(path, sizeof path, "%s/subsystem", sysfs);
  ssize_t length = readlink(path, target, sizeof target - 1);
  if (length <= 0) return "";
  target[length] = 0;
  char *slash = strrchr(target, '/');
  return slash ? slash + 1 : target;
}

/* DEVNAME of the device's uevent, in a static buffer; NULL where there is none. */
static const char *device_name(const char *sysfs) {
  static char text[ATTRIBUTE_BYTES_MAX + 1];
  int directory = open(sysfs, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return NULL;
  ssize_t length = read_attribute(directory, "uevent", text);
  close(directory);
  if (length < 0) return NULL;
  text[length == sizeof text ? length - 1 : length] = 0;
  char *name = strstr(text, "DEVNAME=");
  if (!name) return NULL;
  name += strlen("DEVNAME=");
  name[strcspn(name, "\n")] = 0;
  return name;
}

static bool is_excluded(const char *sysfs, const char *subsystem) {
  if (strcmp(subsystem, excluded_subsystem) == 0) return true;
  for (size_t i = 0; i < sizeof excluded_prefixes / sizeof *excluded_prefixes; i++) {
    size_t length = strlen(excluded_prefixes[i]);
    if (strncmp(sysfs + strlen("/sys"), excluded_prefixes[i], length) == 0) return true;
  }
  return false;
}

static void put_numbered(struct json *json, const char *number) {
  char path[PATH_MAX], sysfs[PATH_MAX];
  unsigned major_number, minor_number;
  if (sscanf(number, "%u:%u", &major_number, &minor_number) != 2) return;
  snprintf(path, sizeof path, "/sys/dev/char/%s", number);
  if (!realpath(path, sysfs) || strncmp(sysfs, "/sys/", 5) != 0) return;
  const char *subsystem = subsystem_of(sysfs);
  const char *name = device_name(sysfs);
  if (!name || is_excluded(sysfs, subsystem)) return;
  put_device(json, name, makedev(major_number, minor_number), subsystem, sysfs);
}

struct json devices_list_all(void) {
  struct json json = {0};
  struct dirent **entries = NULL;
  json_mark(&json, '[');
  int count = scandir("/sys/dev/char", &entries, is_visible, versionsort);
  if (count < 0) log_line("/sys/dev/char can't be listed: %s", strerror(errno));
  for (int i = 0; i < count; i++) {
    put_numbered(&json, entries[i]->d_name);
    free(entries[i]);
  }
  free(entries);
  json_mark(&json, ']');
  return json;
}

static bool opens(const char *path, dev_t *number) {
  struct stat status;
  int descriptor = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (descriptor < 0) return false;
  bool is_device = fstat(descriptor, &status) == 0 && S_ISCHR(status.st_mode);
  close(descriptor);
  *number = status.st_rdev;
  return is_device;
}

struct json devices_list_local(bool *has_tun) {
  struct json json = {0};
  dev_t number;
  json_mark(&json, '[');
  if (opens("/dev/ptmx", &number)) {
    put_device(&json, "ptmx", number, "tty", "/sys/devices/virtual/tty/ptmx");
    /* A directory of nodes that come and go: number, minor and name are those of no node in particular. */
    put_device(&json, "pts", makedev(PTS_MAJOR, 0), "tty", NULL);
  }
  *has_tun = opens("/dev/net/tun", &number);
  if (*has_tun) put_device(&json, "net/tun", number, "misc", "/sys/devices/virtual/misc/tun");
  json_mark(&json, ']');
  return json;
}
