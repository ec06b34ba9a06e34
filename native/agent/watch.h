/* Readiness: the driver's poll state of the watched files, told to the host when it rises.
 * A driver is never polled for an event that the host has not asked for: a poll can have side effects. */
#ifndef POSTERN_AGENT_WATCH_H
#define POSTERN_AGENT_WATCH_H

#include "backend.h"

/* Watches `file` for the poll events `events` (0: no longer). Takes the file's lock. Returns 0 or -errno. */
int64_t watch_set(struct backend *backend, struct file *file, uint32_t events);
/* Ends the watch of a file that closes; the caller has the file's lock. */
void watch_clear(struct backend *backend, struct file *file);
/* Asks the driver and notes the answer as told to the host. The caller has the file's lock and posts the answer.
 * POLLERR and POLLHUP are part of it always, as in poll(2). */
uint32_t watch_ask(struct file *file);

#endif
