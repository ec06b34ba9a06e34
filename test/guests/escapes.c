/* Ways around the boundary that a guest may try, and what stops each. */
#include "pty.h"

#include <dirent.h>
#include <linux/openat2.h>
#include <netinet/in.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>

#define WINDOW_FIRST 832
#define X32_BIT 0x40000000l
/* i386's numbers. */
enum { I386_OPEN = 5, I386_IOCTL = 54, I386_GETPID = 20 };

static int master, slave;

static long int80(long number, long a, long b, long c) {
  long result;
  __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory", "r8", "r9", "r10", "r11");
  if (result < 0 && result > -4096) {
    errno = (int)-result;
    return -1;
  }
  return result;
}

static void other_call_tables(void) {
  static struct winsize size;
  open_pair(&master, &slave);
  SAY("int80 getpid", int80(I386_GETPID, 0, 0, 0));
  SAY("int80 ioctl", int80(I386_IOCTL, slave, TIOCGWINSZ, (long)&size));
  SAY("x32 getpid", syscall(X32_BIT | SYS_getpid));
  SAY("x32 ioctl", syscall(X32_BIT | 514, slave, TIOCGWINSZ, &size));
  SAY("a number that is none", syscall(100000));
}

static void asynchronous_rings(void) {
  char parameters[120] = {0};
  SAY("io_uring_setup", syscall(SYS_io_uring_setup, 4, parameters));
  SAY("io_uring_enter", syscall(SYS_io_uring_enter, 0, 1, 0, 0, NULL, 0));
  SAY("io_uring_register", syscall(SYS_io_uring_register, 0, 0, NULL, 0));
}

/* Asynchronous I/O submits reads and writes that no filter sees; on the placeholder they must do nothing. */
static void asynchronous_io(void) {
  unsigned long context = 0;
  static char byte = 'x';
  struct {
    uint64_t data;
    uint32_t key, flags;
    uint16_t opcode;
    int16_t priority;
    uint32_t fd;
    uint64_t buffer, bytes;
    int64_t offset;
    uint64_t reserved;
    uint32_t more_flags, event_fd;
  } control = {.opcode = 1 /* IOCB_CMD_PWRITE */, .buffer = (uint64_t)&byte, .bytes = 1}, *list[] = {&control};
  open_pair(&master, &slave);
  control.fd = (uint32_t)slave;
  if (syscall(SYS_io_setup, 1, &context) == 0) (void)syscall(SYS_io_submit, context, 1, list);
  MUST(fcntl(master, F_SETFL, O_NONBLOCK));
  pause_ms(50);
  SAY("what has come through", read(master, &byte, 1));
}

static void socket_calls(void) {
  struct sockaddr_in address = {.sin_family = AF_INET};
  socklen_t length = sizeof address;
  struct msghdr message = {0};
  char byte = 0;
  int value = 1;
  open_pair(&master, &slave);
  SAY("sendto", sendto(slave, &byte, 1, 0, NULL, 0));
  SAY("recvfrom", recvfrom(slave, &byte, 1, MSG_DONTWAIT, NULL, NULL));
  SAY("sendmsg", sendmsg(slave, &message, 0));
  SAY("recvmsg", recvmsg(slave, &message, MSG_DONTWAIT));
  SAY("shutdown", shutdown(slave, SHUT_RDWR));
  SAY("connect", connect(slave, (struct sockaddr *)&address, sizeof address));
  SAY("getsockname", getsockname(slave, (struct sockaddr *)&address, &length));
  SAY("getpeername", getpeername(slave, (struct sockaddr *)&address, &length));
  SAY("setsockopt", setsockopt(slave, SOL_SOCKET, SO_KEEPALIVE, &value, sizeof value));
  SAY("getsockopt", getsockopt(slave, SOL_SOCKET, SO_TYPE, &value, &(socklen_t){sizeof value}));
  SAY("accept", accept(slave, NULL, NULL));
  SAY("listen", listen(slave, 1));
  SAY("splice", splice(slave, NULL, STDOUT_FILENO, NULL, 1, SPLICE_F_NONBLOCK));
  put(slave, "untouched");
  say_read("master", master);
}

static void reopening_the_placeholder(void) {
  char path[64];
  open_pair(&master, &slave);
  snprintf(path, sizeof path, "/proc/self/fd/%d", slave);
  SAY("open", open(path, O_RDWR | O_NOCTTY));
  SAY("openat2", syscall(SYS_openat2, AT_FDCWD, path, &(struct open_how){.flags = O_RDWR}, sizeof(struct open_how)));
  snprintf(path, sizeof path, "/dev/fd/%d", slave);
  SAY("open by /dev/fd", open(path, O_RDWR | O_NOCTTY));
}

static void say_open(const char *label, const char *path) {
  int fd = open(path, O_RDWR | O_NOCTTY);
  if (fd >= 0)
    say("%s: a descriptor in the window: %d", label, fd >= WINDOW_FIRST);
  else
    say("%s: %s", label, strerrorname_np(errno));
}

static void nodes_of_ones_own(void) {
  SAY("mknod", mknod("/tmp/postern-node", S_IFCHR | 0600, makedev(5, 2)));
  SAY("mknod in /dev", mknod("/dev/node", S_IFCHR | 0600, makedev(5, 2)));
  SAY("mknod of a block device", mknod("/tmp/postern-node", S_IFBLK | 0600, makedev(254, 0)));
  SAY("mount", mount("devtmpfs", "/mnt", "devtmpfs", 0, NULL));
  SAY("remount with devices", mount(NULL, "/dev", NULL, MS_REMOUNT, NULL));
  SAY("umount", umount("/dev"));
  SAY("bind", mount("/dev", "/mnt", NULL, MS_BIND, NULL));
}

static void put_file(const char *path, const char *text) {
  int fd = (int)MUST(open(path, O_WRONLY));
  (void)!write(fd, text, strlen(text));
  close(fd);
}

/* In a user namespace of its own a guest has every capability over what is in it. */
static void in_a_user_namespace(void) {
  char folder[] = "/tmp/postern-escapes-XXXXXX", bound[64], root[64], dev[64];
  MUST((long)mkdtemp(folder));
  snprintf(bound, sizeof bound, "%s/bound", folder);
  snprintf(root, sizeof root, "%s/root", folder);
  snprintf(dev, sizeof dev, "%s/root/dev", folder);
  close((int)MUST(open(bound, O_CREAT | O_WRONLY, 0600)));
  MUST(mkdir(root, 0700));
  MUST(mkdir(dev, 0700));
  if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) {
    say("unshare: %s", strerrorname_np(errno));
    return;
  }
  put_file("/proc/self/setgroups", "deny");
  put_file("/proc/self/uid_map", "0 0 1");
  put_file("/proc/self/gid_map", "0 0 1");
  SAY("mount a tmpfs", mount("tmpfs", "/mnt", "tmpfs", 0, NULL));
  SAY("mount devtmpfs", mount("devtmpfs", "/mnt", "devtmpfs", 0, NULL));
  SAY("remount /dev with devices", mount(NULL, "/dev", NULL, MS_REMOUNT | MS_BIND, NULL));
  SAY("umount /dev", umount2("/dev", MNT_DETACH));
  SAY("bind the device", mount("/dev/ptmx", bound, NULL, MS_BIND, NULL));
  say_open("open it there", bound);
  (void)umount(bound);
  SAY("bind /dev", mount("/dev", dev, NULL, MS_BIND | MS_REC, NULL));
  /* Who is in the chroot can't remove it. */
  pid_t child = (pid_t)MUST(fork());
  if (child != 0) {
    waitpid(child, NULL, 0);
    (void)umount2(dev, MNT_DETACH);
    unlink(bound);
    rmdir(dev);
    rmdir(root);
    rmdir(folder);
    return;
  }
  SAY("chroot", chroot(root));
  MUST(chdir("/"));
  say_open("open it in the chroot", "/dev/ptmx");
  say_open("open it relatively", "dev/ptmx");
  _exit(0);
}

static void other_processes(void) {
  long parent = getppid();
  char byte;
  struct iovec local = {&byte, 1}, remote = {(void *)0x400000, 1};
  SAY("the oldest process that is seen", getpgid(1) >= 0 ? 1 : -1);
  SAY("ptrace of it", ptrace(PTRACE_SEIZE, 1, 0, 0));
  SAY("process_vm_readv of it", process_vm_readv(1, &local, 1, &remote, 1, 0));
  SAY("pidfd_getfd of it", syscall(SYS_pidfd_getfd, (int)MUST(syscall(SYS_pidfd_open, 1, 0)), 3, 0));
  SAY("its descriptors", readlink("/proc/1/fd/0", &byte, 1));
  SAY("its memory", open("/proc/1/mem", O_RDONLY));
  SAY("its root", open("/proc/1/root", O_RDONLY | O_DIRECTORY) >= 0 ? 0 : -1);
  int seen = 0;
  DIR *directory = opendir("/proc");
  for (struct dirent *entry; (entry = readdir(directory));) seen += entry->d_name[0] >= '1' && entry->d_name[0] <= '9';
  say("processes in /proc: %d, parent %d", seen <= 4, parent > 0);
}

static void the_filter_itself(void) {
  SAY("bpf", syscall(SYS_bpf, 0, NULL, 0));
  SAY("the launcher's socket", fcntl(3, F_GETFD));
  SAY("the injector's own call", RAW(openat, -4242, "null", O_RDWR));
  SAY("a listener of its own", syscall(SYS_seccomp, 1 /* SECCOMP_SET_MODE_FILTER */, 8 /* NEW_LISTENER */, NULL));
  SAY("kexec_load", syscall(SYS_kexec_load, 0, 0, NULL, 0));
}

static atomic_int racing = 1;
static char flipping_path[16];
static void *flip_path(void *unused) {
  (void)unused;
  while (atomic_load(&racing)) {
    memcpy(flipping_path + 5, "ptmx", 4);
    memcpy(flipping_path + 5, "null", 4);
  }
  return NULL;
}

/* A path that changes while it is judged leads to the placeholder or to the harmless file, never to the device. */
static void a_path_that_changes(void) {
  int harmless = 0, guarded = 0, refused = 0, escaped = 0;
  strcpy(flipping_path, "/dev/null");
  pthread_t racer = start(flip_path, NULL);
  for (int i = 0; i < 1000; i++) {
    int fd = open(flipping_path, O_RDWR | O_NOCTTY);
    struct stat st;
    if (fd < 0) {
      refused++;
      continue;
    }
    MUST(fstat(fd, &st));
    if (st.st_rdev == makedev(1, 3)) harmless++;
    else if (fd >= WINDOW_FIRST && st.st_rdev == makedev(5, 2)) guarded++;
    else escaped++;
    close(fd);
  }
  atomic_store(&racing, 0);
  pthread_join(racer, NULL);
  say("adds up: %d, escaped: %d", harmless + guarded + refused == 1000, escaped);
}

static int flipping_value;
static void *flip_value(void *unused) {
  (void)unused;
  while (atomic_load(&racing)) {
    __atomic_store_n(&flipping_value, 15, __ATOMIC_RELAXED);
    __atomic_store_n(&flipping_value, 0, __ATOMIC_RELAXED);
  }
  return NULL;
}

/* The policy allows the line discipline N_TTY alone: the driver must get what was judged. */
static void a_value_that_changes(void) {
  int allowed = 0, refused = 0, other = 0, discipline;
  open_pair(&master, &slave);
  pthread_t racer = start(flip_value, NULL);
  for (int i = 0; i < 3000 || allowed == 0 || refused == 0; i++) {
    if (ioctl(slave, TIOCSETD, &flipping_value) == 0) {
      allowed++;
      MUST(ioctl(slave, TIOCGETD, &discipline));
      other += discipline != 0;
    } else {
      refused++;
      other += errno != EPERM;
    }
  }
  atomic_store(&racing, 0);
  pthread_join(racer, NULL);
  say("both were seen: %d, what was not judged: %d", allowed > 0 && refused > 0, other);
}

static void swap_of_descriptors(void) {
  struct stat st;
  open_pair(&master, &slave);
  int escaped = 0;
  for (int i = 0; i < 300; i++) {
    int fd = (int)MUST(open("/dev/ptmx", O_RDWR | O_NOCTTY));
    MUST(dup2(fd, WINDOW_FIRST + 100));
    MUST(close(fd));
    MUST(fstat(WINDOW_FIRST + 100, &st));
    escaped += st.st_rdev != makedev(5, 2);
  }
  say("wrong files: %d", escaped);
}

static const struct test_case cases[] = {
    {"other call tables", other_call_tables},
    {"io_uring", asynchronous_rings},
    {"asynchronous I/O", asynchronous_io},
    {"socket calls", socket_calls},
    {"opening the placeholder anew", reopening_the_placeholder},
    {"nodes of its own", nodes_of_ones_own},
    {"in a user namespace", in_a_user_namespace},
    {"other processes", other_processes},
    {"the filter itself", the_filter_itself},
    {"a path that changes", a_path_that_changes},
    {"a value that changes", a_value_that_changes},
    {"descriptors that change", swap_of_descriptors},
};

int main(int argc, char **argv) { return run_cases(cases, COUNT(cases), argc, argv); }
