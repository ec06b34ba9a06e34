/* The guest's seccomp filter. */
#ifndef POSTERN_FILTER_H
#define POSTERN_FILTER_H

/* Installs the filter on the calling thread and returns the user-notification listener, or -1 with errno set.
 * no_new_privs must be set, or CAP_SYS_ADMIN held. With `answers_stat` the host also answers every stat and open by name: where nodes could
 * not be made, or the kernel's /proc lacks something, other files stand in for them, and only the host knows what they stand for. With `answers_poll` it also answers poll, select and
 * epoll_wait: some device file's driver does its work there. With `refuses_mounts` the guest mounts no new file system, in no namespace. */
int install_filter(int answers_stat, int answers_poll, int refuses_mounts);

#endif
