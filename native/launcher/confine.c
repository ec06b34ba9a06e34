/* Starts a program that may reach only what it needs, for a QEMU whose VM has taken it over: no network, of this machine's files the system's
 * libraries and what it has inherited as descriptors, no process but itself.
 *
 * Usage: confine [--share-network] [--read PATH]... [--close DESCRIPTOR] -- PROGRAM ARGS...
 *
 * It is started as the user that the program is to be, without privileges; by a descriptor of itself, where that user can't reach its file.
 * The network goes by a network namespace of its own, in a user namespace that needs no right to make; with --share-network, for a program
 * that draws on an X server, only TCP goes. Files, signals and ptrace go by Landlock (landlock(7)). What this kernel can't do is said on standard
 * error, and the program runs with what is left: the kernel's version and settings are the administrator's choice. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { EXIT_CONFINE = 125, EXIT_NOT_RUN = 126 };
#define PATHS_MAX 16
/* Far more than a VM's chardevs and event counters. */
#define DESCRIPTORS_MAX 512

/* landlock(7), "Landlock features": Debian 12's header is older than what its kernels' successors know. */
#define FS_TRUNCATE (1ULL << 14)
#define FS_IOCTL_DEV (1ULL << 15)
#define NET_BIND_TCP (1ULL << 0)
#define NET_CONNECT_TCP (1ULL << 1)
#define SCOPE_ABSTRACT_UNIX_SOCKET (1ULL << 0)
#define SCOPE_SIGNAL (1ULL << 1)
struct ruleset {
  uint64_t handled_fs, handled_net, scoped;
};
#define FS_OF_ABI_1 (LANDLOCK_ACCESS_FS_MAKE_SYM * 2 - 1)
#define FS_READ (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define FS_OF_FILES (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE | FS_IOCTL_DEV)

static const struct {
  const char *path;
  uint64_t access;
} always[] = {
    {"/usr", FS_READ | LANDLOCK_ACCESS_FS_EXECUTE},
    {"/lib", FS_READ | LANDLOCK_ACCESS_FS_EXECUTE},
    {"/lib64", FS_READ | LANDLOCK_ACCESS_FS_EXECUTE},
    {"/bin", FS_READ | LANDLOCK_ACCESS_FS_EXECUTE},
    {"/etc/ld.so.cache", LANDLOCK_ACCESS_FS_READ_FILE},
    {"/etc/localtime", LANDLOCK_ACCESS_FS_READ_FILE},
    {"/proc/self", FS_READ},
    {"/sys/devices/system", FS_READ},
    {"/dev/null", LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE},
    {"/dev/urandom", LANDLOCK_ACCESS_FS_READ_FILE},
    {"/dev/kvm", LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | FS_IOCTL_DEV},
};

static void fail(const char *what) {
  fprintf(stderr, "confine: %s: %s\n", what, strerror(errno));
  _exit(EXIT_CONFINE);
}

static void complain(const char *what) { fprintf(stderr, "confine: %s: %s\n", what, strerror(errno)); }

static void write_file(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, text, strlen(text)) < 0) fail(path);
  close(fd);
}

/* A user namespace begins with every capability in it: none stays. */
static void drop_capabilities(void) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct none[2] = {{0}, {0}};
  for (int capability = 0; capability <= CAP_LAST_CAP; capability++) (void)prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
  if (syscall(SYS_capset, &header, none) != 0) fail("capset");
}

static void leave_network(void) {
  uid_t uid = geteuid();
  gid_t gid = getegid();
  char map[64];
  if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
    complain("it stays in this machine's network (are unprivileged user namespaces enabled?)");
    return;
  }
  write_file("/proc/self/setgroups", "deny");
  snprintf(map, sizeof map, "%u %u 1", uid, uid);
  write_file("/proc/self/uid_map", map);
  snprintf(map, sizeof map, "%u %u 1", gid, gid);
  write_file("/proc/self/gid_map", map);
}

static struct ruleset ruleset_of(long abi, int share_network) {
  struct ruleset rules = {.handled_fs = FS_OF_ABI_1};
  if (abi >= 2) rules.handled_fs |= LANDLOCK_ACCESS_FS_REFER;
  if (abi >= 3) rules.handled_fs |= FS_TRUNCATE;
  if (abi >= 4) rules.handled_net = NET_BIND_TCP | NET_CONNECT_TCP;
  if (abi >= 5) rules.handled_fs |= FS_IOCTL_DEV;
  if (abi >= 6) rules.scoped = SCOPE_SIGNAL | (share_network ? 0 : SCOPE_ABSTRACT_UNIX_SOCKET);
  return rules;
}

/* EBADFD: a file without a place, such as a memory file, which no rule need name. */
static void permit(int ruleset, uint64_t handled, int file, uint64_t access) {
  struct landlock_path_beneath_attr rule = {.allowed_access = access & handled, .parent_fd = file};
  if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0 && errno != EBADFD)
    fail("landlock_add_rule");
}

static void permit_path(int ruleset, uint64_t handled, const char *path, uint64_t access) {
  int file = open(path, O_PATH | O_CLOEXEC);
  if (file < 0) return; /* What is not there can't be read. */
  struct stat st;
  if (fstat(file, &st) != 0) fail(path);
  permit(ruleset, handled, file, S_ISDIR(st.st_mode) ? access : access & FS_OF_FILES);
  close(file);
}

/* What it has inherited it may open anew, by /proc/self/fd, as it has it. */
static void permit_inherited(int ruleset, uint64_t handled) {
  for (int fd = STDERR_FILENO + 1; fd < DESCRIPTORS_MAX; fd++) {
    struct stat st;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fd == ruleset || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) continue;
    int mode = flags & O_ACCMODE;
    uint64_t writes = LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE;
    permit(ruleset, handled, fd, (mode != O_WRONLY ? LANDLOCK_ACCESS_FS_READ_FILE : 0) | (mode != O_RDONLY ? writes : 0));
  }
}

static void leave_files(int share_network, const char *const *reads, unsigned count) {
  long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
  if (abi < 1) {
    complain("its files are not restricted (is Landlock enabled?)");
    return;
  }
  struct ruleset rules = ruleset_of(abi, share_network);
  /* The structure has grown; an older kernel knows its beginning. */
  size_t bytes = abi >= 6 ? sizeof rules : abi >= 4 ? 2 * sizeof(uint64_t) : sizeof(uint64_t);
  int ruleset = (int)syscall(SYS_landlock_create_ruleset, &rules, bytes, 0);
  if (ruleset < 0) fail("landlock_create_ruleset");
  for (size_t i = 0; i < sizeof always / sizeof *always; i++)
    permit_path(ruleset, rules.handled_fs, always[i].path, always[i].access);
  for (unsigned i = 0; i < count; i++) permit_path(ruleset, rules.handled_fs, reads[i], FS_READ | LANDLOCK_ACCESS_FS_EXECUTE);
  permit_inherited(ruleset, rules.handled_fs);
  if (syscall(SYS_landlock_restrict_self, ruleset, 0) != 0) fail("landlock_restrict_self");
  close(ruleset);
}

static void set_limits(void) {
  struct rlimit no_core = {0, 0}, descriptors = {DESCRIPTORS_MAX, DESCRIPTORS_MAX};
  if (setrlimit(RLIMIT_CORE, &no_core) != 0 || setrlimit(RLIMIT_NOFILE, &descriptors) != 0) fail("setrlimit");
}

int main(int argc, char **argv) {
  const char *reads[PATHS_MAX];
  unsigned read_count = 0;
  int share_network = 0, itself = -1, at = 1;
  for (; at < argc && strcmp(argv[at], "--") != 0; at++) {
    if (strcmp(argv[at], "--share-network") == 0) share_network = 1;
    else if (strcmp(argv[at], "--close") == 0 && at + 1 < argc) itself = atoi(argv[++at]);
    else if (strcmp(argv[at], "--read") == 0 && at + 1 < argc && read_count < PATHS_MAX) reads[read_count++] = argv[++at];
    else break;
  }
  if (at + 1 >= argc || strcmp(argv[at], "--") != 0) {
    fprintf(stderr, "usage: confine [--share-network] [--read PATH]... [--close DESCRIPTOR] -- PROGRAM ARGS...\n");
    return EXIT_CONFINE;
  }
  int death_signal = 0;
  if (prctl(PR_GET_PDEATHSIG, &death_signal) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) fail("prctl");
  if (itself > STDERR_FILENO) close(itself);
  set_limits();
  if (!share_network) leave_network();
  drop_capabilities();
  leave_files(share_network, reads, read_count);
  /* A change of namespaces may have cleared it. */
  if (death_signal != 0 && prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0) fail("PR_SET_PDEATHSIG");
  execvp(argv[at + 1], argv + at + 1);
  complain(argv[at + 1]);
  return EXIT_NOT_RUN;
}
