/* The guest's end of the fast frontend's ring. */
#ifndef POSTERN_FRONTEND_RING_H
#define POSTERN_FRONTEND_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../protocol/fast.h"

/* An operation: what is posted, where its bytes come from and go to. */
struct operation {
  struct postern_fast_call call;
  const void *in;  /* call.bytes of it are posted */
  void *out;       /* the reply goes there */
  uint64_t began; /* ticks */
  int64_t value;
  int error;
  int slot;
  bool preferred_call; /* it could have been posted, and a system call was thought quicker */
  bool batched; /* waits for others too: says nothing about how quick the way is */
};

/* To be called once, before anything else. */
void ring_prepare(void);
/* Posts the operation; false: make the system call. */
bool ring_post(struct operation *operation);
/* Tells that the operation has been made a system call; `began` is when, in ticks of the time stamp counter. */
void ring_note_trapped(const struct operation *operation, uint64_t began);
/* Waits for the answer of a posted operation; false: make the system call. */
bool ring_await(struct operation *operation);

#endif
