/* A guest under load: calls on a pseudo terminal, one after the other, while a thread of its own sleeps in reads of the other end. Each
 * call counts, and how long it took: apart for the times before anything is read from standard input, after a 'q', and after an 's'. Every
 * hundredth opens the terminal anew, which needs the handle that the host has learnt.
 * Usage: reload CALLS [PAUSE_US]. It goes on after so many calls until its standard input ends; between two calls it rests for so long. */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

/* What is kept of the calls' times; a longer run keeps the latest, and its longest. */
#define TIMES_MAX 1000000u
/* How often the end is asked for, in calls. */
#define LOOK_EVERY 256u
#define REOPEN_EVERY 100u
#define WRITE_EVERY 10u

/* Before anything else, while nothing is exchanged, while modules are. */
enum period { STARTING, QUIET, SWAPPING, PERIODS };

static struct {
  double times[TIMES_MAX], longest;
  unsigned count;
} of[PERIODS];
static enum period now = STARTING;
static atomic_uint failed, reads;
static char name[32];
static int master, slave;

static double now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static int compare(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void check(int is_good) {
  if (!is_good) atomic_fetch_add(&failed, 1);
}

static void *read_on(void *unused) {
  (void)unused;
  char byte;
  ssize_t got;
  while ((got = read(slave, &byte, 1)) == 1 && byte != 'q') atomic_fetch_add(&reads, 1);
  check(got == 1);
  return NULL;
}

static int open_slave(void) { return open(name, O_RDWR | O_NOCTTY); }

static void one_call(unsigned number) {
  struct winsize size;
  if (number % REOPEN_EVERY == 0) {
    int again = open_slave();
    check(again >= 0 && close(again) == 0);
  } else if (number % WRITE_EVERY == 0) {
    check(write(master, "x", 1) == 1);
  } else {
    check(ioctl(slave, TIOCGWINSZ, &size) == 0);
  }
}

/* Takes what the other side says; whether it has said all. */
static int has_ended(void) {
  struct pollfd input = {.fd = 0, .events = POLLIN};
  char byte;
  if (poll(&input, 1, 0) != 1) return 0;
  if (read(0, &byte, 1) != 1) return 1;
  if (byte == 'q') now = QUIET;
  if (byte == 's') now = SWAPPING;
  return 0;
}

static void note(double took) {
  of[now].times[of[now].count++ % TIMES_MAX] = took;
  if (took > of[now].longest) of[now].longest = took;
}

static double p999(enum period period) {
  unsigned kept = of[period].count < TIMES_MAX ? of[period].count : TIMES_MAX;
  qsort(of[period].times, kept, sizeof(double), compare);
  return of[period].times[(size_t)(kept * 0.999)];
}

int main(int argc, char **argv) {
  unsigned wanted = argc > 1 ? (unsigned)atoi(argv[1]) : 1000, pause_us = argc > 2 ? (unsigned)atoi(argv[2]) : 0;
  int unlock = 0, pty;
  struct termios raw;
  master = open("/dev/ptmx", O_RDWR | O_NOCTTY);
  if (master < 0 || ioctl(master, TIOCSPTLCK, &unlock) != 0 || ioctl(master, TIOCGPTN, &pty) != 0) return 1;
  snprintf(name, sizeof name, "/dev/pts/%d", pty);
  slave = open_slave();
  if (slave < 0 || tcgetattr(slave, &raw) != 0) return 1;
  cfmakeraw(&raw);
  if (tcsetattr(slave, TCSANOW, &raw) != 0) return 1;
  pthread_t reader;
  pthread_create(&reader, NULL, read_on, NULL);
  puts("ready");
  fflush(stdout);
  unsigned count = 0;
  for (; count < wanted || count % LOOK_EVERY != 0 || !has_ended(); count++) {
    if (count < wanted && count % LOOK_EVERY == 0) (void)has_ended();
    double began = now_ns();
    one_call(count + 1);
    note(now_ns() - began);
    if (pause_us > 0) usleep(pause_us);
  }
  check(write(master, "q", 1) == 1);
  pthread_join(reader, NULL);
  printf("operations %u failed %u quiet %.0f quietLongest %.0f swapping %.0f swappingLongest %.0f\n", count + reads, failed,
         p999(QUIET), of[QUIET].longest, p999(SWAPPING), of[SWAPPING].longest);
  return 0;
}
