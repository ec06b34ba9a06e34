/* How long a thread may run before another one that waits for the processor gets its turn. */
#ifndef POSTERN_SLICE_H
#define POSTERN_SLICE_H

#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The shortest that Linux gives (kernel/sched: 0.1 ms), and many times what an operation takes. */
#define POSTERN_SLICE_NS 100000u

/* struct sched_attr of linux/sched/types.h, its first version. */
struct postern_sched_attributes {
  uint32_t size, policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime_ns, deadline_ns, period_ns;
};

/* Asks for short turns of the calling thread, and of those that it starts: who serves one guest then does not keep who serves another
 * waiting for milliseconds, and is itself let in sooner. Its share of the processor stays the same. Kernels before 6.12 give everybody
 * the same turns. */
static inline void postern_take_short_turns(void) {
  struct postern_sched_attributes attributes;
  memset(&attributes, 0, sizeof attributes);
  if (syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) != 0) return;
  /* SCHED_OTHER: whoever chose another policy for this process meant it. */
  if (attributes.policy != 0) return;
  attributes.runtime_ns = POSTERN_SLICE_NS;
  (void)syscall(SYS_sched_setattr, 0, &attributes, 0);
}

#endif
