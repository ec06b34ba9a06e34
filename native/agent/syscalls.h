/* The allow-list of system calls of the local domain's processes. */
#ifndef POSTERN_AGENT_SYSCALLS_H
#define POSTERN_AGENT_SYSCALLS_H

/* From here on, a call outside the list kills the process. Needs no_new_privs. Returns 0 or -errno. */
int syscalls_restrict(void);

#endif
