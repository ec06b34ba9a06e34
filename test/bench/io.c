/* Ordinary input and output, timed: what a guest does that never touches a guarded device.
 * Usage: io PATH ROUNDS BYTES
 * Prints one line: `pipe NS file NS` (nanoseconds of one write and one read of BYTES bytes, at most 64 KiB: a pipe's room). */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK_BYTES_MAX = 65536, FILE_BLOCKS = 64 };

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static void must(int holds, const char *what) {
  if (holds) return;
  perror(what);
  exit(1);
}

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  static char block[BLOCK_BYTES_MAX];
  const ssize_t bytes = atoi(argv[3]);
  must(bytes > 0 && bytes <= BLOCK_BYTES_MAX, argv[3]);
  const int rounds = atoi(argv[2]);
  int ends[2];
  must(pipe(ends) == 0, "pipe");
  double began = now();
  for (int i = -rounds / 10; i < rounds; i++) {
    if (i == 0) began = now();
    must(write(ends[1], block, (size_t)bytes) == bytes, "write to the pipe");
    must(read(ends[0], block, (size_t)bytes) == bytes, "read from the pipe");
  }
  const double pipe_ns = (now() - began) / rounds;
  int file = open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600);
  must(file >= 0, argv[1]);
  /* Twice the blocks of the file first, so that it has its pages. */
  for (int i = -2 * FILE_BLOCKS; i < rounds; i++) {
    if (i == 0) began = now();
    const off_t offset = (off_t)((i + 2 * FILE_BLOCKS) % FILE_BLOCKS) * bytes;
    must(pwrite(file, block, (size_t)bytes, offset) == bytes, "write to the file");
    must(pread(file, block, (size_t)bytes, offset) == bytes, "read from the file");
  }
  const double file_ns = (now() - began) / rounds;
  unlink(argv[1]);
  printf("pipe %.1f file %.1f\n", pipe_ns, file_ns);
  return 0;
}
