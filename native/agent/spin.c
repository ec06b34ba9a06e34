#include "spin.h"

#include <time.h>

#define CALIBRATION_NS 2000000u

static uint64_t ticks_per_us = 1000;

static uint64_t nanoseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void spin_calibrate(void) {
  uint64_t start = nanoseconds(), ticks = spin_now(), now;
  do {
    now = nanoseconds();
  } while (now - start < CALIBRATION_NS);
  ticks_per_us = (spin_now() - ticks) * 1000 / (now - start);
}

uint64_t spin_ticks(uint32_t microseconds) { return microseconds * ticks_per_us; }
