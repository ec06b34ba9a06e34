/* What the guest programs share: cases that each run in a process of their own and print what they saw, one line an observation.
 * The same program runs as a guest and beside the driver; the test compares the lines. So nothing that depends on the place, such as
 * a descriptor's number or an address, is printed. */
#ifndef POSTERN_TEST_GUEST_H
#define POSTERN_TEST_GUEST_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A case that hangs ends by SIGALRM, which the test sees. */
#define CASE_SECONDS_MAX 60u

struct test_case {
  const char *name;
  void (*run)(void);
};

#define COUNT(array) (sizeof(array) / sizeof *(array))

__attribute__((format(printf, 1, 2))) static inline void say(const char *format, ...) {
  char line[512];
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(line, sizeof line - 1, format, arguments);
  va_end(arguments);
  if (length < 0) abort();
  if ((size_t)length > sizeof line - 2) length = sizeof line - 2;
  line[length++] = '\n';
  if (write(STDOUT_FILENO, line, (size_t)length) != length) abort();
}

/* A system call's result and errno as text, in a buffer of this thread that the next call but seven overwrites. */
static inline const char *result_text(long result) {
  static _Thread_local char texts[8][32];
  static _Thread_local unsigned next;
  char *text = texts[next++ % COUNT(texts)];
  if (result == -1)
    snprintf(text, sizeof texts[0], "%s", strerrorname_np(errno));
  else
    snprintf(text, sizeof texts[0], "%ld", result);
  return text;
}

/* Prints what `call` returned: its value, or its errno's name. */
#define SAY(label, call)                                \
  do {                                                  \
    errno = 0;                                          \
    long say_result = (long)(call);                     \
    say("%s: %s", label, result_text(say_result));      \
  } while (0)

/* The same for what returns a descriptor or an address: "ok" where it is one. */
#define SAY_OK(label, call)                                          \
  ({                                                                 \
    errno = 0;                                                       \
    long ok_result = (long)(call);                                   \
    say("%s: %s", label, ok_result == -1 ? result_text(-1) : "ok");  \
    ok_result;                                                       \
  })

/* For what a case needs and does not test. */
#define MUST(call)                                                                              \
  ({                                                                                            \
    long must_result = (long)(call);                                                            \
    if (must_result == -1) {                                                                    \
      say("%s:%d: %s: %s", __FILE__, __LINE__, #call, strerrorname_np(errno));                  \
      _exit(99);                                                                                \
    }                                                                                           \
    must_result;                                                                                \
  })

/* A system call with arguments that the C library's declarations forbid. */
#define RAW(name, ...) syscall(SYS_##name, __VA_ARGS__)

static inline void pause_ms(unsigned ms) {
  struct timespec left = {ms / 1000, (long)(ms % 1000) * 1000000};
  while (nanosleep(&left, &left) != 0 && errno == EINTR) {
  }
}

/* Waits, without a bound but the case's own, until `counter` has reached `value`. */
static inline void await(atomic_int *counter, int value) {
  while (atomic_load(counter) < value) pause_ms(1);
}

/* Waits until the thread sleeps in a system call: it has entered the one that the case wants it in; or until the process has ended. */
static inline void await_asleep(pid_t tid) {
  char path[64], text[512];
  snprintf(path, sizeof path, "/proc/%d/stat", (int)tid);
  for (unsigned asleep = 0; asleep < 3;) {
    int fd = (int)MUST(open(path, O_RDONLY | O_CLOEXEC));
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    text[length > 0 ? length : 0] = 0;
    const char *end = strrchr(text, ')');
    asleep = end && strchr("SDZ", end[2]) ? asleep + 1 : 0;
    pause_ms(5);
  }
}

static inline void install(int number, void (*handler)(int), int flags) {
  struct sigaction action = {.sa_flags = flags};
  action.sa_handler = handler;
  MUST(sigaction(number, &action, NULL));
}

static inline pthread_t start(void *(*entry)(void *), void *argument) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, entry, argument) != 0) _exit(98);
  return thread;
}

/* How a child ended, in words. */
static inline void say_end(const char *label, pid_t child) {
  int status;
  MUST(waitpid(child, &status, 0));
  if (WIFSIGNALED(status))
    say("%s: SIG%s", label, sigabbrev_np(WTERMSIG(status)));
  else
    say("%s: exit %d", label, WEXITSTATUS(status));
}

static inline void run_case(const struct test_case *one) {
  say("== %s", one->name);
  pid_t child = (pid_t)MUST(fork());
  if (child == 0) {
    alarm(CASE_SECONDS_MAX);
    one->run();
    _exit(0);
  }
  int status;
  MUST(waitpid(child, &status, 0));
  if (WIFSIGNALED(status))
    say("ended by SIG%s", sigabbrev_np(WTERMSIG(status)));
  else if (WEXITSTATUS(status) != 0)
    say("ended with %d", WEXITSTATUS(status));
}

/* Runs the cases that are named, or all. */
static inline int run_cases(const struct test_case *cases, size_t count, int argc, char **argv) {
  for (size_t i = 0; i < count; i++) {
    bool wanted = argc < 2;
    for (int a = 1; a < argc; a++) wanted |= strcmp(argv[a], cases[i].name) == 0;
    if (wanted) run_case(&cases[i]);
  }
  return 0;
}

#endif
