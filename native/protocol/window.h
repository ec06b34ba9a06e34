/* The agreement between the launcher's seccomp filter and the hypervisor: which descriptors and addresses are
 * Postern's. Both compile against this file, so they can't drift apart. */
#ifndef POSTERN_WINDOW_H
#define POSTERN_WINDOW_H

/* Placeholders live in this range of descriptor numbers: below FD_SETSIZE, so that select works, and far above what
 * a program gets by itself, so that ordinary descriptors are never trapped. */
#define POSTERN_WINDOW_FIRST 832u
#define POSTERN_WINDOW_LAST 1023u

/* Driver pages are mapped into guests in this range of addresses only (16 TiB that the kernel's own top-down
 * layout does not reach). The filter refuses mremap here, which could grow a mapping into pages of others. */
#define POSTERN_MAP_FIRST 0x200000000000ull
#define POSTERN_MAP_LAST 0x20ffffffffffull

/* The launcher's control socket, inherited from the host. */
#define POSTERN_LAUNCH_FD 3

/* The injector's own system call, which carries the driver VM's RAM file into a stopped guest thread: openat with this
 * directory descriptor is always notified, and never valid otherwise. */
#define POSTERN_INJECT_DIRFD (-4242)

#endif
