/* Reads that sleep in the driver: what ends them, and what they don't hold up. */
#include "pty.h"

static int master, slave;
static atomic_int handled, step;
static atomic_int reader_tid;

static void on_signal(int number) {
  (void)number;
  atomic_fetch_add(&handled, 1);
}

static void *read_slave(void *unused) {
  (void)unused;
  atomic_store(&reader_tid, (int)gettid());
  say_read("reader", slave);
  atomic_store(&step, 1);
  return NULL;
}

/* A thread that sleeps in a read of the slave. */
static pthread_t start_reader(void) {
  pthread_t thread = start(read_slave, NULL);
  while (atomic_load(&reader_tid) == 0) pause_ms(1);
  await_asleep(atomic_load(&reader_tid));
  return thread;
}

static void other_threads_go_on(void) {
  open_pair(&master, &slave);
  pthread_t reader = start_reader();
  struct winsize size;
  int done = 0;
  for (int i = 0; i < 200; i++) done += ioctl(slave, TIOCGWINSZ, &size) == 0;
  say("ioctls beside it: %d, reader has ended: %d", done, atomic_load(&step));
  put(master, "now");
  pthread_join(reader, NULL);
}

static void other_files_go_on(void) {
  open_pair(&master, &slave);
  pthread_t reader = start_reader();
  int master2, slave2;
  open_pair(&master2, &slave2);
  put(master2, "two");
  say_read("second terminal", slave2);
  say("reader has ended: %d", atomic_load(&step));
  put(master, "one");
  pthread_join(reader, NULL);
}

static void handled_signal_to_the_thread(int flags) {
  open_pair(&master, &slave);
  install(SIGUSR1, on_signal, flags);
  pthread_t reader = start_reader();
  pthread_kill(reader, SIGUSR1);
  await(&handled, 1);
  if (flags & SA_RESTART) {
    await_asleep(atomic_load(&reader_tid));
    put(master, "later");
  }
  pthread_join(reader, NULL);
  say("handler ran %d times", atomic_load(&handled));
}
static void signal_ends_it(void) { handled_signal_to_the_thread(0); }
static void signal_restarts_it(void) { handled_signal_to_the_thread(SA_RESTART); }

static void signals_restart_it_many_times(void) {
  open_pair(&master, &slave);
  install(SIGUSR1, on_signal, SA_RESTART);
  pthread_t reader = start_reader();
  for (int i = 1; i <= 10; i++) {
    pthread_kill(reader, SIGUSR1);
    await(&handled, i);
  }
  put(master, "done");
  pthread_join(reader, NULL);
  say("handler ran %d times", atomic_load(&handled));
}

/* A timer's signal goes to the process: here it has one thread only. */
static void timer_ends_it(void) {
  open_pair(&master, &slave);
  install(SIGALRM, on_signal, 0);
  struct itimerval timer = {.it_value = {.tv_usec = 50000}};
  MUST(setitimer(ITIMER_REAL, &timer, NULL));
  say_read("read", slave);
  say("handler ran %d times", atomic_load(&handled));
}

/* A process signal that only the sleeping thread can take. */
static void process_signal_to_the_only_taker(void) {
  open_pair(&master, &slave);
  install(SIGUSR1, on_signal, 0);
  pthread_t reader = start_reader();
  sigset_t usr1;
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &usr1, NULL);
  kill(getpid(), SIGUSR1);
  pthread_join(reader, NULL);
  say("handler ran %d times", atomic_load(&handled));
}

/* A process signal that another thread takes leaves the sleeping one alone. */
static void process_signal_to_another(void) {
  sigset_t usr1;
  sigemptyset(&usr1);
  sigaddset(&usr1, SIGUSR1);
  open_pair(&master, &slave);
  install(SIGUSR1, on_signal, 0);
  pthread_sigmask(SIG_BLOCK, &usr1, NULL);
  pthread_t reader = start_reader();
  pthread_sigmask(SIG_UNBLOCK, &usr1, NULL);
  kill(getpid(), SIGUSR1);
  await(&handled, 1);
  put(master, "undisturbed");
  pthread_join(reader, NULL);
}

static void ignored_signal_changes_nothing(void) {
  open_pair(&master, &slave);
  signal(SIGUSR1, SIG_IGN);
  pthread_t reader = start_reader();
  pthread_kill(reader, SIGUSR1);
  pthread_kill(reader, SIGCHLD);
  await_asleep(atomic_load(&reader_tid));
  put(master, "still here");
  pthread_join(reader, NULL);
}

/* A child that sleeps in a read of the slave, and the pipe on which it prints what it read. */
static pid_t reading_child(void) {
  pid_t child = (pid_t)MUST(fork());
  if (child == 0) {
    say_read("child", slave);
    _exit(0);
  }
  await_asleep(child);
  return child;
}

static void killed(int number) {
  open_pair(&master, &slave);
  pid_t child = reading_child();
  kill(child, number);
  say_end("child", child);
  put(master, "for me");
  say_read("parent", slave);
}
static void sigkill_ends_the_process(void) { killed(SIGKILL); }
static void sigterm_ends_the_process(void) { killed(SIGTERM); }

static void stop_and_continue(void) {
  int status;
  open_pair(&master, &slave);
  pid_t child = reading_child();
  kill(child, SIGSTOP);
  MUST(waitpid(child, &status, WUNTRACED));
  say("stopped: %d", WIFSTOPPED(status));
  put(master, "while stopped");
  kill(child, SIGCONT);
  MUST(waitpid(child, &status, WCONTINUED));
  say("continued: %d", WIFCONTINUED(status));
  say_end("child", child);
}

static void exit_of_the_process_with_a_sleeper(void) {
  open_pair(&master, &slave);
  pid_t child = (pid_t)MUST(fork());
  if (child == 0) {
    start_reader();
    _exit(5);
  }
  say_end("child", child);
  put(master, "for me");
  say_read("parent", slave);
}

#define SLEEPERS 24
static int pairs[SLEEPERS][2];
static atomic_int asleep, awake;
static char order[SLEEPERS + 1];

static void *sleeper(void *argument) {
  intptr_t mine = (intptr_t)argument;
  char byte = 0;
  atomic_fetch_add(&asleep, 1);
  if (read(pairs[mine][1], &byte, 1) != 1) byte = '!';
  order[atomic_load(&awake)] = byte;
  atomic_fetch_add(&awake, 1);
  return NULL;
}

static void many_threads(void) {
  pthread_t threads[SLEEPERS];
  for (intptr_t i = 0; i < SLEEPERS; i++) {
    open_pair(&pairs[i][0], &pairs[i][1]);
    threads[i] = start(sleeper, (void *)i);
  }
  await(&asleep, SLEEPERS);
  for (int i = SLEEPERS - 1; i >= 0; i--) {
    char byte = (char)('a' + i);
    MUST(write(pairs[i][0], &byte, 1));
    await(&awake, SLEEPERS - i);
  }
  for (int i = 0; i < SLEEPERS; i++) pthread_join(threads[i], NULL);
  say("%s", order);
}

static void *close_all(void *unused) {
  (void)unused;
  await_asleep(atomic_load(&reader_tid));
  close(slave);
  put(master, "after the close");
  return NULL;
}

/* The file stays open while a read sleeps in it, although its descriptor is closed. */
static void close_under_a_read(void) {
  open_pair(&master, &slave);
  pthread_t reader = start_reader();
  pthread_t closer = start(close_all, NULL);
  pthread_join(closer, NULL);
  pthread_join(reader, NULL);
}

static void *hang_up(void *unused) {
  (void)unused;
  await_asleep(atomic_load(&reader_tid));
  close(master);
  return NULL;
}

static void hang_up_ends_it(void) {
  open_pair(&master, &slave);
  pthread_t reader = start_reader();
  pthread_t closer = start(hang_up, NULL);
  pthread_join(closer, NULL);
  pthread_join(reader, NULL);
}

/* tcdrain sleeps while nobody reads what was written and the master is stopped; here it has nothing to wait for. */
static void drain_returns(void) {
  open_pair(&master, &slave);
  put(slave, "output");
  SAY("tcdrain", tcdrain(slave));
  say_read("master", master);
}

/* Writing to a full terminal sleeps until there is room. */
static atomic_long written;
static void *fill(void *unused) {
  static char block[4096];
  (void)unused;
  memset(block, 'f', sizeof block);
  atomic_store(&reader_tid, (int)gettid());
  for (int i = 0; i < 64; i++) atomic_fetch_add(&written, MUST(write(slave, block, sizeof block)));
  return NULL;
}

static void full_terminal_holds_the_writer(void) {
  static char block[4096];
  open_pair(&master, &slave);
  pthread_t writer = start(fill, NULL);
  while (atomic_load(&reader_tid) == 0) pause_ms(1);
  long total = 0, wrong = 0;
  while (total < 64 * 4096) {
    long got = MUST(read(master, block, sizeof block));
    for (long i = 0; i < got; i++) wrong += block[i] != 'f';
    total += got;
  }
  pthread_join(writer, NULL);
  say("written %ld, read %ld, wrong %ld", atomic_load(&written), total, wrong);
}

static const struct test_case cases[] = {
    {"other threads go on", other_threads_go_on},
    {"other files go on", other_files_go_on},
    {"a handled signal ends it with EINTR", signal_ends_it},
    {"a handled signal with SA_RESTART restarts it", signal_restarts_it},
    {"ten signals with SA_RESTART restart it ten times", signals_restart_it_many_times},
    {"a timer ends it", timer_ends_it},
    {"a process signal ends it when no other thread takes it", process_signal_to_the_only_taker},
    {"a process signal that another thread takes does not end it", process_signal_to_another},
    {"an ignored signal changes nothing", ignored_signal_changes_nothing},
    {"SIGKILL ends the process", sigkill_ends_the_process},
    {"SIGTERM ends the process", sigterm_ends_the_process},
    {"SIGSTOP and SIGCONT in the middle", stop_and_continue},
    {"the process ends while a thread sleeps", exit_of_the_process_with_a_sleeper},
    {"24 threads sleep at once, and wake in any order", many_threads},
    {"its descriptor is closed under it", close_under_a_read},
    {"a hang-up ends it", hang_up_ends_it},
    {"tcdrain returns", drain_returns},
    {"a full terminal holds its writer", full_terminal_holds_the_writer},
};

int main(int argc, char **argv) { return run_cases(cases, COUNT(cases), argc, argv); }
