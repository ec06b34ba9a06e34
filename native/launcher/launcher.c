/* The launcher starts one guest program: in its own mount and PID namespace, with the host's plan of its view, without the
 * capabilities that reach past it, under the seccomp filter whose listener it hands to the host.
 *
 *   host --plan--> outer --fork--> init (PID 1 of the guest) --fork--> PROGRAM
 *
 * Outer forwards signals and ends as the program ended. Each dies with its parent, and the PID namespace with init, so that nothing of
 * a guest survives its host. Usage: launcher PROGRAM ARGS..., with the control socket at POSTERN_LAUNCH_FD.
 *
 * On the control socket: the host sends a uint32_t length and the plan; the program's process answers with one byte 'L' and
 * the listener, or 'E' and a message; the host sends one byte 'G' when it serves the listener. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../protocol/window.h"
#include "filter.h"
#include "world.h"

/* A view with thousands of mirrored attribute files stays far below. */
#define PLAN_BYTES_MAX (8u << 20)
/* What shells use: the program was not found, could not be run; and as env and docker do: the launcher itself failed. */
enum { EXIT_LAUNCHER = 125, EXIT_NOT_RUN = 126, EXIT_NOT_FOUND = 127 };

/* What a guest may keep when it is root: what reaches no further than its files, its processes and its sockets. Not among them:
 * SYS_ADMIN (mounts), MKNOD (device nodes), SYS_PTRACE, CHECKPOINT_RESTORE (/proc/PID/map_files), DAC_READ_SEARCH (open_by_handle_at),
 * SYS_RAWIO, SYS_MODULE, SYS_BOOT, BPF, PERFMON. NET_ADMIN stays only where the host's plan asks for it. */
static const int capabilities_kept[] = {
    CAP_CHOWN,  CAP_DAC_OVERRIDE, CAP_FOWNER,  CAP_FSETID,  CAP_KILL,       CAP_SETGID,           CAP_SETUID,
    CAP_SETPCAP, CAP_NET_RAW,     CAP_SETFCAP, CAP_SYS_NICE, CAP_SYS_CHROOT, CAP_NET_BIND_SERVICE, CAP_AUDIT_WRITE,
};

static void fail(const char *what) {
  char message[512];
  int length = snprintf(message, sizeof message, "E%s: %s", what, strerror(errno));
  (void)!write(POSTERN_LAUNCH_FD, message, (size_t)length);
  _exit(EXIT_LAUNCHER);
}

static void read_exactly(void *buffer, size_t bytes) {
  for (size_t have = 0; have < bytes;) {
    ssize_t got = read(POSTERN_LAUNCH_FD, (char *)buffer + have, bytes - have);
    if (got <= 0 && errno != EINTR) fail("reading the host's plan");
    if (got > 0) have += (size_t)got;
  }
}

static char *read_plan(void) {
  uint32_t bytes;
  read_exactly(&bytes, sizeof bytes);
  if (bytes > PLAN_BYTES_MAX) {
    errno = E2BIG;
    fail("the host's plan");
  }
  char *plan = malloc(bytes + 1u);
  if (!plan) fail("memory for the host's plan");
  read_exactly(plan, bytes);
  plan[bytes] = 0;
  return plan;
}

static void write_file(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, text, strlen(text)) < 0) fail(path);
  close(fd);
}

/* Without root a user namespace gives the right to make mounts, and nothing else: the program runs as who it was. */
static void enter_user_namespace(uid_t uid, gid_t gid) {
  char map[64];
  write_file("/proc/self/setgroups", "deny");
  snprintf(map, sizeof map, "%u %u 1", uid, uid);
  write_file("/proc/self/uid_map", map);
  snprintf(map, sizeof map, "%u %u 1", gid, gid);
  write_file("/proc/self/gid_map", map);
}

static void enter_namespaces(void) {
  uid_t uid = geteuid();
  gid_t gid = getegid();
  int flags = CLONE_NEWNS | CLONE_NEWPID;
  if (unshare(flags) == 0) return;
  if (errno != EPERM) fail("unshare of the mount and PID namespaces");
  if (unshare(flags | CLONE_NEWUSER) != 0) fail("unshare of a user namespace (are unprivileged user namespaces enabled?)");
  enter_user_namespace(uid, gid);
}

static int is_kept(int capability, int keep_net_admin) {
  if (capability == CAP_NET_ADMIN) return keep_net_admin;
  for (size_t i = 0; i < sizeof capabilities_kept / sizeof *capabilities_kept; i++)
    if (capabilities_kept[i] == capability) return 1;
  return 0;
}

/* Of who attends a program: init ends it by a signal whoever it has become. */
static int is_init_s(int capability, int unused) {
  (void)unused;
  return capability == CAP_KILL;
}

static int is_nobody_s(int capability, int unused) {
  (void)capability;
  (void)unused;
  return 0;
}

static void drop_capabilities(int (*keeps)(int, int), int keep_net_admin) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2];
  if (syscall(SYS_capget, &header, data) != 0) fail("capget");
  for (int capability = 0; capability <= CAP_LAST_CAP; capability++) {
    if (keeps(capability, keep_net_admin)) continue;
    (void)prctl(PR_CAPBSET_DROP, capability, 0, 0, 0); /* EPERM where there was none to drop. */
    uint32_t bit = ~(1u << (capability % 32));
    data[capability / 32].effective &= bit;
    data[capability / 32].permitted &= bit;
  }
  data[0].inheritable = data[1].inheritable = 0;
  (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  if (syscall(SYS_capset, &header, data) != 0) fail("capset");
}

/* The window must be below the soft limit, or the kernel refuses to place a descriptor there. */
static void raise_descriptor_limit(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > POSTERN_WINDOW_LAST) return;
  limit.rlim_cur = POSTERN_WINDOW_LAST + 1;
  if (limit.rlim_max < limit.rlim_cur) limit.rlim_max = limit.rlim_cur;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) fail("RLIMIT_NOFILE must allow 1024 descriptors");
}

static void send_listener(int listener) {
  char byte = 'L';
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int))];
  } control = {.header = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
  memcpy(CMSG_DATA(&control.header), &listener, sizeof listener);
  struct iovec vector = {&byte, 1};
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  if (sendmsg(POSTERN_LAUNCH_FD, &message, 0) != 1) fail("handing over the listener");
}

static void run_program(char **argv, int keep_net_admin, int answers_poll, const sigset_t *original_mask) {
  if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) fail("PR_SET_PDEATHSIG");
  raise_descriptor_limit();
  drop_capabilities(is_kept, keep_net_admin);
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) fail("no_new_privs");
  int listener = install_filter(world_has_stand_ins(), answers_poll, !world_has_terminals());
  if (listener < 0) fail("the seccomp filter with its listener (Linux 5.19 or later)");
  send_listener(listener);
  close(listener);
  char go;
  if (read(POSTERN_LAUNCH_FD, &go, 1) != 1 || go != 'G') _exit(EXIT_LAUNCHER);
  sigprocmask(SIG_SETMASK, original_mask, NULL);
  (void)fcntl(POSTERN_LAUNCH_FD, F_SETFD, FD_CLOEXEC);
  (void)syscall(SYS_close_range, POSTERN_LAUNCH_FD + 1, ~0u, 0);
  execvp(argv[0], argv);
  int error = errno;
  fprintf(stderr, "postern: can't run %s: %s\n", argv[0], strerror(error));
  _exit(error == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_RUN);
}

/* A signal that the terminal sent (SI_KERNEL) has reached the whole foreground group already. */
static void forward(pid_t pid, const siginfo_t *info) {
  if (info->si_code != SI_KERNEL) kill(pid, info->si_signo);
}

/* From here on this process waits and forwards signals: it gets no right any more, and nobody without privileges looks into it. */
static void attend_only(void) {
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) _exit(EXIT_LAUNCHER);
}

/* Waits for `pid`, forwarding signals to it and reaping every other child. Returns its wait status. */
static int attend(pid_t pid) {
  sigset_t all;
  sigfillset(&all);
  for (;;) {
    siginfo_t info;
    if (sigwaitinfo(&all, &info) < 0) continue;
    if (info.si_signo != SIGCHLD) {
      forward(pid, &info);
      continue;
    }
    int status;
    pid_t reaped;
    while ((reaped = waitpid(-1, &status, WNOHANG)) > 0)
      if (reaped == pid) return status;
  }
}

/* Whether the plan goes on with this line, which is then behind. */
static int take_line(char **plan, const char *line) {
  size_t length = strlen(line);
  if (strncmp(*plan, line, length) != 0) return 0;
  *plan += length;
  return 1;
}

/* PID 1 of the guest: its end is the end of every process of the guest. */
static void run_init(char *plan, char **argv, int status_pipe, const sigset_t *original_mask) {
  char error[512];
  char *world = plan;
  int keep_net_admin = take_line(&world, "net-admin\n");
  int answers_poll = take_line(&world, "polls\n");
  if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) fail("PR_SET_PDEATHSIG");
  errno = 0;
  if (build_world(world, error, sizeof error) != 0) fail(error);
  free(plan);
  pid_t pid = fork();
  if (pid < 0) fail("fork of the program");
  if (pid == 0) run_program(argv, keep_net_admin, answers_poll, original_mask);
  close(POSTERN_LAUNCH_FD);
  /* Init runs without the filter: it keeps no right that the guest could want, and can't be traced by it. */
  drop_capabilities(is_init_s, 0);
  attend_only();
  int status = attend(pid);
  (void)!write(status_pipe, &status, sizeof status);
  _exit(0);
}

/* Ends as the program ended: by the same exit code, or by the same signal. */
static int end_as(int status) {
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  int number = WTERMSIG(status);
  struct rlimit no_core = {0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  signal(number, SIG_DFL);
  sigset_t only;
  sigemptyset(&only);
  sigaddset(&only, number);
  sigprocmask(SIG_UNBLOCK, &only, NULL);
  raise(number);
  return 128 + number;
}

int main(int argc, char **argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: launcher PROGRAM ARGS... (started by postern run)\n");
    return EXIT_LAUNCHER;
  }
  if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) fail("PR_SET_PDEATHSIG");
  /* What the host happens to have inherited is nothing to the guest. */
  (void)syscall(SYS_close_range, POSTERN_LAUNCH_FD + 1, ~0u, 0);
  sigset_t all, original_mask;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, &original_mask);
  char *plan = read_plan();
  enter_namespaces();
  int status_pipe[2];
  if (pipe2(status_pipe, O_CLOEXEC) != 0) fail("pipe");
  pid_t init = fork();
  if (init < 0) fail("fork of the guest's init");
  if (init == 0) {
    close(status_pipe[0]);
    run_init(plan, argv + 1, status_pipe[1], &original_mask);
  }
  close(status_pipe[1]);
  /* Init is of the same user. */
  drop_capabilities(is_nobody_s, 0);
  attend_only();
  close(POSTERN_LAUNCH_FD);
  int init_status = attend(init);
  int status;
  if (read(status_pipe[0], &status, sizeof status) == sizeof status) return end_as(status);
  return WIFEXITED(init_status) ? WEXITSTATUS(init_status) : end_as(init_status);
}
