/* A backend process: the driver's side of one guest process. */
#ifndef POSTERN_AGENT_BACKEND_H
#define POSTERN_AGENT_BACKEND_H

#include <pthread.h>
#include <signal.h>

#include "domain.h"

/* The signal that interrupts a thread's system call. */
#define BACKEND_CANCEL_SIGNAL SIGUSR1

/* Exit statuses that the supervisor names in the log. */
enum backend_exit {
  BACKEND_EXIT_SETUP = 80,    /* a resource was missing at start */
  BACKEND_EXIT_PROTOCOL = 81, /* the submission ring's indices make no sense */
  BACKEND_EXIT_STALLED = 82,  /* the host did not take completions */
};

enum file_state { FILE_FREE, FILE_OPENING, FILE_OPEN, FILE_CLOSING };

/* One open file of the driver. The lock covers every field, and the order of the completions that carry `ready`. */
struct file {
  pthread_mutex_t lock;
  pthread_cond_t drained; /* users fell to 0 */
  enum file_state state;
  int descriptor;
  uint32_t users; /* operations that use the descriptor now */
  int status_flags;
  uint32_t watched; /* poll events whose readiness is mirrored; 0: none */
  uint32_t posted;  /* the readiness that the host was told last */
};

struct mapping {
  void *address;
  size_t bytes; /* 0: free */
};

struct backend {
  const struct domain *domain;
  uint32_t number; /* of the channel */
  struct postern_channel *channel;
  uint8_t *arena;
  struct file files[POSTERN_FILES_MAX];
  struct mapping mappings[POSTERN_MAPPINGS_MAX];
  int stranger; /* a file that is no device's and of no kind; local: -1 */
  int pagemap; /* VM; local: -1 */
  int epoll;   /* -1 until the first WATCH */
  pthread_mutex_t completion_lock;
  uint32_t complete_tail;
};

/* The life of a backend process. Never returns; it ends by SIGKILL, or by an exit status of enum backend_exit. */
_Noreturn void backend_run(const struct domain *domain, uint32_t number);

#endif
