/* The completion ring. */
#ifndef POSTERN_AGENT_COMPLETIONS_H
#define POSTERN_AGENT_COMPLETIONS_H

#include "backend.h"

/* Appends one completion and wakes the host if it sleeps. Any thread. Waits while the ring is full; a host that takes
 * nothing for COMPLETIONS_STALL_MS ends the process. */
void completions_post(struct backend *backend, const struct postern_completion *completion);

#endif
