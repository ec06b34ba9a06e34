/* The operations of a backend process: first the system call (run), then the answer (complete). */
#ifndef POSTERN_AGENT_OPERATIONS_H
#define POSTERN_AGENT_OPERATIONS_H

#include "backend.h"
#include "descriptors.h"

struct operation {
  struct postern_op op; /* the agent's own copy: the ring is never read twice */
  struct file *file;    /* held from run to complete; NULL: none */
  struct descriptors *descriptors; /* in the argument of a command; NULL: none */
  bool ask_ready;       /* the completion must carry the readiness (WATCH) */
  int64_t result;
};

/* Takes one submission: runs it here, or on a thread when it may sleep. */
void operations_dispatch(struct backend *backend, const struct postern_op *op);
/* Performs the system call. */
void operation_run(struct backend *backend, struct operation *operation);
/* Posts the completion, with the file's readiness where the host must know it, and lets go of the file. */
void operation_complete(struct backend *backend, struct operation *operation);

#endif
