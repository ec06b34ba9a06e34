/* What the library keeps of this process. The pages are wiped in a child that is forked, however it is: it begins without a ring. */
#ifndef POSTERN_FRONTEND_STATE_H
#define POSTERN_FRONTEND_STATE_H

#include <stdatomic.h>

#include "pace.h"
#include "pages.h"
#include "ring.h"

#define HINTS 64

enum registration { REGISTRATION_NONE, REGISTRATION_UNDER_WAY, REGISTRATION_DONE, REGISTRATION_REFUSED };

struct state {
  _Atomic int registration;
  struct postern_fast_ring *ring;
  _Atomic uint32_t claimed; /* a bit a slot */
  struct pages pages;
  struct pace pace;
  /* Kinds of operations that had to be system calls: the kind in the high half, how often still not to try in the low one. */
  _Atomic uint64_t hints[HINTS];
};

/* Null where the process can't have one. */
extern struct state *state;

#endif
