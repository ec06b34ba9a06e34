/* Programs beside the driver: the direct half of a comparison. Only in a VM that was started with the host's root. */
#ifndef POSTERN_AGENT_RUN_H
#define POSTERN_AGENT_RUN_H

#include "domain.h"

/* Where the host's root is mounted in the VM. */
#define RUN_ROOT "/root"

/* Runs the program whose argv is `payload`, NUL-terminated strings. Sends OUTPUT frames and the RUN frame; status 127 << 8
 * and a line of output say that it could not be run. */
void run_program(const struct domain *domain, char *payload, size_t length);

#endif
