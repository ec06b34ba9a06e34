/* Which way is quicker of late, being posted or being trapped. Posting needs a processor for the hypervisor beside the program's: on a machine
 * whose processors are all taken, being trapped is quicker. What one operation takes now and then tells little, because both sides need a
 * moment to find themselves processors, and one that is trapped takes the other side along: so each way is tried for a while, and then kept
 * for as long as it proves to be worth it. Threads write without care for each other: it is advice. */
#ifndef POSTERN_FRONTEND_PACE_H
#define POSTERN_FRONTEND_PACE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Wiped memory is a pace that begins. Times are ticks of the processor's time stamp counter. */
struct pace {
  _Atomic uint32_t mode;
  _Atomic uint32_t count;   /* operations in this mode, or window of it */
  _Atomic uint64_t posted;  /* what those of them that are measured have taken in all */
  _Atomic uint32_t trapped; /* what one takes that is trapped, smoothed; 0: not known */
  _Atomic uint32_t windows; /* in a row, in which posting was worth it */
  _Atomic uint64_t patience; /* how long posting is left alone after it was not worth it */
  _Atomic uint64_t retry_at;
};

/* Whether the next operation is to be posted. */
bool pace_posts(struct pace *pace);
/* What an operation has taken that was posted, or that could have been and was made a system call: it began at `began`. */
void pace_note_posted(struct pace *pace, uint64_t began);
void pace_note_trapped(struct pace *pace, uint64_t began);

#endif
