/* A guest among many: opens a terminal, waits for a signal to begin, makes its share of operations, and stays until it is told to go.
 * Usage: scale DEVICE FILES
 * Standard input: a line with how many operations to make, again and again; its end is the end. For each line it prints `median NS seconds S`. */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "timing.h"

enum { FILES_MAX = 4096, OPERATIONS_MAX = 1 << 20 };

static int files[FILES_MAX];
static double samples[OPERATIONS_MAX];

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  const int count = atoi(argv[2]);
  if (count < 1 || count > FILES_MAX) return 2;
  for (int i = 0; i < count; i++) {
    files[i] = open(argv[1], O_RDWR | O_NOCTTY);
    if (files[i] >= 0) continue;
    perror(argv[1]);
    return 1;
  }
  printf("ready\n");
  fflush(stdout);
  int operations;
  while (scanf("%d", &operations) == 1 && operations > 0 && operations <= OPERATIONS_MAX) {
    const double began = timing_now();
    for (int i = 0; i < operations; i++) {
      const double start = timing_now();
      if (ioctl(files[i % count], TIOCNXCL) != 0) return 1;
      samples[i] = timing_now() - start;
    }
    const double seconds = (timing_now() - began) / 1e9;
    qsort(samples, (size_t)operations, sizeof *samples, timing_compare);
    printf("median %.1f seconds %.9f\n", samples[operations / 2], seconds);
    fflush(stdout);
  }
  return 0;
}
