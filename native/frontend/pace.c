#include "pace.h"

#include <x86intrin.h>

_Static_assert(sizeof(struct pace) <= 64, "the room that its test has for it");

/* A wiped pace posts. */
enum { MODE_POSTING, MODE_TRAPPING, MODE_TRIAL };

/* The first operations of a mode are those in which both sides find their processors; then so many are measured. */
#define SETTLING_CALLS 16u
#define MEASURED_CALLS 64u
#define SETTLING_POSTS 128u
#define MEASURED_POSTS 128u
/* Posting is judged by so many at once: a processor that is taken away for a moment hardly shows in them. The first time it is after so many that
 * a program of a few operations is not asked at all. */
#define WINDOW_POSTS 512u
/* A sample counts for so much of the mean of trapped ones; one beyond TICKS_MAX, some 10 to 20 us, is about waiting, not about the way. */
#define SMOOTHING_SHIFT 5
#define TICKS_MAX 40000u
/* Posting takes two processors where being trapped takes one: it must be quicker by an eighth. */
#define MARGIN_SHIFT 3
/* Some 2 ms, doubled each time that posting was not worth it, up to a second or so: another trial then costs nothing that shows. */
#define PATIENCE_LEAST (1ull << 22)
#define PATIENCE_MOST (1ull << 31)
/* Posting that has been worth it for so many windows begins with the least patience again. */
#define WINDOWS_UNTIL_FORGIVEN 16u

static uint32_t ticks_since(uint64_t began) {
  uint64_t ticks = __rdtsc() - began;
  return ticks > TICKS_MAX ? TICKS_MAX : (uint32_t)ticks;
}

static void smooth(_Atomic uint32_t *mean, uint32_t ticks) {
  uint32_t before = atomic_load_explicit(mean, memory_order_relaxed);
  int64_t step = before == 0 ? (int64_t)ticks : ((int64_t)ticks - before) / (1 << SMOOTHING_SHIFT);
  atomic_store_explicit(mean, (uint32_t)(before + step), memory_order_relaxed);
}

static uint32_t counted(struct pace *pace) { return atomic_fetch_add_explicit(&pace->count, 1, memory_order_relaxed) + 1; }

static void enter(struct pace *pace, uint32_t mode) {
  atomic_store_explicit(&pace->count, 0, memory_order_relaxed);
  atomic_store_explicit(&pace->posted, 0, memory_order_relaxed);
  /* What is entered is measured anew. */
  if (mode == MODE_TRAPPING) {
    atomic_store_explicit(&pace->trapped, 0, memory_order_relaxed);
    atomic_store_explicit(&pace->windows, 0, memory_order_relaxed);
  }
  atomic_store_explicit(&pace->mode, mode, memory_order_relaxed);
}

static void give_up(struct pace *pace) {
  uint64_t patience = atomic_load_explicit(&pace->patience, memory_order_relaxed) * 2;
  if (patience < PATIENCE_LEAST) patience = PATIENCE_LEAST;
  if (patience > PATIENCE_MOST) patience = PATIENCE_MOST;
  atomic_store_explicit(&pace->patience, patience, memory_order_relaxed);
  atomic_store_explicit(&pace->retry_at, __rdtsc() + patience, memory_order_relaxed);
  enter(pace, MODE_TRAPPING);
}

static bool is_worth_it(struct pace *pace, uint32_t posts) {
  uint32_t trapped = atomic_load_explicit(&pace->trapped, memory_order_relaxed);
  return atomic_load_explicit(&pace->posted, memory_order_relaxed) / posts <= trapped - (trapped >> MARGIN_SHIFT);
}

/* A trial, or a window, has been measured. */
static void judge(struct pace *pace, uint32_t posts) {
  /* Being trapped has not been measured yet: that is done at once, and then posting has its trial. */
  if (atomic_load_explicit(&pace->trapped, memory_order_relaxed) == 0) return enter(pace, MODE_TRAPPING);
  if (!is_worth_it(pace, posts)) return give_up(pace);
  enter(pace, MODE_POSTING);
  if (atomic_fetch_add_explicit(&pace->windows, 1, memory_order_relaxed) + 1 == WINDOWS_UNTIL_FORGIVEN)
    atomic_store_explicit(&pace->patience, 0, memory_order_relaxed);
}

bool pace_posts(struct pace *pace) {
  if (atomic_load_explicit(&pace->mode, memory_order_relaxed) != MODE_TRAPPING) return true;
  if (atomic_load_explicit(&pace->count, memory_order_relaxed) < SETTLING_CALLS + MEASURED_CALLS) return false;
  if (__rdtsc() < atomic_load_explicit(&pace->retry_at, memory_order_relaxed)) return false;
  enter(pace, MODE_TRIAL);
  return true;
}

void pace_note_posted(struct pace *pace, uint64_t began) {
  uint32_t mode = atomic_load_explicit(&pace->mode, memory_order_relaxed);
  if (mode == MODE_TRAPPING) return;
  uint32_t count = counted(pace);
  if (mode == MODE_TRIAL && count <= SETTLING_POSTS) return;
  atomic_fetch_add_explicit(&pace->posted, ticks_since(began), memory_order_relaxed);
  if (count == (mode == MODE_TRIAL ? SETTLING_POSTS + MEASURED_POSTS : WINDOW_POSTS))
    judge(pace, mode == MODE_TRIAL ? MEASURED_POSTS : WINDOW_POSTS);
}

void pace_note_trapped(struct pace *pace, uint64_t began) {
  if (atomic_load_explicit(&pace->mode, memory_order_relaxed) != MODE_TRAPPING) return;
  if (counted(pace) > SETTLING_CALLS) smooth(&pace->trapped, ticks_since(began));
}
