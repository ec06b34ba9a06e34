/* What the hostile guests share. A program is a list of attempts, each of which runs in a process of its own, says what it tried and
 * whether it reached its aim, and then keeps what it has until the harness has looked at it from outside: it reads one byte of
 * standard input, which the harness writes when it has looked. The same programs run without Postern, where the aim is reached: so an attempt
 * that could not succeed anywhere would be seen.
 *
 *   attempt NAME
 *   tried WHAT
 *   stopped WHY | succeeded HOW | impossible WHY    (impossible: this machine does not offer what it needs)
 *   look                                            (then it waits)
 */
#ifndef POSTERN_TEST_ATTEMPT_H
#define POSTERN_TEST_ATTEMPT_H

#include "../guests/pty.h"

#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>

/* native/protocol/window.h */
#define WINDOW_FIRST 832
#define WINDOW_LAST 1023

/* Called in the process of each attempt before it begins. */
static void (*prepare)(void);

struct attempt {
  const char *name, *tried;
  void (*run)(void);
};

/* Waits until the harness has looked; without one, standard input is at its end. */
static inline void await_look(void) {
  char byte;
  say("look");
  while (read(STDIN_FILENO, &byte, 1) < 0 && errno == EINTR) {
  }
}

#define VERDICT(word, ...)         \
  do {                             \
    char verdict_text[400];        \
    snprintf(verdict_text, sizeof verdict_text, __VA_ARGS__); \
    say(word " %s", verdict_text); \
    await_look();                  \
    _exit(0);                      \
  } while (0)
#define STOPPED(...) VERDICT("stopped", __VA_ARGS__)
#define SUCCEEDED(...) VERDICT("succeeded", __VA_ARGS__)
#define IMPOSSIBLE(...) VERDICT("impossible", __VA_ARGS__)

/* Whether a descriptor is of a character device. In the window Postern answers fstat, so there it is asked by its name in /proc. */
static inline bool is_device(int fd) {
  char path[64];
  struct stat st;
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  const bool is_watched = fd >= WINDOW_FIRST && fd <= WINDOW_LAST;
  if (fd < 0 || (is_watched ? stat(path, &st) : fstat(fd, &st)) != 0) return false;
  return S_ISCHR(st.st_mode) && st.st_rdev != makedev(1, 3);
}

/* The verdict about what an open, or something like it, gave. */
static inline void judge_device(int fd) {
  if (fd < 0) STOPPED("%s", strerrorname_np(errno));
  if (is_device(fd)) SUCCEEDED("descriptor %d is the device itself", fd);
  STOPPED("descriptor %d is a placeholder", fd);
}

/* The verdict about a call that must fail. */
static inline void judge_call(const char *what, long result) {
  if (result == -1) STOPPED("%s: %s", what, strerrorname_np(errno));
  SUCCEEDED("%s gave %ld", what, result);
}

static inline void put_file(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  (void)!write(fd, text, strlen(text));
  close(fd);
}

/* A user namespace of its own, with every capability over what is in it, and those other namespaces. */
static inline void enter_namespaces(int others) {
  char map[64];
  uid_t uid = geteuid();
  gid_t gid = getegid();
  if (unshare(CLONE_NEWUSER | others) != 0) IMPOSSIBLE("unshare: %s", strerrorname_np(errno));
  put_file("/proc/self/setgroups", "deny");
  snprintf(map, sizeof map, "0 %u 1", uid);
  put_file("/proc/self/uid_map", map);
  snprintf(map, sizeof map, "0 %u 1", gid);
  put_file("/proc/self/gid_map", map);
}

/* A folder that only this attempt has, in the one that the harness removes. */
static inline const char *own_folder(void) {
  static char path[256];
  const char *folder = getenv("POSTERN_FOLDER");
  snprintf(path, sizeof path, "%.200s/attempt-XXXXXX", folder ? folder : "/tmp");
  if (!mkdtemp(path)) IMPOSSIBLE("mkdtemp: %s", strerrorname_np(errno));
  return path;
}

static inline int send_descriptor(int socket, int fd) {
  char byte = 'd';
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int))];
  } control = {.header = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
  memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
  struct iovec vector = {&byte, 1};
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  return sendmsg(socket, &message, 0) == 1 ? 0 : -1;
}

static inline int receive_descriptor(int socket) {
  char byte;
  int fd = -1;
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int))];
  } control;
  struct iovec vector = {&byte, 1};
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  if (recvmsg(socket, &message, 0) != 1) return -1;
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  if (header && header->cmsg_type == SCM_RIGHTS) memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return fd;
}

/* A copy of a descriptor below the window, as one gets it over a socket. */
static inline int copy_outside(int fd) {
  int pair[2];
  MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
  MUST(send_descriptor(pair[0], fd));
  return (int)MUST(receive_descriptor(pair[1]));
}

static inline void run_attempt(const struct attempt *one) {
  say("attempt %s", one->name);
  say("tried %s", one->tried);
  pid_t child = (pid_t)MUST(fork());
  if (child == 0) {
    alarm(2 * CASE_SECONDS_MAX);
    if (prepare) prepare();
    one->run();
    say("stopped nothing came of it");
    await_look();
    _exit(0);
  }
  int status;
  MUST(waitpid(child, &status, 0));
  if (WIFSIGNALED(status)) say("died SIG%s", sigabbrev_np(WTERMSIG(status)));
  else if (WEXITSTATUS(status) != 0) say("died with %d", WEXITSTATUS(status));
}

/* Runs the attempts that are named, or all. With "-" as the first name: all but those that are named. */
static inline int run_attempts(const struct attempt *attempts, size_t count, int argc, char **argv) {
  bool others = argc > 1 && strcmp(argv[1], "-") == 0;
  for (size_t i = 0; i < count; i++) {
    bool is_named = false;
    for (int a = 1; a < argc; a++) is_named |= strcmp(argv[a], attempts[i].name) == 0;
    if (argc < 2 || is_named != others) run_attempt(&attempts[i]);
  }
  return 0;
}

#endif
