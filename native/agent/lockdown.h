/* What keeps the local domain's processes from everything but their devices. */
#ifndef POSTERN_AGENT_LOCKDOWN_H
#define POSTERN_AGENT_LOCKDOWN_H

#include "domain.h"

/* Goes on in a child that is PID 1 of its own namespaces: a root with nothing in it but /dev (ptmx, a private devpts, with
 * `with_tun` net/tun), no privilege but CAP_NET_ADMIN (with_tun), no new ones, and an allow-list of system calls. Opens
 * domain->dev. What this machine refuses is left out and said in the log. The parent waits for the child and exits. */
void lockdown_enter(struct domain *domain, bool with_tun);

#endif
