/* Opens and closes of an ordinary file, and of this many system calls that no filter cares about, timed.
 * Usage: opens PATH ROUNDS
 * Prints one line: `open NS open99 NS call NS` (medians, and the 99th percentile of opens). */
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "timing.h"

static double median_of(void (*call)(const char *), const char *path, int rounds, double *samples) {
  for (int i = 0; i < rounds / 10; i++) call(path);
  for (int i = 0; i < rounds; i++) {
    const double began = timing_now();
    call(path);
    samples[i] = timing_now() - began;
  }
  qsort(samples, (size_t)rounds, sizeof *samples, timing_compare);
  return samples[rounds / 2];
}

static void open_and_close(const char *path) {
  const int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) exit(1);
  close(file);
}

static void call_kernel(const char *path) {
  (void)path;
  syscall(SYS_getppid);
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  const int rounds = atoi(argv[2]);
  double *samples = malloc((size_t)rounds * sizeof *samples);
  if (!samples) return 1;
  const double open_ns = median_of(open_and_close, argv[1], rounds, samples);
  const double open99_ns = samples[(size_t)rounds * 99 / 100];
  printf("open %.1f open99 %.1f call %.1f\n", open_ns, open99_ns, median_of(call_kernel, argv[1], rounds, samples));
  return 0;
}
