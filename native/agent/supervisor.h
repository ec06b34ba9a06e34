/* The agent's first process: starts, stops and reaps backend processes as the channels' states say. */
#ifndef POSTERN_AGENT_SUPERVISOR_H
#define POSTERN_AGENT_SUPERVISOR_H

#include <sys/types.h>

#include "domain.h"

/* Serves the domain until the control server ends. Returns a line that says why. */
const char *supervisor_run(const struct domain *domain);
/* The backend process of a channel, or 0: there is none. For backend processes too. */
pid_t supervisor_process(uint32_t number);

#endif
