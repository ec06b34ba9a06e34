/* Times one call many times: the median and the 99th percentile, in nanoseconds. */
#ifndef POSTERN_BENCH_TIMING_H
#define POSTERN_BENCH_TIMING_H

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static double timing_now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static int timing_compare(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* Calls `call(context)` a tenth of the rounds to warm up, then `rounds` times, and prints `median NS p99 NS`. */
__attribute__((unused)) static void timing_report(void (*call)(void *), void *context, int rounds) {
  double *samples = malloc((size_t)rounds * sizeof *samples);
  if (!samples) exit(1);
  for (int i = 0; i < rounds / 10; i++) call(context);
  for (int i = 0; i < rounds; i++) {
    const double began = timing_now();
    call(context);
    samples[i] = timing_now() - began;
  }
  qsort(samples, (size_t)rounds, sizeof *samples, timing_compare);
  printf("median %.1f p99 %.1f\n", samples[rounds / 2], samples[(size_t)rounds * 99 / 100]);
  free(samples);
}

#endif
