/* A guest among many, or one with many open files: opens them, and makes operations on them when it is told to.
 * Usage: scale DEVICE FILES COMMAND
 * As one process can't have that many guarded descriptors, others of it hold all files beyond FILES_A_PROCESS.
 * Standard input: a line with how many operations to make, again and again; its end is the end. It prints `ready`, then for each line
 * `median NS p99 NS`. */
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "timing.h"

enum { FILES_A_PROCESS = 128, FILES_MAX = 1 << 16, OPERATIONS_MAX = 1 << 20 };

static int files[FILES_A_PROCESS];
static double samples[OPERATIONS_MAX];

static void must(int holds, const char *what) {
  if (holds) return;
  perror(what);
  exit(1);
}

static void open_files(const char *path, int count) {
  for (int i = 0; i < count; i++) must((files[i] = open(path, O_RDWR | O_NOCTTY)) >= 0, path);
}

/* A process that keeps so many files open until its parent has ended. */
static void hold(const char *path, int count) {
  int ends[2];
  char is_open;
  must(pipe(ends) == 0, "pipe");
  const pid_t holder = fork();
  must(holder >= 0, "fork");
  if (holder == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    open_files(path, count);
    must(write(ends[1], "", 1) == 1, "write");
    for (;;) pause();
  }
  close(ends[1]);
  must(read(ends[0], &is_open, 1) == 1, "a process that keeps files open");
  close(ends[0]);
}

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  const int count = atoi(argv[2]);
  const unsigned long command = strtoul(argv[3], NULL, 0);
  static char argument[4096];
  if (count < 1 || count > FILES_MAX) return 2;
  const int own = count < FILES_A_PROCESS ? count : FILES_A_PROCESS;
  for (int rest = count - own; rest > 0; rest -= FILES_A_PROCESS) hold(argv[1], rest < FILES_A_PROCESS ? rest : FILES_A_PROCESS);
  open_files(argv[1], own);
  printf("ready\n");
  fflush(stdout);
  int operations;
  while (scanf("%d", &operations) == 1 && operations > 0 && operations <= OPERATIONS_MAX) {
    for (int i = 0; i < operations; i++) {
      const double start = timing_now();
      must(ioctl(files[i % own], command, argument) == 0, "ioctl");
      samples[i] = timing_now() - start;
    }
    qsort(samples, (size_t)operations, sizeof *samples, timing_compare);
    printf("median %.1f p99 %.1f\n", samples[operations / 2], samples[(size_t)operations * 99 / 100]);
    fflush(stdout);
  }
  return 0;
}
