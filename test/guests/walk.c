/* Tells everything that /sys has of the devices whose nodes are given: of each its folder, and what it hangs on without what else hangs
 * there. A line a link or attribute: `FOLDER/NAME -> TARGET`, or `FOLDER/NAME: ` and its bytes in hexadecimal digits, or an errno. Then
 * which devices the classes list. */
#include <dirent.h>
#include <limits.h>
#include <sys/sysmacros.h>

#include "guest.h"

#define ATTRIBUTE_BYTES_MAX 4096

static bool exists(const char *folder, const char *name) {
  char path[2 * PATH_MAX];
  snprintf(path, sizeof path, "%s/%s", folder, name);
  return access(path, F_OK) == 0;
}

static void tell_attribute(const char *path) {
  unsigned char bytes[ATTRIBUTE_BYTES_MAX];
  int file = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  ssize_t length = file < 0 ? -1 : read(file, bytes, sizeof bytes);
  printf("%s: ", path);
  if (length < 0) printf("%s", strerrorname_np(errno));
  for (ssize_t i = 0; i < length; i++) printf("%02x", bytes[i]);
  printf("\n");
  if (file >= 0) close(file);
}

static void tell_link(const char *path) {
  char target[PATH_MAX];
  ssize_t length = readlink(path, target, sizeof target);
  printf("%s -> %.*s\n", path, (int)length, target);
}

/* `own`: all that is below; else groups of attributes only, and of those the files. */
static void tell_folder(const char *folder, bool own) {
  struct dirent **entries;
  int count = scandir(folder, &entries, NULL, alphasort);
  for (int i = 0; i < count; i++) {
    char path[PATH_MAX];
    struct stat st;
    const char *name = entries[i]->d_name;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (name[0] == '.' || lstat(path, &st) != 0) continue;
    if (S_ISLNK(st.st_mode)) tell_link(path);
    else if (S_ISREG(st.st_mode) && (st.st_mode & 0444)) tell_attribute(path);
    else if (S_ISDIR(st.st_mode) && !exists(path, "dev") && (own || !exists(path, "uevent"))) tell_folder(path, own);
  }
}

/* A folder that only groups devices leads to other devices: they are not told, having a uevent. */
static void tell_device(const char *node) {
  char number[64], folder[PATH_MAX];
  struct stat st;
  MUST(stat(node, &st));
  snprintf(number, sizeof number, "/sys/dev/char/%u:%u", major(st.st_rdev), minor(st.st_rdev));
  if (!realpath(number, folder)) return (void)printf("%s: %s\n", node, strerrorname_np(errno));
  printf("%s: %s\n", node, folder);
  tell_folder(folder, true);
  for (char *slash = strrchr(folder, '/'); slash > folder + strlen("/sys/devices"); slash = strrchr(folder, '/')) {
    *slash = 0;
    if (exists(folder, "uevent")) tell_folder(folder, false);
  }
}

static void tell_classes(void) {
  struct dirent **classes, **devices;
  int count = scandir("/sys/class", &classes, NULL, alphasort);
  for (int i = 0; i < count; i++) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "/sys/class/%s", classes[i]->d_name);
    int listed = classes[i]->d_name[0] == '.' ? 0 : scandir(path, &devices, NULL, alphasort);
    for (int k = 0; k < listed; k++)
      if (devices[k]->d_type == DT_LNK) printf("class %s/%s\n", classes[i]->d_name, devices[k]->d_name);
  }
}

int main(int count, char **nodes) {
  for (int i = 1; i < count; i++) tell_device(nodes[i]);
  tell_classes();
  return 0;
}
