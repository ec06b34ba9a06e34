/* Descriptors in the arguments of commands: numbers of this process for the driver, and what the driver makes for the guest. */
#ifndef POSTERN_AGENT_DESCRIPTORS_H
#define POSTERN_AGENT_DESCRIPTORS_H

#include "backend.h"

struct descriptors;

/* Before the driver runs, on the main loop: puts the numbers of what is lent into the argument, fetching from other backend
 * processes what isn't here yet, and keeps files for what is taken. Returns 0 and the set, or -errno: -EINVAL for entries that make no
 * sense, -EBUSY for a file in use, -ENODEV when the other process has gone, -EOPNOTSUPP in the local domain. */
int descriptors_lend(struct backend *backend, const struct postern_op *op, struct descriptors **set);
/* After the driver: what it has made becomes files. With `succeeded` false it has made nothing. */
void descriptors_take(struct backend *backend, struct descriptors *set, bool succeeded);
/* Tells the host what became of each and frees the set; NULL does nothing. Files that are kept for nothing are given back. */
void descriptors_end(struct backend *backend, struct descriptors *set);

#endif
