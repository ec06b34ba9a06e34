/* The shared memory of the channels. */
#ifndef POSTERN_AGENT_CHANNELS_H
#define POSTERN_AGENT_CHANNELS_H

#include "domain.h"

#define CHANNEL_PAGES (POSTERN_CHANNEL_BYTES / POSTERN_PAGE_BYTES)

/* VM: allocates `channels` channels of locked memory and lists their pages. Returns 0 or -errno. */
int channels_allocate(struct domain *domain, uint32_t channels);
/* Local: maps the host's memfd; its size gives the number of channels. Returns 0 or -errno. */
int channels_map(struct domain *domain, int descriptor);
/* In a backend process: gives back the channels of all others. */
void channels_keep_only(const struct domain *domain, uint32_t number);
/* Empties a channel's rings for its next user. The arena too: it holds another guest's bytes. */
void channels_clear(const struct domain *domain, uint32_t number);
/* Wakes the backend process that sleeps on the channel's submissions. */
void channels_wake_backend(const struct domain *domain, uint32_t number);
/* Wakes the host's thread that sleeps on the channel's completions or state. */
void channels_wake_host(const struct domain *domain, uint32_t number);

#endif
