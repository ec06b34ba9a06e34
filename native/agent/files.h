/* The file table of a backend process. */
#ifndef POSTERN_AGENT_FILES_H
#define POSTERN_AGENT_FILES_H

#include "backend.h"

void files_initialise(struct backend *backend);
/* Opens a device as the file `op->file`. Returns 0 or -errno: -EINVAL for a bad number or path, -EBUSY for a number in use,
 * -ENODEV for a file that is not a character device. */
int64_t files_open(struct backend *backend, const struct postern_op *op);
/* Keeps the number of file `number` for a descriptor. Returns 0, -EINVAL for a bad number, -EBUSY for one in use. */
int files_reserve(struct backend *backend, uint32_t number);
/* Gives the number back that files_reserve kept. */
void files_forget(struct backend *backend, uint32_t number);
/* Makes `descriptor`, which is closed, the reserved file `number`, as descriptor POSTERN_TAKEN_FIRST + `number`. Returns 0 or -errno: the
 * number is given back then. */
int files_adopt(struct backend *backend, uint32_t number, int descriptor);
/* The descriptor of an open file, or -1. It stays open as long as the host asks for no release. */
int files_descriptor(struct backend *backend, uint32_t number);
/* Waits for the file's operations to end, then closes it, as a kernel does. Returns 0 or -errno. */
int64_t files_release(struct backend *backend, uint32_t number);
/* Holds an open file for an operation and sets its O_NONBLOCK as the operation asks. Returns 0 or -EBADF. */
int64_t files_hold(struct backend *backend, const struct postern_op *op, struct file **held);
/* The end of files_hold; the caller has the file's lock. */
void files_let_go(struct file *file);

#endif
