#include "vm.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "channels.h"
#include "links.h"
#include "log.h"
#include "run.h"
#include "spin.h"
#include "supervisor.h"

#define MODULE_LIST "/etc/postern/modules"
#define SHARED_ROOT_MARK "/etc/postern/shared-root"
/* In a guest VM, what is written goes to memory, over the host's root. */
#define OVERLAY_MARK "/etc/postern/overlay"
#define LOWER_ROOT "/lower"
#define UPPER_FOLDER "/upper"
#define PORT_CLASS "/sys/class/virtio-ports"
/* The ports come up within milliseconds of their driver; after this time they are missing. */
#define PORT_WAIT_MS 5000
#define PORT_WAIT_STEP_MS 2
/* The descriptors of one backend process: its files, and a few of its own. */
#define DESCRIPTORS_MAX 1024

_Noreturn static void power_off(const char *reason) {
  /* The control stream may not exist: the console is what is left. */
  dprintf(STDERR_FILENO, "postern-agent: %s\n", reason);
  sync();
  reboot(RB_POWER_OFF);
  for (;;) pause();
}

static void mount_one(const char *type, const char *target, unsigned long flags, const char *options) {
  mkdir(target, 0755);
  if (mount(type, target, type, flags, options) != 0 && errno != EBUSY) {
    log_line("%s can't be mounted on %s: %s", type, target, strerror(errno));
  }
}

static void mount_file_systems(void) {
  mount_one("devtmpfs", "/dev", MS_NOSUID, NULL);
  mount_one("proc", "/proc", MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL);
  mount_one("sysfs", "/sys", MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL);
  mount_one("devpts", "/dev/pts", MS_NOSUID | MS_NOEXEC, "ptmxmode=0666,mode=0620");
}

/* Locked pages must stay where they are: the host addresses them by guest-physical address. */
static void forbid_migration_of_locked_pages(void) {
  int descriptor = open("/proc/sys/vm/compact_unevictable_allowed", O_WRONLY | O_CLOEXEC);
  if (descriptor < 0 || write(descriptor, "0", 1) != 1) log_line("locked pages may be moved: %s", strerror(errno));
  if (descriptor >= 0) close(descriptor);
}

/* One line of the list: a path, a space, the module's parameters. */
static void load_module(char *line) {
  line[strcspn(line, "\n")] = 0;
  size_t path_length = strcspn(line, " ");
  char *parameters = line + path_length;
  if (*parameters) *parameters++ = 0;
  int descriptor = open(line, O_RDONLY | O_CLOEXEC);
  if (descriptor < 0 || (syscall(SYS_finit_module, descriptor, parameters, 0) != 0 && errno != EEXIST)) {
    log_line("module %s can't be loaded: %s", line, strerror(errno));
  }
  if (descriptor >= 0) close(descriptor);
}

static void load_modules(void) {
  FILE *list = fopen(MODULE_LIST, "re");
  if (!list) power_off("no " MODULE_LIST);
  char *line = NULL;
  size_t room = 0;
  while (getline(&line, &room, list) > 0) {
    if (line[0] != '\n') load_module(line);
  }
  free(line);
  fclose(list);
}

static bool port_has_name(const char *port, const char *name) {
  char path[512], text[64] = "";
  snprintf(path, sizeof path, PORT_CLASS "/%s/name", port);
  int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return false;
  ssize_t length = read(descriptor, text, sizeof text - 1);
  close(descriptor);
  if (length <= 0) return false;
  text[strcspn(text, "\n")] = 0;
  return strcmp(text, name) == 0;
}

static int open_port_once(const char *name) {
  DIR *directory = opendir(PORT_CLASS);
  int port = -1;
  struct dirent *entry;
  while (directory && port < 0 && (entry = readdir(directory))) {
    char path[512];
    if (!port_has_name(entry->d_name, name)) continue;
    snprintf(path, sizeof path, "/dev/%s", entry->d_name);
    port = open(path, O_RDWR | O_CLOEXEC);
    /* Without its node, no operation can open the port. */
    if (port >= 0) unlink(path);
  }
  if (directory) closedir(directory);
  return port;
}

static int open_port(const char *name) {
  for (int waited = 0; waited < PORT_WAIT_MS; waited += PORT_WAIT_STEP_MS) {
    int port = open_port_once(name);
    if (port >= 0) return port;
    struct timespec step = {.tv_nsec = PORT_WAIT_STEP_MS * 1000000};
    nanosleep(&step, NULL);
  }
  power_off("a virtio port is missing");
}

static bool mount_lower(const char *target) {
  mkdir(target, 0755);
  if (mount("root", target, "9p", MS_RDONLY | MS_NOSUID, "trans=virtio,version=9p2000.L,msize=262144,cache=loose") == 0) return true;
  log_line("the host's root can't be mounted: %s", strerror(errno));
  return false;
}

static bool mount_overlay(void) {
  mkdir(UPPER_FOLDER, 0755);
  if (!mount_lower(LOWER_ROOT) || mount("tmpfs", UPPER_FOLDER, "tmpfs", 0, NULL) != 0) return false;
  mkdir(UPPER_FOLDER "/data", 0755);
  mkdir(UPPER_FOLDER "/work", 0755);
  const char *options = "lowerdir=" LOWER_ROOT ",upperdir=" UPPER_FOLDER "/data,workdir=" UPPER_FOLDER "/work";
  if (mount("overlay", RUN_ROOT, "overlay", MS_NOSUID, options) == 0) return true;
  log_line("nothing can be laid over the host's root: %s", strerror(errno));
  return false;
}

/* The host's root, read-only, with the VM's own devices and scratch space over it. */
static bool mount_shared_root(void) {
  if (access(SHARED_ROOT_MARK, F_OK) != 0) return false;
  mkdir(RUN_ROOT, 0755);
  if (access(OVERLAY_MARK, F_OK) == 0 ? !mount_overlay() : !mount_lower(RUN_ROOT)) return false;
  mount_one("devtmpfs", RUN_ROOT "/dev", MS_NOSUID, NULL);
  mount_one("devpts", RUN_ROOT "/dev/pts", MS_NOSUID | MS_NOEXEC, "ptmxmode=0666,mode=0620");
  mount_one("proc", RUN_ROOT "/proc", MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL);
  mount_one("sysfs", RUN_ROOT "/sys", MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL);
  /* Not over /tmp: what is to be run may be there. */
  mkdir(RUN_ROOT "/dev/shm", 01777);
  mount_one("tmpfs", RUN_ROOT "/dev/shm", MS_NOSUID | MS_NODEV, NULL);
  mount_one("tmpfs", RUN_ROOT "/run", MS_NOSUID | MS_NODEV, NULL);
  return true;
}

static void set_limits(void) {
  struct rlimit no_core = {0, 0}, descriptors = {DESCRIPTORS_MAX, DESCRIPTORS_MAX};
  struct rlimit locked = {RLIM_INFINITY, RLIM_INFINITY};
  setrlimit(RLIMIT_CORE, &no_core);
  setrlimit(RLIMIT_NOFILE, &descriptors);
  setrlimit(RLIMIT_MEMLOCK, &locked);
}

static void set_up(struct domain *domain) {
  if (log_open() != 0) power_off("no log pipe");
  mount_file_systems();
  set_limits();
  spin_calibrate();
  forbid_migration_of_locked_pages();
  int result = channels_allocate(domain, POSTERN_CHANNELS_VM);
  if (result != 0) power_off(strerror(-result));
  load_modules();
  links_start();
  domain->shared_root = mount_shared_root();
  domain->control = open_port("postern.control");
  domain->doorbell = open_port("postern.doorbell");
  domain->dev = open("/dev", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (domain->dev < 0) power_off("no /dev");
}

void vm_main(void) {
  static struct domain domain = {.kind = DOMAIN_VM};
  for (uint32_t i = 0; i < POSTERN_CHANNELS_MAX; i++) domain.events[i] = -1;
  set_up(&domain);
  power_off(supervisor_run(&domain));
}
