/* The guest's seccomp filter. */
#ifndef POSTERN_FILTER_H
#define POSTERN_FILTER_H

/* Installs the filter on the calling thread and returns the user-notification listener, or -1 with errno set.
 * no_new_privs must be set, or CAP_SYS_ADMIN held. */
int install_filter(void);

#endif
