#include "completions.h"

#include <time.h>
#include <unistd.h>

#include "channels.h"
#include "log.h"

/* Far longer than any pause of a busy host, and finite, so that a vanished one can't leave threads behind. */
#define COMPLETIONS_STALL_MS 30000
/* The host empties a full ring within microseconds; a longer step would only add latency. */
#define COMPLETIONS_WAIT_STEP_US 100

static void wait_for_room(struct backend *backend) {
  for (int steps = 0;; steps++) {
    uint32_t head = __atomic_load_n(&backend->channel->complete_head, __ATOMIC_ACQUIRE);
    if (backend->complete_tail - head < POSTERN_RING_ENTRIES) return;
    if (steps == COMPLETIONS_STALL_MS * 1000 / COMPLETIONS_WAIT_STEP_US) {
      log_line("channel %u: the host has taken no completion for %d ms; the backend process ends", backend->number,
               COMPLETIONS_STALL_MS);
      _exit(BACKEND_EXIT_STALLED);
    }
    struct timespec step = {.tv_nsec = COMPLETIONS_WAIT_STEP_US * 1000};
    nanosleep(&step, NULL);
  }
}

void completions_post(struct backend *backend, const struct postern_completion *completion) {
  struct postern_channel *channel = backend->channel;
  pthread_mutex_lock(&backend->completion_lock);
  wait_for_room(backend);
  channel->completions[backend->complete_tail % POSTERN_RING_ENTRIES] = *completion;
  backend->complete_tail++;
  __atomic_store_n(&channel->complete_tail, backend->complete_tail, __ATOMIC_SEQ_CST);
  pthread_mutex_unlock(&backend->completion_lock);
  /* Looked at before it is taken: the line is the host's, which it would have to fetch back. */
  if (__atomic_load_n(&channel->host_sleeping, __ATOMIC_SEQ_CST) == 0) return;
  if (__atomic_exchange_n(&channel->host_sleeping, 0, __ATOMIC_SEQ_CST) == 1) {
    channels_wake_host(backend->domain, backend->number);
  }
}
