/* Driver memory that the host maps into guests: this process's mappings keep it alive and name its pages. */
#ifndef POSTERN_AGENT_MAPPINGS_H
#define POSTERN_AGENT_MAPPINGS_H

#include "backend.h"

/* Maps as POSTERN_OP_MMAP says. Returns the number of pages or -errno. */
int64_t mappings_map(struct backend *backend, const struct file *file, const struct postern_op *op);
/* Undoes mapping `number`. Returns 0, or -EINVAL when there is no such mapping. */
int64_t mappings_unmap(struct backend *backend, uint64_t number);

#endif
