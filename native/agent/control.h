/* The control stream's server, a process of its own so that listing devices or running a program never delays a ring. */
#ifndef POSTERN_AGENT_CONTROL_H
#define POSTERN_AGENT_CONTROL_H

#include <sys/types.h>

#include "domain.h"

/* Answers frames until the stream ends. */
_Noreturn void control_run(const struct domain *domain);
/* Sends one frame whose payload is in one or two parts. Ends the process when the stream is broken. */
void control_send(const struct domain *domain, uint32_t type, const void *first, size_t first_bytes, const void *second,
                  size_t second_bytes);
/* Takes the next frame of the host's, whose payload is kept until the next call: a kind, and its length in `length`. */
uint32_t control_take(const struct domain *domain, char **payload, size_t *length);
/* Forwards the waiting log lines as LOG frames. */
void control_forward_log(const struct domain *domain);

#endif
