/* The threads of a backend process: one for each operation that sleeps, kept for the next one. */
#ifndef POSTERN_AGENT_THREADS_H
#define POSTERN_AGENT_THREADS_H

#include "operations.h"

void threads_initialise(struct backend *backend);
/* Runs and completes the operation on a thread. Returns 0, or -EBUSY when all threads are taken, or -errno. */
int threads_start(const struct operation *operation);
/* Whether any operation is on a thread now. */
bool threads_busy(void);
/* Interrupts the operation with this id until it ends. Returns 0, or -ENOENT when it is not on a thread. */
int threads_cancel(uint64_t id);
/* Starts a thread for a mechanism of the process itself. Returns 0 or -errno. */
int threads_start_helper(void *(*entry)(void *), void *argument);

#endif
