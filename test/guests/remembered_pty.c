/* Numbers that lead elsewhere after an operation on them: whatever the host remembers of a descriptor must not outlive its change. Each
 * case first makes a number familiar by many operations, then changes what it means behind the operation's back. */
#include "pty.h"

#include <linux/close_range.h>
#include <sys/socket.h>

/* Numbers that are free everywhere and in the window of a guest's guarded descriptors. */
#define SPARE 1000
#define KEEPER 1001
/* Often enough for anything that is remembered after a while. */
#define FAMILIAR 200
#define ROUNDS 300

static int master, slave;

/* SPARE and KEEPER are the slave's, so that the file stays open whatever becomes of SPARE. */
static void make_familiar(void) {
  int bytes;
  open_pair(&master, &slave);
  MUST(dup2(slave, KEEPER));
  MUST(dup2(slave, SPARE));
  for (int i = 0; i < FAMILIAR; i++) MUST(ioctl(SPARE, TIOCOUTQ, &bytes));
}

/* Whether SPARE is a terminal: EBADF, ENOTTY, or 0. */
static const char *what_spare_is(void) {
  int bytes = 0;
  return result_text(ioctl(SPARE, TIOCOUTQ, &bytes));
}

static int ordinary(void) { return (int)MUST(open("/dev/null", O_RDWR | O_CLOEXEC)); }

static void closed(void) {
  make_familiar();
  close(SPARE);
  say("after close: %s", what_spare_is());
  MUST(dup2(ordinary(), SPARE));
  say("an ordinary file in its place: %s", what_spare_is());
  int ends[2];
  MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
  MUST(dup2(ends[0], SPARE));
  say("a socket in its place: %s", what_spare_is());
}

static void closed_in_a_range(void) {
  make_familiar();
  MUST(RAW(close_range, SPARE - 2, SPARE, 0));
  say("after close_range: %s", what_spare_is());
  make_familiar();
  MUST(RAW(close_range, SPARE, SPARE, CLOSE_RANGE_CLOEXEC));
  say("after close_range that only marks: %s", what_spare_is());
  MUST(RAW(close_range, SPARE, SPARE, CLOSE_RANGE_UNSHARE));
  say("after close_range in a table of its own: %s", what_spare_is());
}

static void replaced(void) {
  make_familiar();
  MUST(dup2(ordinary(), SPARE));
  say("after dup2: %s", what_spare_is());
  make_familiar();
  MUST(dup3(ordinary(), SPARE, O_CLOEXEC));
  say("after dup3: %s", what_spare_is());
  make_familiar();
  int other_master, other_slave;
  open_pair(&other_master, &other_slave);
  MUST(dup2(other_slave, SPARE));
  put(SPARE, "to the other");
  say_read("the other's master", other_master);
}

/* Counts up at each change, so that a thread that was away for a whole round notices; odd while the number is another file. */
static atomic_int phase;
static atomic_int wrong;

/* Operates without a pause; between two looks at the same odd phase, an answer of the terminal's is wrong. */
static void *hammer(void *unused) {
  (void)unused;
  while (atomic_load(&phase) >= 0) {
    const int before = atomic_load(&phase);
    int bytes;
    const int result = ioctl(SPARE, TIOCOUTQ, &bytes);
    if (before % 2 == 1 && atomic_load(&phase) == before && result == 0) atomic_fetch_add(&wrong, 1);
  }
  return NULL;
}

static void replaced_by_another_thread(void) {
  pthread_t threads[2];
  const int null = ordinary();
  make_familiar();
  atomic_store(&phase, 0);
  for (int i = 0; i < 2; i++) threads[i] = start(hammer, NULL);
  for (int i = 0; i < ROUNDS; i++) {
    MUST(dup2(null, SPARE));
    atomic_fetch_add(&phase, 1);
    for (int look = 0; look < 10; look++)
      if (strcmp(what_spare_is(), "ENOTTY") != 0) atomic_fetch_add(&wrong, 1);
    atomic_fetch_add(&phase, 1);
    MUST(dup2(KEEPER, SPARE));
    if (strcmp(what_spare_is(), "0") != 0) atomic_fetch_add(&wrong, 1);
  }
  atomic_store(&phase, -1);
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  say("answers of the wrong file: %d", atomic_load(&wrong));
}

static void replaced_by_a_process_that_shares_the_table(void) {
  make_familiar();
  const int null = ordinary();
  const pid_t child = (pid_t)RAW(clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
  if (child == 0) _exit(dup2(null, SPARE) == SPARE ? 0 : 1);
  int status;
  MUST(waitpid(child, &status, 0));
  say("the child: %d, the number: %s", status, what_spare_is());
}

static void a_process_of_its_own(void) {
  make_familiar();
  const int null = ordinary();
  const pid_t child = fork();
  if (child == 0) {
    MUST(dup2(null, SPARE));
    say("the child's: %s", what_spare_is());
    _exit(0);
  }
  MUST(waitpid(child, NULL, 0));
  say("the parent's: %s", what_spare_is());
}

static void after_exec(void) {
  make_familiar();
  MUST(fcntl(SPARE, F_SETFD, FD_CLOEXEC));
  char *const arguments[] = {"remembered_pty", "--after-exec", NULL};
  execv("/proc/self/exe", arguments);
  say("exec: %s", strerrorname_np(errno));
}

static void after_an_exec_that_failed(void) {
  make_familiar();
  char *const arguments[] = {"nothing", NULL};
  SAY("exec", execv("/nowhere/at/all", arguments));
  say("the number: %s", what_spare_is());
}

static void flags(void) {
  make_familiar();
  char byte;
  int on = 1, off = 0;
  MUST(fcntl(SPARE, F_SETFL, O_RDWR | O_NONBLOCK));
  SAY("read without blocking", read(SPARE, &byte, 1));
  MUST(fcntl(KEEPER, F_SETFL, O_RDWR));
  put(master, "x");
  SAY("read", read(SPARE, &byte, 1));
  MUST(ioctl(KEEPER, FIONBIO, &on));
  SAY("read after FIONBIO", read(SPARE, &byte, 1));
  SAY("F_GETFL", fcntl(SPARE, F_GETFL) & (O_ACCMODE | O_NONBLOCK));
  MUST(ioctl(SPARE, FIONBIO, &off));
  SAY("F_GETFL", fcntl(KEEPER, F_GETFL) & (O_ACCMODE | O_NONBLOCK));
}

static void *read_one(void *got) {
  char byte = 0;
  *(long *)got = read(SPARE, &byte, 1);
  return NULL;
}

static void closed_while_it_is_read(void) {
  make_familiar();
  close(slave);
  close(KEEPER);
  long got = -2;
  pthread_t reader = start(read_one, &got);
  pause_ms(30);
  SAY("close", close(SPARE));
  put(master, "x");
  pthread_join(reader, NULL);
  say("the read: %ld", got);
  char byte;
  SAY("the master, when the last copy and the last operation have gone", read(master, &byte, 1));
}

static const struct test_case cases[] = {
    {"closed and replaced", closed},
    {"closed in a range", closed_in_a_range},
    {"replaced", replaced},
    {"replaced by another thread", replaced_by_another_thread},
    {"replaced by a process that shares the table", replaced_by_a_process_that_shares_the_table},
    {"a process of its own", a_process_of_its_own},
    {"after exec", after_exec},
    {"after an exec that failed", after_an_exec_that_failed},
    {"flags", flags},
    {"closed while it is read", closed_while_it_is_read},
};

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "--after-exec") == 0) {
    say("one that is closed on exec: %s", what_spare_is());
    SAY("one that is not", ioctl(KEEPER, TIOCEXCL));
    return 0;
  }
  return run_cases(cases, COUNT(cases), argc, argv);
}
