#include "lockdown.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"
#include "syscalls.h"

/* The user "nobody": owns no file here. */
#define NOBODY 65534
/* Where the new root is put together; any directory that exists everywhere will do. */
#define NEW_ROOT "/tmp"
#define TUN_MAJOR 10
#define TUN_MINOR 200

static void complain(const char *what) { log_line("local domain: %s: %s", what, strerror(errno)); }

static void write_text(const char *path, const char *text) {
  int descriptor = open(path, O_WRONLY | O_CLOEXEC);
  if (descriptor < 0 || write(descriptor, text, strlen(text)) < 0) complain(path);
  if (descriptor >= 0) close(descriptor);
}

static void map_own_user(uid_t user, gid_t group) {
  char text[64];
  write_text("/proc/self/setgroups", "deny");
  snprintf(text, sizeof text, "%u %u 1\n", user, user);
  write_text("/proc/self/uid_map", text);
  snprintf(text, sizeof text, "%u %u 1\n", group, group);
  write_text("/proc/self/gid_map", text);
}

/* Returns whether there are namespaces. Without root, they belong to a user namespace. */
static bool make_namespaces(bool is_root) {
  int wanted = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS;
  uid_t user = getuid();
  gid_t group = getgid();
  if (unshare(wanted | (is_root ? 0 : CLONE_NEWUSER)) != 0) {
    complain("no namespaces of its own, it runs over this machine's whole file system");
    return false;
  }
  if (!is_root) map_own_user(user, group);
  return true;
}

static void drop_bounding_set(void) {
  for (int capability = 0; capability <= CAP_LAST_CAP; capability++) prctl(PR_CAPBSET_DROP, capability);
}

static void set_capabilities(bool with_net_admin) {
  struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
  struct __user_cap_data_struct data[2] = {{0}, {0}};
  if (with_net_admin) data[0].effective = data[0].permitted = 1u << CAP_NET_ADMIN;
  if (syscall(SYS_capset, &header, data) == 0) return;
  /* A user that never had CAP_NET_ADMIN gets no capability at all. */
  data[0].effective = data[0].permitted = 0;
  if (syscall(SYS_capset, &header, data) != 0) complain("its capabilities can't be dropped");
}

static void become_nobody(void) {
  /* Keeps the permitted capabilities over the change of user, for set_capabilities. */
  prctl(PR_SET_KEEPCAPS, 1);
  if (setgroups(0, NULL) != 0 || setresgid(NOBODY, NOBODY, NOBODY) != 0 || setresuid(NOBODY, NOBODY, NOBODY) != 0) {
    complain("it can't change to the user nobody");
  }
}

/* The child is PID 1 of the new PID namespace: when it ends, every backend process ends. */
static void continue_in_child(bool is_root) {
  pid_t child = fork();
  if (child < 0) {
    complain("no process");
    _exit(EXIT_FAILURE);
  }
  if (child == 0) return;
  close_range(STDERR_FILENO + 1, ~0u, 0);
  drop_bounding_set();
  /* The child's user too: the signal of this process's death must be allowed to reach it. */
  if (is_root) become_nobody();
  set_capabilities(false);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  _exit(WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE);
}

static void put_tun(bool is_root) {
  mkdir("dev/net", 0755);
  mode_t all = umask(0);
  if (is_root) {
    if (mknod("dev/net/tun", S_IFCHR | 0666, makedev(TUN_MAJOR, TUN_MINOR)) != 0) complain("no net/tun");
  } else {
    /* A user namespace can't make device nodes, but it can bind this machine's. */
    int file = open("dev/net/tun", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    if (file >= 0) close(file);
    if (mount("/dev/net/tun", "dev/net/tun", NULL, MS_BIND, NULL) != 0) complain("no net/tun");
  }
  umask(all);
}

static bool build_root(bool with_tun, bool is_root) {
  bool done = mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
              mount("tmpfs", NEW_ROOT, "tmpfs", MS_NOSUID | MS_NOEXEC, "size=64k,mode=0755") == 0 && chdir(NEW_ROOT) == 0 &&
              mkdir("dev", 0755) == 0 && mkdir("dev/pts", 0755) == 0 &&
              mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0600") == 0 &&
              symlink("pts/ptmx", "dev/ptmx") == 0;
  if (done && with_tun) put_tun(is_root);
  return done;
}

/* The old root goes below the new one for a moment, then away: pivot_root(2), "pivot_root(".", ".")". */
static bool enter_root(void) {
  return syscall(SYS_pivot_root, ".", ".") == 0 && umount2(".", MNT_DETACH) == 0 && chdir("/") == 0 &&
         mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NOEXEC, NULL) == 0;
}

static void isolate_files(bool with_tun, bool is_root) {
  if (build_root(with_tun, is_root) && enter_root()) return;
  complain("no root of its own, it runs over this machine's whole file system");
}

static void drop_privileges(bool is_root, bool with_tun) {
  drop_bounding_set();
  if (is_root) become_nobody();
  set_capabilities(with_tun);
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) complain("no_new_privs can't be set");
  prctl(PR_SET_PDEATHSIG, SIGKILL);
}

void lockdown_enter(struct domain *domain, bool with_tun) {
#ifdef POSTERN_AGENT_UNLOCKED
  /* Sanitizers read /proc and make system calls of their own: their build has no lock-down. */
  (void)with_tun;
  (void)continue_in_child;
  (void)make_namespaces;
  (void)isolate_files;
  (void)drop_privileges;
  domain->dev = open("/dev", O_PATH | O_DIRECTORY | O_CLOEXEC);
#else
  bool is_root = geteuid() == 0;
  if (make_namespaces(is_root)) {
    continue_in_child(is_root);
    isolate_files(with_tun, is_root);
  }
  domain->dev = open("/dev", O_PATH | O_DIRECTORY | O_CLOEXEC);
  drop_privileges(is_root, with_tun);
  if (syscalls_restrict() != 0) complain("its system calls can't be restricted");
#endif
}
