/* Copies of a terminal's descriptor: how they are made, what they share, when the last one goes. */
#include "pty.h"

#include <linux/close_range.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>

/* A number that is free everywhere and in the window of a guest's guarded descriptors. */
#define SPARE 1000

static int master, slave;

/* Whether the slave's last copy has gone, as the master sees it. */
static void say_released(const char *label) {
  char byte;
  MUST(fcntl(master, F_SETFL, O_NONBLOCK));
  SAY(label, read(master, &byte, 1));
  MUST(fcntl(master, F_SETFL, 0));
}

static void dup_copies(void) {
  open_pair(&master, &slave);
  int copy = (int)SAY_OK("dup", dup(slave));
  SAY("a copy stays open over exec", fcntl(copy, F_GETFD));
  close(slave);
  say_released("one copy is left");
  put(copy, "through the copy");
  say_read("master", master);
  SAY("F_GETFL", fcntl(copy, F_GETFL) & (O_ACCMODE | O_NONBLOCK));
  SAY("isatty", isatty(copy));
  close(copy);
  say_released("no copy is left");
  SAY("the old number", fcntl(copy, F_GETFD));
}

static void dup2_and_dup3(void) {
  open_pair(&master, &slave);
  SAY("dup2", dup2(slave, SPARE));
  SAY("dup2 to itself", dup2(slave, slave) == slave);
  SAY("dup3 to itself", dup3(slave, slave, 0));
  SAY("dup3 with other flags", dup3(slave, SPARE + 1, O_NONBLOCK));
  SAY("dup3", dup3(slave, SPARE + 1, O_CLOEXEC));
  SAY("F_GETFD", fcntl(SPARE + 1, F_GETFD));
  SAY("F_GETFD", fcntl(SPARE, F_GETFD));
  SAY("dup2 of a closed one", dup2(SPARE + 2, SPARE + 3));
  SAY("dup2 to a negative", dup2(slave, -1));
  SAY("dup2 beyond the limit", dup2(slave, 1 << 20));
  int master2, slave2;
  open_pair(&master2, &slave2);
  SAY("dup2 over another terminal", dup2(slave2, SPARE) == SPARE);
  put(SPARE, "second");
  say_read("its master", master2);
  int null = open("/dev/null", O_RDWR);
  SAY("dup2 of an ordinary file over it", dup2(null, SPARE) == SPARE);
  SAY("write to it", write(SPARE, "12345", 5));
}

static void f_dupfd(void) {
  open_pair(&master, &slave);
  SAY("F_DUPFD", fcntl(slave, F_DUPFD, SPARE));
  SAY("F_DUPFD once more", fcntl(slave, F_DUPFD, SPARE));
  SAY("F_DUPFD_CLOEXEC", fcntl(slave, F_DUPFD_CLOEXEC, SPARE));
  SAY("its F_GETFD", fcntl(SPARE + 2, F_GETFD));
  SAY("F_DUPFD beyond the limit", fcntl(slave, F_DUPFD, 1 << 20));
  SAY("F_DUPFD negative", fcntl(slave, F_DUPFD, -1));
}

static void status_flags(void) {
  char byte;
  open_pair(&master, &slave);
  int copy = dup(slave), on = 1, off = 0;
  SAY("F_SETFL", fcntl(slave, F_SETFL, O_NONBLOCK));
  SAY("the copy shares it", (fcntl(copy, F_GETFL) & O_NONBLOCK) != 0);
  SAY("read of the copy", read(copy, &byte, 1));
  SAY("FIONBIO off", ioctl(copy, FIONBIO, &off));
  SAY("shared again", (fcntl(slave, F_GETFL) & O_NONBLOCK) != 0);
  SAY("FIONBIO on", ioctl(slave, FIONBIO, &on));
  SAY("read", read(slave, &byte, 1));
  SAY("FIOCLEX", ioctl(slave, FIOCLEX));
  SAY("F_GETFD", fcntl(slave, F_GETFD));
  SAY("F_GETFD of the copy", fcntl(copy, F_GETFD));
  SAY("FIONCLEX", ioctl(slave, FIONCLEX));
  SAY("F_GETFD", fcntl(slave, F_GETFD));
  SAY("F_SETFD", fcntl(slave, F_SETFD, FD_CLOEXEC));
  SAY("F_GETFD", fcntl(slave, F_GETFD));
  int number = 0;
  MUST(ioctl(master, TIOCGPTN, &number));
  char name[32];
  snprintf(name, sizeof name, "/dev/pts/%d", number);
  int reader = (int)MUST(open(name, O_RDONLY | O_NOCTTY | O_NONBLOCK)), writer = (int)MUST(open(name, O_WRONLY | O_NOCTTY));
  SAY("F_GETFL of a reader", fcntl(reader, F_GETFL) & (O_ACCMODE | O_NONBLOCK));
  SAY("F_GETFL of a writer", fcntl(writer, F_GETFL) & (O_ACCMODE | O_NONBLOCK));
  SAY("write of a reader", write(reader, &byte, 1));
  SAY("read of a writer", read(writer, &byte, 1));
}

static void fork_shares(void) {
  open_pair(&master, &slave);
  pid_t child = (pid_t)MUST(fork());
  if (child == 0) {
    struct termios settings;
    close(master);
    SAY("tcgetattr of the child", tcgetattr(slave, &settings));
    put(slave, "from the child");
    _exit(0);
  }
  close(slave);
  say_end("child", child);
  say_read("master", master);
  say_read("master, after the child's end", master);
}

/* What is inherited works whoever made it, and after its maker's end. */
static void orphaned_descriptor(void) {
  int way[2];
  open_pair(&master, &slave);
  MUST(pipe(way));
  pid_t child = (pid_t)MUST(fork());
  if (child == 0) {
    int m, s;
    open_pair(&m, &s);
    pid_t grandchild = (pid_t)MUST(fork());
    if (grandchild != 0) _exit(0);
    close(way[1]);
    char byte;
    (void)!read(way[0], &byte, 1);
    put(s, "from an orphan");
    say_read("orphan's master", m);
    put(slave, "!");
    _exit(0);
  }
  say_end("child", child);
  close(way[1]);
  char byte;
  SAY("the orphan's end", read(master, &byte, 1));
}

static void exec_over(const char *label, int fd) {
  pid_t child = (pid_t)MUST(fork());
  if (child == 0) {
    char number[16];
    snprintf(number, sizeof number, "%d", fd);
    execl("/proc/self/exe", "descriptors", "--inherited", number, NULL);
    _exit(1);
  }
  say_end(label, child);
}

static void exec_keeps_or_closes(void) {
  open_pair(&master, &slave);
  exec_over("without CLOEXEC", slave);
  SAY("F_SETFD", fcntl(slave, F_SETFD, FD_CLOEXEC));
  exec_over("with CLOEXEC", slave);
}

static void vfork_child(void) {
  static int result, error;
  static struct winsize size;
  open_pair(&master, &slave);
  pid_t child = vfork();
  if (child == 0) {
    result = ioctl(slave, TIOCGWINSZ, &size);
    error = errno;
    _exit(0);
  }
  say_end("child", child);
  say("ioctl of the child: %d %d", result, result == 0 ? 0 : error);
}

static void *thread_of_its_own(void *unused) {
  (void)unused;
  MUST(unshare(CLONE_FILES));
  MUST(close(slave));
  struct termios settings;
  SAY("closed in its own table", tcgetattr(slave, &settings));
  int m, s;
  open_pair(&m, &s);
  put(s, "own");
  say_read("its own terminal", m);
  close(m);
  close(s);
  return NULL;
}

static void tables_of_threads(void) {
  struct termios settings;
  open_pair(&master, &slave);
  pthread_join(start(thread_of_its_own, NULL), NULL);
  SAY("open in the other table", tcgetattr(slave, &settings));
  put(master, "still");
  say_read("slave", slave);
}

static void close_range_releases(void) {
  open_pair(&master, &slave);
  for (int i = 0; i < 5; i++) MUST(fcntl(slave, F_DUPFD, SPARE));
  MUST(dup2(slave, SPARE + 10));
  close(slave);
  say_released("copies are left");
  SAY("close_range", syscall(SYS_close_range, SPARE, SPARE + 9, 0));
  say_released("one copy is left");
  SAY("close_range for exec", syscall(SYS_close_range, SPARE, ~0u, CLOSE_RANGE_CLOEXEC));
  SAY("F_GETFD", fcntl(SPARE + 10, F_GETFD));
  SAY("close_range", syscall(SYS_close_range, SPARE, ~0u, 0));
  say_released("no copy is left");
}

static void how_it_looks(void) {
  struct stat st, at;
  struct statx x;
  char text[64];
  open_pair(&master, &slave);
  MUST(fstat(master, &st));
  say("fstat: %o %u:%u", st.st_mode & S_IFMT, major(st.st_rdev), minor(st.st_rdev));
  MUST(fstatat(master, "", &at, AT_EMPTY_PATH));
  say("fstatat: same file: %d", at.st_dev == st.st_dev && at.st_ino == st.st_ino && at.st_rdev == st.st_rdev);
  MUST(statx(master, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &x));
  say("statx: %o %u:%u", x.stx_mode & S_IFMT, x.stx_rdev_major, x.stx_rdev_minor);
  MUST(stat("/dev/ptmx", &at));
  say("stat: %u:%u", major(at.st_rdev), minor(at.st_rdev));
  MUST(fstat(slave, &st));
  say("fstat of the slave: %o %u, minor known: %d", st.st_mode & S_IFMT, major(st.st_rdev),
      ioctl(master, TIOCGPTN, &(int){0}) == 0);
  SAY("fstat to nowhere", syscall(SYS_fstat, slave, 8));
  SAY("fstatat of a path below it", fstatat(slave, "x", &at, 0));
  SAY("isatty", isatty(slave));
  SAY("ttyname_r", ttyname_r(slave, text, 4));
  SAY("lseek", lseek(slave, 0, SEEK_SET));
  SAY("ftruncate", ftruncate(slave, 0));
  SAY("fchdir", fchdir(slave));
  SAY("fsync", fsync(slave));
}

/* Passed by a message, a guarded descriptor is harmless; it works only natively, so nothing of it is compared. */
static void passed_by_a_message(void) {
  int ends[2], received = -1;
  open_pair(&master, &slave);
  MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
  char byte = 'b';
  struct iovec vector = {&byte, 1};
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int))];
  } control = {.header = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
  memcpy(CMSG_DATA(&control.header), &slave, sizeof slave);
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  SAY("sendmsg", sendmsg(ends[0], &message, 0));
  SAY("recvmsg", recvmsg(ends[1], &message, 0));
  memcpy(&received, CMSG_DATA(&control.header), sizeof received);
  struct termios settings;
  int scratch;
  SAY("tcgetattr", tcgetattr(received, &settings));
  SAY("TIOCGPTN", ioctl(received, TIOCGPTN, &scratch));
  SAY("mmap", (long)mmap(NULL, 4096, PROT_READ, MAP_SHARED, received, 0) == -1 ? -1 : 0);
  (void)fcntl(received, F_SETFL, O_NONBLOCK);
  for (int i = 0; i < 4; i++) (void)!read(received, &byte, 1);
  for (int i = 0; i < 4; i++) (void)!write(received, "junk", 4);
  shutdown(received, SHUT_RDWR);
  close(received);
  SAY("tcgetattr of the own one afterwards", tcgetattr(slave, &settings));
}

static void as_many_as_there_are(void) {
  open_pair(&master, &slave);
  int copies = 0;
  while (dup(slave) >= 0) copies++;
  say("%d copies, then %s", copies, strerrorname_np(errno));
  SAY("F_DUPFD", fcntl(slave, F_DUPFD, 0));
  SAY("open", open("/dev/ptmx", O_RDWR | O_NOCTTY));
  put(slave, "works");
  say_read("master", master);
}

static void as_many_files_as_there_are(void) {
  struct rlimit limit;
  MUST(getrlimit(RLIMIT_NOFILE, &limit));
  int files = 0;
  while (files < 256 && open("/dev/ptmx", O_RDWR | O_NOCTTY) >= 0) files++;
  say("%d files, then %s", files, strerrorname_np(errno));
}

static void outside_the_window(void) {
  open_pair(&master, &slave);
  SAY("dup2 to standard input", dup2(slave, 0));
  SAY("dup3 to 5", dup3(slave, 5, 0));
  SAY("still there", isatty(slave));
}

static const struct test_case cases[] = {
    {"dup", dup_copies},
    {"dup2 and dup3", dup2_and_dup3},
    {"F_DUPFD", f_dupfd},
    {"status flags", status_flags},
    {"fork", fork_shares},
    {"a file outlives the process that opened it", orphaned_descriptor},
    {"exec", exec_keeps_or_closes},
    {"vfork", vfork_child},
    {"threads with tables of their own", tables_of_threads},
    {"close_range", close_range_releases},
    {"how it looks", how_it_looks},
    {"passed by a message", passed_by_a_message},
    {"as many copies as there are", as_many_as_there_are},
    {"as many files as there are", as_many_files_as_there_are},
    {"outside the window", outside_the_window},
};

int main(int argc, char **argv) {
  if (argc == 3 && strcmp(argv[1], "--inherited") == 0) {
    struct winsize size;
    SAY("inherited", ioctl(atoi(argv[2]), TIOCGWINSZ, &size));
    return 0;
  }
  return run_cases(cases, COUNT(cases), argc, argv);
}
