/* Short waits without a system call. Time is the CPU's time stamp counter, calibrated once by the agent at start. */
#ifndef POSTERN_AGENT_SPIN_H
#define POSTERN_AGENT_SPIN_H

#include <stdint.h>
#include <x86intrin.h>

/* Measures the counter against CLOCK_MONOTONIC; takes 2 ms. */
void spin_calibrate(void);
/* Ticks of the counter in `microseconds`. */
uint64_t spin_ticks(uint32_t microseconds);

static inline uint64_t spin_now(void) { return __rdtsc(); }
static inline void spin_pause(void) { _mm_pause(); }

#endif
