/* Ways to a device's own file, whose driver would then be the guest's. The device is /dev/ptmx, a driver of this machine's kernel; the
 * harness says which terminal is another guest's. */
#include "attempt.h"

#include <linux/mount.h>
#include <linux/openat2.h>
#include <sys/fanotify.h>

/* Not through <sys/mount.h>: it clashes with <linux/mount.h> in glibc before 2.37. */
int mount(const char *source, const char *target, const char *type, unsigned long flags, const void *data);
int umount2(const char *target, int flags);
#define MOUNT_BIND 4096ul
#define MOUNT_REC 16384ul
#define MOUNT_REMOUNT 32ul
#define MOUNT_PRIVATE (1ul << 18)
/* MS_MGC_VAL of linux/mount.h: its bits look like those that change how mounts are shared. */
#define OLD_MAGIC 0xc0ed0000ul
#define NODE "/dev/ptmx"
#define FLAGS (O_RDWR | O_NOCTTY | O_CLOEXEC)

static void plain(void) { judge_device(open(NODE, FLAGS)); }
static void dots(void) { judge_device(open("/dev/../dev/.//./pts/../ptmx", FLAGS)); }

static const char *in_folder(const char *folder, const char *name) {
  static char paths[4][128];
  static unsigned next;
  char *path = paths[next++ % COUNT(paths)];
  snprintf(path, sizeof paths[0], "%s/%s", folder, name);
  return path;
}

static void symlink_to_it(void) {
  const char *path = in_folder(own_folder(), "link");
  MUST(symlink(NODE, path));
  judge_device(open(path, FLAGS));
}

static void many_symlinks(void) {
  const char *folder = own_folder();
  char name[16], before[128] = NODE;
  for (int i = 0; i < 30; i++) {
    snprintf(name, sizeof name, "link%d", i);
    const char *path = in_folder(folder, name);
    MUST(symlink(before, path));
    snprintf(before, sizeof before, "%s", path);
  }
  judge_device(open(before, FLAGS));
}

static void by_path_descriptor(void) {
  char path[64];
  int fd = (int)MUST(open(NODE, O_PATH | O_CLOEXEC));
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  judge_device(open(path, FLAGS));
}

static void hard_link(void) {
  const char *path = "/dev/postern-hostile-link";
  unlink(path);
  if (link(NODE, path) != 0) STOPPED("link: %s", strerrorname_np(errno));
  int fd = open(path, FLAGS);
  unlink(path);
  judge_device(fd);
}

/* Not without Postern: it would be this machine's own. */
static void renamed(void) {
  if (rename(NODE, "/dev/postern-hostile-name") != 0) STOPPED("rename: %s", strerrorname_np(errno));
  int fd = open("/dev/postern-hostile-name", FLAGS);
  MUST(rename("/dev/postern-hostile-name", NODE));
  judge_device(fd);
}

static int open_how_at(int directory, const char *path, uint64_t resolve) {
  struct open_how how = {.flags = FLAGS, .resolve = resolve};
  return (int)syscall(SYS_openat2, directory, path, &how, sizeof how);
}

static void beneath(void) { judge_device(open_how_at((int)MUST(open("/dev", O_PATH)), "ptmx", RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)); }
static void in_root(void) { judge_device(open_how_at((int)MUST(open("/dev", O_PATH)), "/../../ptmx", RESOLVE_IN_ROOT)); }

/* An openat2 whose structure is longer than the host knows. */
static void longer_how(void) {
  struct {
    struct open_how how;
    uint64_t more[4];
  } longer = {.how = {.flags = FLAGS}};
  judge_device((int)syscall(SYS_openat2, AT_FDCWD, NODE, &longer, sizeof longer));
}

static void by_directory(void) { judge_device(openat((int)MUST(open("/dev", O_RDONLY | O_DIRECTORY)), "ptmx", FLAGS)); }

static void relatively(void) {
  MUST(chdir("/dev/pts"));
  judge_device(open("../ptmx", FLAGS));
}

static void created(void) { judge_device(creat(NODE, 0600)); }

static void made_node(const char *path) {
  unlink(path);
  /* The kernel's log: unlike a terminal it opens wherever its node is. */
  if (mknod(path, S_IFCHR | 0600, makedev(1, 11)) != 0) STOPPED("mknod: %s", strerrorname_np(errno));
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  unlink(path);
  judge_device(fd);
}

static void made_in_tmp(void) { made_node(in_folder(own_folder(), "node")); }
static void made_in_dev(void) { made_node("/dev/postern-hostile-node"); }
static void made_in_shm(void) { made_node("/dev/shm/postern-hostile-node"); }

static void block_node(void) {
  const char *path = in_folder(own_folder(), "block");
  if (mknod(path, S_IFBLK | 0600, makedev(7, 0)) != 0) STOPPED("mknod: %s", strerrorname_np(errno));
  judge_call("open of a block device that it made", open(path, O_RDONLY));
}

/* ---- In a user namespace of its own, where it may mount. */

static const char *own_mounts(void) {
  const char *folder = own_folder();
  enter_namespaces(CLONE_NEWNS);
  return folder;
}

static void bound(void) {
  const char *path = in_folder(own_mounts(), "bound");
  close((int)MUST(open(path, O_CREAT | O_WRONLY, 0600)));
  if (mount(NODE, path, NULL, MOUNT_BIND, NULL) != 0) STOPPED("bind: %s", strerrorname_np(errno));
  judge_device(open(path, FLAGS));
}

static void bound_and_chrooted(void) {
  const char *folder = own_mounts(), *dev = in_folder(folder, "dev");
  MUST(mkdir(dev, 0700));
  if (mount("/dev", dev, NULL, MOUNT_BIND | MOUNT_REC, NULL) != 0) STOPPED("bind: %s", strerrorname_np(errno));
  MUST(chroot(folder));
  MUST(chdir("/"));
  judge_device(open("dev/ptmx", FLAGS));
}

static void new_root(void) {
  const char *folder = own_mounts();
  if (mount(folder, folder, NULL, MOUNT_BIND | MOUNT_REC, NULL) != 0) STOPPED("bind: %s", strerrorname_np(errno));
  MUST(mkdir(in_folder(folder, "old"), 0700));
  MUST(chdir(folder));
  if (syscall(SYS_pivot_root, ".", "old") != 0) STOPPED("pivot_root: %s", strerrorname_np(errno));
  judge_device(open("/old/dev/ptmx", FLAGS));
}

/* A devpts is a file system that users may mount, with devices: this machine's own terminals. */
static void own_terminals(unsigned long flags) {
  const char *folder = own_mounts();
  if (mount("devpts", folder, "devpts", flags, "newinstance,ptmxmode=0666") != 0) STOPPED("mount of devpts: %s", strerrorname_np(errno));
  judge_device(open(in_folder(folder, "ptmx"), FLAGS));
}

static void own_devpts(void) { own_terminals(0); }
static void own_devpts_by_magic(void) { own_terminals(OLD_MAGIC); }

static void own_devpts_by_fsopen(void) {
  enter_namespaces(CLONE_NEWNS);
  int context = (int)syscall(SYS_fsopen, "devpts", 0);
  if (context < 0) STOPPED("fsopen: %s", strerrorname_np(errno));
  syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, "ptmxmode", "0666", 0);
  if (syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) != 0) STOPPED("fsconfig: %s", strerrorname_np(errno));
  int tree = (int)syscall(SYS_fsmount, context, 0, 0);
  if (tree < 0) STOPPED("fsmount: %s", strerrorname_np(errno));
  judge_device(openat(tree, "ptmx", FLAGS));
}

static void new_tmpfs(void) {
  const char *folder = own_mounts();
  if (mount("tmpfs", folder, "tmpfs", 0, NULL) != 0) STOPPED("mount of a tmpfs: %s", strerrorname_np(errno));
  made_node(in_folder(folder, "node"));
}

static void devtmpfs(void) {
  const char *folder = own_mounts();
  if (mount("devtmpfs", folder, "devtmpfs", 0, NULL) != 0) STOPPED("mount of devtmpfs: %s", strerrorname_np(errno));
  judge_device(open(in_folder(folder, "ptmx"), FLAGS));
}

static void detached_tree(void) {
  enter_namespaces(CLONE_NEWNS);
  int tree = (int)syscall(SYS_open_tree, AT_FDCWD, "/dev", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
  if (tree < 0) STOPPED("open_tree: %s", strerrorname_np(errno));
  judge_device(openat(tree, "ptmx", FLAGS));
}

static void with_devices(void) {
  enter_namespaces(CLONE_NEWNS);
  struct mount_attr attributes = {.attr_clr = MOUNT_ATTR_NODEV};
  long result = syscall(SYS_mount_setattr, AT_FDCWD, "/dev", 0, &attributes, sizeof attributes);
  if (result == 0) result = open(NODE, FLAGS);
  if (result == -1) STOPPED("mount_setattr without nodev: %s", strerrorname_np(errno));
  judge_device((int)result);
}

static void remounted(void) {
  enter_namespaces(CLONE_NEWNS);
  if (mount(NULL, "/dev", NULL, MOUNT_REMOUNT | MOUNT_BIND, NULL) != 0) STOPPED("remount with devices: %s", strerrorname_np(errno));
  judge_device(open(NODE, FLAGS));
}

static void uncovered(void) {
  enter_namespaces(CLONE_NEWNS);
  if (umount2("/dev", 2 /* MNT_DETACH */) != 0) STOPPED("umount of /dev: %s", strerrorname_np(errno));
  judge_device(open(NODE, FLAGS));
}

/* ---- Through others. */

static void through_init(void) { judge_device(open("/proc/1/root/dev/ptmx", FLAGS)); }
static void through_itself(void) { judge_device(open("/proc/thread-self/root/dev/ptmx", FLAGS)); }

static void by_handle(void) {
  struct {
    struct file_handle handle;
    unsigned char room[128];
  } file = {.handle = {.handle_bytes = 128}};
  int mount_id;
  if (name_to_handle_at(AT_FDCWD, NODE, &file.handle, &mount_id, 0) != 0) STOPPED("name_to_handle_at: %s", strerrorname_np(errno));
  judge_device(open_by_handle_at((int)MUST(open("/dev", O_RDONLY | O_DIRECTORY)), &file.handle, FLAGS));
}

/* Who watches a file is given a descriptor of it. */
static void by_watching(void) {
  int watch = (int)syscall(SYS_fanotify_init, FAN_CLASS_NOTIF | FAN_NONBLOCK, O_RDWR);
  if (watch < 0) STOPPED("fanotify_init: %s", strerrorname_np(errno));
  if (syscall(SYS_fanotify_mark, watch, FAN_MARK_ADD, FAN_OPEN, AT_FDCWD, NODE) != 0) STOPPED("fanotify_mark: %s", strerrorname_np(errno));
  close(open(NODE, FLAGS));
  struct fanotify_event_metadata event = {.fd = -1};
  (void)!read(watch, &event, sizeof event);
  judge_device(event.fd);
}

static void placeholder_anew(void) {
  char path[64];
  int fd = (int)MUST(open(NODE, FLAGS));
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  judge_device(open(path, FLAGS));
}

/* ---- By being faster. */

static atomic_int racing = 1;
static char changing[32];
static void *change_path(void *unused) {
  (void)unused;
  while (atomic_load(&racing)) {
    memcpy(changing + 5, "ptmx", 4);
    for (int i = 0; i < 50; i++) __asm__ volatile("pause");
    memcpy(changing + 5, "null", 4);
    for (int i = 0; i < 50; i++) __asm__ volatile("pause");
  }
  return NULL;
}

static void judge_race(const char *(*path)(void)) {
  for (int i = 0; i < 6000; i++) {
    int fd = open(path(), FLAGS);
    if (is_device(fd)) {
      atomic_store(&racing, 0);
      SUCCEEDED("at the %d. try", i + 1);
    }
    if (fd >= 0) close(fd);
  }
  atomic_store(&racing, 0);
  STOPPED("6000 tries");
}

static const char *changing_path(void) { return changing; }
static void racing_path(void) {
  strcpy(changing, "/dev/null");
  start(change_path, NULL);
  judge_race(changing_path);
}

static char exchanged[2][128];
static void *exchange(void *unused) {
  (void)unused;
  while (atomic_load(&racing)) renameat2(AT_FDCWD, exchanged[0], AT_FDCWD, exchanged[1], 2 /* RENAME_EXCHANGE */);
  return NULL;
}
static const char *exchanged_path(void) { return exchanged[0]; }

static void racing_links(void) {
  const char *folder = own_folder();
  snprintf(exchanged[0], sizeof exchanged[0], "%s/a", folder);
  snprintf(exchanged[1], sizeof exchanged[1], "%s/b", folder);
  MUST(symlink("/dev/null", exchanged[0]));
  MUST(symlink(NODE, exchanged[1]));
  start(exchange, NULL);
  judge_race(exchanged_path);
}

/* ---- What is another guest's. */

static void foreign_terminal(void) {
  const char *name = getenv("POSTERN_FOREIGN_TERMINAL");
  if (!name) IMPOSSIBLE("no terminal of another's was named");
  int fd = open(name, FLAGS | O_NONBLOCK);
  if (fd < 0) STOPPED("open of %s: %s", name, strerrorname_np(errno));
  char text[64];
  ssize_t got = read(fd, text, sizeof text - 1);
  if (got <= 0) STOPPED("read of %s: %s", name, strerrorname_np(errno));
  text[got] = 0;
  SUCCEEDED("it read '%.20s'", text);
}

static void every_terminal(void) {
  unsigned opened = 0;
  for (int i = 0; i < 256; i++) {
    char name[32];
    snprintf(name, sizeof name, "/dev/pts/%d", i);
    int fd = open(name, FLAGS | O_NONBLOCK);
    opened += fd >= 0;
    if (fd >= 0) close(fd);
  }
  if (opened > 0) SUCCEEDED("%u terminals of others", opened);
  STOPPED("256 numbers: %s", strerrorname_np(errno));
}

static const struct attempt attempts[] = {
    {"the plain name", "open(\"/dev/ptmx\")", plain},
    {"/dev/../dev", "the same with dots and slashes", dots},
    {"a symlink", "open of a symlink to the node", symlink_to_it},
    {"thirty symlinks", "open of a chain of symlinks", many_symlinks},
    {"O_PATH", "O_PATH of the node, then an open of /proc/self/fd", by_path_descriptor},
    {"a hard link", "open of a second name", hard_link},
    {"another name", "rename of the node, then open", renamed},
    {"openat2 beneath /dev", "RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS", beneath},
    {"openat2 with /dev as root", "RESOLVE_IN_ROOT and a path that leaves it", in_root},
    {"an openat2 of the future", "a longer structure than the host knows", longer_how},
    {"a directory descriptor", "openat below /dev", by_directory},
    {"a working directory", "open of ../ptmx in /dev/pts", relatively},
    {"creat", "creat of the node", created},
    {"mknod in /tmp", "a node of its own", made_in_tmp},
    {"mknod in /dev", "a node of its own", made_in_dev},
    {"mknod in /dev/shm", "a node of its own", made_in_shm},
    {"a block device", "mknod of a disk's node", block_node},
    {"a bind mount", "the node, bound to another place in a user namespace", bound},
    {"a bind mount and chroot", "/dev, bound below a new root", bound_and_chrooted},
    {"pivot_root", "a new root, with the old one below it", new_root},
    {"a devpts of its own", "mount of devpts in a user namespace", own_devpts},
    {"a devpts by old magic", "the same with MS_MGC_VAL in the flags", own_devpts_by_magic},
    {"a devpts by fsopen", "the same by fsopen, fsconfig and fsmount", own_devpts_by_fsopen},
    {"mknod in a tmpfs of its own", "a tmpfs in a user namespace, and a node in it", new_tmpfs},
    {"devtmpfs", "mount of devtmpfs", devtmpfs},
    {"a detached tree", "open_tree of /dev, and openat below it", detached_tree},
    {"mount_setattr", "to clear nodev", with_devices},
    {"a remount", "to clear nodev", remounted},
    {"what /dev covers", "umount of /dev", uncovered},
    {"init's root", "/proc/1/root", through_init},
    {"its own root", "/proc/thread-self/root", through_itself},
    {"file handles", "name_to_handle_at and open_by_handle_at", by_handle},
    {"fanotify", "the descriptor that comes with an event", by_watching},
    {"the placeholder anew", "open of the placeholder by /proc/self/fd", placeholder_anew},
    {"a path that changes", "to change the path while it is judged", racing_path},
    {"links that change places", "to exchange two links while they are looked up", racing_links},
    {"another guest's terminal", "to open it by its number, and read what it holds", foreign_terminal},
    {"every terminal", "256 numbers of terminals that it did not make", every_terminal},
};

int main(int argc, char **argv) { return run_attempts(attempts, COUNT(attempts), argc, argv); }
