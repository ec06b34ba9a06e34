/* What every part of the agent knows of the driver domain that it serves. */
#ifndef POSTERN_AGENT_DOMAIN_H
#define POSTERN_AGENT_DOMAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../protocol/protocol.h"

enum domain_kind { DOMAIN_VM, DOMAIN_LOCAL };

struct domain {
  enum domain_kind kind;
  uint8_t *memory; /* the channels, one after the other, shared with the backend processes */
  uint32_t channels;
  uint64_t *pages; /* VM: guest-physical address of every page of `memory`; local: NULL */
  int control;     /* the control stream */
  int doorbell;    /* the doorbell stream: a ring is a channel's number, a uint32_t */
  int events[POSTERN_CHANNELS_MAX]; /* local: an eventfd a channel, for waking the host; VM: -1 */
  int dev;                          /* O_PATH descriptor of /dev */
  char *devices;                    /* local: the DEVICES answer, made before the lock-down; VM: NULL */
  size_t devices_bytes;
  bool shared_root; /* programs can be run in a chroot of the host's root */
};

static inline struct postern_channel *domain_channel(const struct domain *domain, uint32_t number) {
  return (struct postern_channel *)(void *)(domain->memory + (size_t)number * POSTERN_CHANNEL_BYTES);
}

#endif
