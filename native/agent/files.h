/* The file table of a backend process. */
#ifndef POSTERN_AGENT_FILES_H
#define POSTERN_AGENT_FILES_H

#include "backend.h"

void files_initialise(struct backend *backend);
/* Opens a device as the file `op->file`. Returns 0 or -errno: -EINVAL for a bad number or path, -EBUSY for a number in use,
 * -ENODEV for a file that is not a character device. */
int64_t files_open(struct backend *backend, const struct postern_op *op);
/* Waits for the file's operations to end, then closes it, as a kernel does. Returns 0 or -errno. */
int64_t files_release(struct backend *backend, uint32_t number);
/* Holds an open file for an operation and sets its O_NONBLOCK as the operation asks. Returns 0 or -EBADF. */
int64_t files_hold(struct backend *backend, const struct postern_op *op, struct file **held);
/* The end of files_hold; the caller has the file's lock. */
void files_let_go(struct file *file);

#endif
