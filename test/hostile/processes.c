/* Ways to processes that are not the guest's, to rights that it was not given, and out of its namespaces. A process outside holds a
 * secret; the harness gives its number in POSTERN_VICTIM and where the secret is in POSTERN_SECRET_AT, and looks at it afterwards. */
#include "attempt.h"

#include <linux/capability.h>
#include <linux/perf_event.h>
#include <netinet/in.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/xattr.h>

#define SECRET_BYTES 16

static pid_t victim(void) {
  const char *text = getenv("POSTERN_VICTIM");
  return text ? atoi(text) : 0;
}
static unsigned long secret_at(void) {
  const char *text = getenv("POSTERN_SECRET_AT");
  return text ? strtoul(text, NULL, 16) : 0;
}

/* In a PID namespace the number means nobody, or somebody else: every number that is somebody is tried too. */
static int for_everybody(int (*one)(pid_t pid), pid_t *whom) {
  int error = ESRCH;
  for (int i = -1; i <= 64; i++) {
    pid_t pid = i < 0 ? victim() : i;
    if (pid <= 0 || pid == getpid() || pid == getppid() || (i > 1 && kill(pid, 0) != 0)) continue;
    /* Without Postern only the victim may be touched. */
    if (getenv("POSTERN_CONTROL") && pid != victim()) continue;
    *whom = pid;
    errno = 0;
    if (one(pid) == 0) return 0;
    if (errno != ESRCH && errno != ENOENT) error = errno;
  }
  errno = error;
  return -1;
}

static void judge_everybody(const char *what, int (*one)(pid_t pid)) {
  pid_t whom = 0;
  if (for_everybody(one, &whom) == 0) SUCCEEDED("%s of process %d", what, whom);
  STOPPED("%s: %s", what, strerrorname_np(errno));
}

static int trace(pid_t pid) {
  if (ptrace(PTRACE_SEIZE, pid, 0, 0) != 0) return -1;
  ptrace(PTRACE_DETACH, pid, 0, 0);
  return 0;
}
static char stolen[SECRET_BYTES];
static int read_memory(pid_t pid) {
  struct iovec local = {stolen, SECRET_BYTES}, remote = {(void *)secret_at(), SECRET_BYTES};
  return process_vm_readv(pid, &local, 1, &remote, 1, 0) == SECRET_BYTES ? 0 : -1;
}
static int write_memory(pid_t pid) {
  static char mine[] = "overwritten by a";
  struct iovec local = {mine, SECRET_BYTES}, remote = {(void *)secret_at(), SECRET_BYTES};
  return process_vm_writev(pid, &local, 1, &remote, 1, 0) == SECRET_BYTES ? 0 : -1;
}
static int open_of(pid_t pid, const char *what, int flags) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/%s", pid, what);
  int fd = open(path, flags | O_CLOEXEC);
  if (fd < 0) return -1;
  close(fd);
  return 0;
}
static int open_memory(pid_t pid) { return open_of(pid, "mem", O_RDWR); }
static int open_root(pid_t pid) { return open_of(pid, "root/", O_RDONLY | O_DIRECTORY); }
static int open_descriptor(pid_t pid) { return open_of(pid, "fd/0", O_RDONLY); }
static int open_environment(pid_t pid) { return open_of(pid, "environ", O_RDONLY); }
static int take_descriptor(pid_t pid) {
  int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
  if (pidfd < 0) return -1;
  return syscall(SYS_pidfd_getfd, pidfd, 0, 0) >= 0 ? 0 : -1;
}
static int send_signal(pid_t pid) { return pid == 1 ? (errno = EPERM, -1) : kill(pid, SIGCONT); }
static int set_limits(pid_t pid) {
  struct rlimit old;
  /* The guest's own init has the guest's limits. */
  if (pid == 1) return errno = EPERM, -1;
  return prlimit(pid, RLIMIT_NOFILE, NULL, &old);
}
static int count_events(pid_t pid) {
  struct perf_event_attr attributes = {.type = PERF_TYPE_SOFTWARE, .size = sizeof attributes, .config = PERF_COUNT_SW_TASK_CLOCK};
  return syscall(SYS_perf_event_open, &attributes, pid, -1, -1, 0) >= 0 ? 0 : -1;
}
static int enter_mounts(pid_t pid) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/ns/mnt", pid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  return fd < 0 ? -1 : setns(fd, 0);
}
static int enter_by_pidfd(pid_t pid) {
  int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
  return pidfd < 0 ? -1 : setns(pidfd, CLONE_NEWNS);
}
static int compare(pid_t pid) { return syscall(SYS_kcmp, getpid(), pid, 2 /* KCMP_FILES */, 0, 0) >= 0 ? 0 : -1; }
static int advise(pid_t pid) {
  int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
  struct iovec range = {(void *)(secret_at() & ~4095ul), 4096};
  return pidfd >= 0 && syscall(SYS_process_madvise, pidfd, &range, 1, 20 /* MADV_COLD */, 0) >= 0 ? 0 : -1;
}

static void tracing(void) { judge_everybody("ptrace", trace); }
static void reading(void) { judge_everybody("process_vm_readv", read_memory); }
static void writing(void) { judge_everybody("process_vm_writev", write_memory); }
static void memory_file(void) { judge_everybody("open of /proc/PID/mem", open_memory); }
static void root_of(void) { judge_everybody("open of /proc/PID/root", open_root); }
static void descriptor_of(void) { judge_everybody("open of /proc/PID/fd/0", open_descriptor); }
static void environment_of(void) { judge_everybody("open of /proc/PID/environ", open_environment); }
static void taking(void) { judge_everybody("pidfd_getfd", take_descriptor); }
static void signalling(void) { judge_everybody("kill", send_signal); }
static void limits_of(void) { judge_everybody("prlimit", set_limits); }
static void counting(void) { judge_everybody("perf_event_open", count_events); }
static void mounts_of(void) { judge_everybody("setns to the mounts", enter_mounts); }
static void mounts_by_pidfd(void) { judge_everybody("setns by pidfd", enter_by_pidfd); }
static void comparing(void) { judge_everybody("kcmp", compare); }
static void advising(void) { judge_everybody("process_madvise", advise); }

/* A signal of the driver's readiness, sent to somebody else. */
static void owner_of_signals(void) {
  int master, slave;
  open_pair(&master, &slave);
  if (fcntl(slave, F_SETOWN, victim()) != 0) STOPPED("F_SETOWN: %s", strerrorname_np(errno));
  if (fcntl(slave, F_GETOWN) != victim()) STOPPED("F_SETOWN: nobody has this number");
  SUCCEEDED("process %d would get SIGIO", victim());
}

/* ---- Rights. */

static void rights_back(void) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2];
  MUST(syscall(SYS_capget, &header, data));
  uint32_t wanted = 1u << CAP_SYS_ADMIN | 1u << CAP_MKNOD | 1u << CAP_SYS_PTRACE;
  data[0].effective |= wanted, data[0].permitted |= wanted;
  judge_call("capset", syscall(SYS_capset, &header, data));
}

static void privileges_again(void) {
  if (prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0) != 0) STOPPED("PR_SET_NO_NEW_PRIVS of 0: %s", strerrorname_np(errno));
  SUCCEEDED("no_new_privs is off");
}

static char own_path[256];

/* A copy of this program with something that gives rights, by which it would tell. */
static const char *own_copy(void) {
  static char path[300];
  char buffer[1 << 16];
  snprintf(path, sizeof path, "%s/copy", own_folder());
  int from = (int)MUST(open(own_path, O_RDONLY)), to = (int)MUST(open(path, O_CREAT | O_WRONLY, 0755));
  ssize_t got;
  while ((got = read(from, buffer, sizeof buffer)) > 0) MUST(write(to, buffer, (size_t)got));
  close(from);
  close(to);
  return path;
}

static int status_of(const char *path, const char *what) {
  pid_t child = (pid_t)MUST(fork());
  if (child == 0) {
    execl(path, path, what, NULL);
    _exit(9);
  }
  int status;
  MUST(waitpid(child, &status, 0));
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void setuid_program(void) {
  const char *path = own_copy();
  if (geteuid() != 0) IMPOSSIBLE("only root can make a program of somebody else's");
  if (chown(path, 65534, 65534) != 0 || chmod(path, 04755) != 0) STOPPED("chown or chmod: %s", strerrorname_np(errno));
  MUST(chmod(own_path, 0755));
  if (status_of(path, "who") == 77) SUCCEEDED("the program ran as its owner");
  STOPPED("the program ran as its caller");
}

static void program_with_rights(void) {
  const char *path = own_copy();
  struct vfs_cap_data data = {.magic_etc = VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE};
  data.data[0].permitted = 1u << CAP_SYS_ADMIN;
  if (setxattr(path, "security.capability", &data, sizeof(struct vfs_cap_data), 0) != 0) STOPPED("setxattr: %s", strerrorname_np(errno));
  if (status_of(path, "admin") == 77) SUCCEEDED("the program has CAP_SYS_ADMIN");
  STOPPED("the program has no right more than its caller");
}

static int tell_who(void) { return geteuid() == 65534 ? 77 : 0; }
static int tell_admin(void) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2];
  return syscall(SYS_capget, &header, data) == 0 && (data[0].effective & 1u << CAP_SYS_ADMIN) ? 77 : 0;
}

/* ---- The whole machine. */

static void judge_writable(const char *path) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) STOPPED("open of %s: %s", path, strerrorname_np(errno));
  close(fd);  /* Nothing is written. */
  SUCCEEDED("%s may be written", path);
}
static void core_pattern(void) { judge_writable("/proc/sys/kernel/core_pattern"); }
static void overcommit(void) { judge_writable("/proc/sys/vm/overcommit_memory"); }
static void power(void) { judge_writable("/sys/power/state"); }
static void kernel_memory(void) { judge_writable("/sys/kernel/mm/transparent_hugepage/enabled"); }
static void kernel_memory_remounted(void) {
  enter_namespaces(CLONE_NEWNS);
  if (syscall(SYS_mount, NULL, "/sys/kernel", NULL, 32ul | 4096ul /* MS_REMOUNT | MS_BIND */, NULL) != 0)
    STOPPED("remount of /sys/kernel: %s", strerrorname_np(errno));
  kernel_memory();
}
static void core_pattern_in_a_namespace(void) {
  enter_namespaces(CLONE_NEWNS | CLONE_NEWPID);
  pid_t child = (pid_t)MUST(fork());
  if (child != 0) {
    waitpid(child, NULL, 0);
    _exit(0);
  }
  if (syscall(SYS_mount, "proc", "/mnt", "proc", 0, NULL) != 0) STOPPED("mount of a proc of its own: %s", strerrorname_np(errno));
  judge_writable("/mnt/sys/kernel/core_pattern");
}
static void core_pattern_remounted(void) {
  enter_namespaces(CLONE_NEWNS);
  if (syscall(SYS_mount, NULL, "/proc/sys", NULL, 32ul | 4096ul /* MS_REMOUNT | MS_BIND */, NULL) != 0)
    STOPPED("remount of /proc/sys: %s", strerrorname_np(errno));
  judge_writable("/proc/sys/kernel/core_pattern");
}
static void port_level(void) { judge_call("iopl", syscall(SYS_iopl, 3)); }
static void extended_filter(void) { judge_call("bpf", syscall(SYS_bpf, 5 /* BPF_PROG_LOAD */, NULL, 0)); }
static void other_kernel(void) {
  /* With flags that no kernel knows: what is not stopped before fails of these. */
  long result = syscall(SYS_kexec_load, 0, 0, NULL, 0x8000ul);
  if (result == -1 && errno != EINVAL) STOPPED("kexec_load: %s", strerrorname_np(errno));
  SUCCEEDED("kexec_load got as far as its flags");
}
static void module_of_its_own(void) {
  long result = syscall(SYS_init_module, "x", 1ul, "");
  if (result == -1 && (errno == EPERM || errno == ENOSYS)) STOPPED("init_module: %s", strerrorname_np(errno));
  SUCCEEDED("init_module got as far as the module");
}

/* ---- The launcher's processes, and the host. */

static void init_traced(void) { judge_call("ptrace of init", ptrace(PTRACE_SEIZE, 1, 0, 0)); }
static void init_killed(void) {
  MUST(kill(1, SIGKILL));
  MUST(kill(1, SIGSTOP));
  pause_ms(50);
  if (kill(1, 0) != 0) SUCCEEDED("init is gone");
  STOPPED("init takes no such signal from inside");
}

/* A process's name is the guest's to choose: what the host reads of it in /proc must not mislead it. */
static void misleading_name(void) {
  int master, slave;
  struct winsize size;
  static const char *names[] = {"x) R 1 1 1", "a\nTgid:\t1", "b\nThreads:\t9", "\nShdPnd:\tf", ")))) Z 0", "c\nSigPnd:\tff"};
  open_pair(&master, &slave);
  for (size_t i = 0; i < COUNT(names); i++) {
    MUST(prctl(PR_SET_NAME, names[i]));
    put(master, "z");
    char byte = 0;
    if (read(slave, &byte, 1) != 1 || byte != 'z') SUCCEEDED("as '%s' it is taken for another", names[i]);
    if (ioctl(slave, TIOCGWINSZ, &size) != 0) SUCCEEDED("as '%s' its call is lost", names[i]);
  }
  STOPPED("six names, each like a line of /proc, and every call is answered");
}

static void undumpable(void) {
  int master, slave;
  struct winsize size;
  MUST(prctl(PR_SET_DUMPABLE, 0));
  open_pair(&master, &slave);
  errno = 0;
  int result = ioctl(slave, TIOCGWINSZ, &size);
  if (result == 0 && slave < WINDOW_FIRST) SUCCEEDED("the terminal answers unjudged");
  STOPPED("judged like any other: %s", result == 0 ? "answered" : strerrorname_np(errno));
}

/* The placeholder is a loopback pair: whoever connects first to the host's listener would be its other end. */
static atomic_int connecting = 1;
static void *connect_to_everything(void *unused) {
  (void)unused;
  while (atomic_load(&connecting)) {
    FILE *table = fopen("/proc/net/tcp", "r");
    char line[256];
    unsigned port, state;
    while (table && fgets(line, sizeof line, table)) {
      if (sscanf(line, " %*d: %*8x:%4x %*8x:%*4x %x", &port, &state) != 2 || state != 0x0a) continue;
      int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
      struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
      (void)connect(fd, (struct sockaddr *)&address, sizeof address);
      close(fd);
    }
    if (table) fclose(table);
  }
  return NULL;
}
static void faster_at_the_port(void) {
  start(connect_to_everything, NULL);
  start(connect_to_everything, NULL);
  for (int i = 0; i < 150; i++) {
    int master, slave;
    struct pollfd ready;
    open_pair(&master, &slave);
    put(master, "p");
    ready = (struct pollfd){.fd = slave, .events = POLLIN};
    if (poll(&ready, 1, 5000) != 1) SUCCEEDED("a placeholder is not the host's: it shows nothing");
    close(master);
    close(slave);
  }
  atomic_store(&connecting, 0);
  STOPPED("150 pairs of placeholders, each with its own end");
}

static const struct attempt attempts[] = {
    {"ptrace of an outsider", "to trace a process outside, by any number", tracing},
    {"process_vm_readv of an outsider", "to read a secret outside", reading},
    {"process_vm_writev of an outsider", "to overwrite it", writing},
    {"/proc/PID/mem of an outsider", "to open its memory", memory_file},
    {"/proc/PID/root of an outsider", "to see its files", root_of},
    {"/proc/PID/fd of an outsider", "to open its descriptors anew", descriptor_of},
    {"/proc/PID/environ of an outsider", "to read its environment", environment_of},
    {"pidfd_getfd of an outsider", "to take its descriptors", taking},
    {"kill of an outsider", "to send it signals", signalling},
    {"prlimit of an outsider", "to change its limits", limits_of},
    {"perf_event_open of an outsider", "to count what it does", counting},
    {"kcmp of an outsider", "to compare with it", comparing},
    {"process_madvise of an outsider", "to advise about its memory", advising},
    {"setns", "to enter an outsider's mounts", mounts_of},
    {"setns by pidfd", "the same by a pidfd", mounts_by_pidfd},
    {"F_SETOWN", "to have the driver's readiness signalled to an outsider", owner_of_signals},
    {"capset", "to take back what the launcher has dropped", rights_back},
    {"no_new_privs", "to switch it off", privileges_again},
    {"a setuid program", "to become a program's owner", setuid_program},
    {"a program with capabilities", "to get CAP_SYS_ADMIN of a file", program_with_rights},
    {"core_pattern", "to have the kernel run a program of its own (nothing is written)", core_pattern},
    {"/proc/sys", "to set up the machine (nothing is written)", overcommit},
    {"/sys/power", "to put the machine to sleep (nothing is written)", power},
    {"/sys/kernel", "to set up its memory (nothing is written)", kernel_memory},
    {"/sys/kernel remounted", "to make it writable in a user namespace", kernel_memory_remounted},
    {"a proc of its own", "the same in a user namespace with a /proc of its own", core_pattern_in_a_namespace},
    {"/proc/sys remounted", "to make it writable in a user namespace", core_pattern_remounted},
    {"iopl", "to reach devices by their ports", port_level},
    {"bpf", "to load a program into the kernel", extended_filter},
    {"kexec_load", "to load another kernel", other_kernel},
    {"init_module", "to load a module", module_of_its_own},
    {"ptrace of init", "to trace the launcher's process, which has no filter", init_traced},
    {"kill of init", "to end or stop the launcher's process", init_killed},
    {"a misleading name", "names that look like lines of /proc", misleading_name},
    {"an undumpable process", "to keep the host from looking at it", undumpable},
    {"the placeholder's port", "to connect to the host's listener before the host does", faster_at_the_port},
};

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "who") == 0) return tell_who();
  if (argc == 2 && strcmp(argv[1], "admin") == 0) return tell_admin();
  snprintf(own_path, sizeof own_path, "%s", argv[0]);
  return run_attempts(attempts, COUNT(attempts), argc, argv);
}
