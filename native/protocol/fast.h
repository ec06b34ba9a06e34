/* The memory that a guest process and the hypervisor share for the fast frontend: slots, in each of which one thread of the guest posts
 * one file operation at a time and waits for its answer.
 *
 * Trust: to the hypervisor every word here is a hostile guest's. It copies an operation out once before it looks at it, keeps its own
 * record of which slots it works on, and reads nothing back that it wrote. The memory file is sealed against resizing. What the guest
 * says about itself gives it nothing: the descriptor is looked up in the process that registered, and the operation is judged and
 * executed like a trapped system call.
 *
 * The guest gets the memory by a system call that is always notified: openat(POSTERN_FAST_DIRFD, "", O_RDWR) returns the memory file.
 */
#ifndef POSTERN_FAST_H
#define POSTERN_FAST_H

#include <stdint.h>

#include "protocol.h"

/* Never a valid directory descriptor. */
#define POSTERN_FAST_DIRFD (-4243)

#define POSTERN_FAST_VERSION 1u
/* Operations under way of one process by this way; as many as `posted` has bits. */
#define POSTERN_FAST_SLOTS 32u
#define POSTERN_FAST_SLOT_BYTES 4096u
#define POSTERN_FAST_HEAD_BYTES 128u
/* What an operation carries of the argument or the buffer; a longer one takes the system call. */
#define POSTERN_FAST_PAYLOAD_BYTES (POSTERN_FAST_SLOT_BYTES - POSTERN_FAST_HEAD_BYTES)

enum postern_fast_kind {
  POSTERN_FAST_IOCTL = 1, /* `command`, `argument`; payload: what the argument points to, `bytes` of it, 0 when nothing goes in */
  POSTERN_FAST_READ = 2,  /* `length` */
  POSTERN_FAST_WRITE = 3, /* payload: `bytes` of it are written */
};

enum postern_fast_answer {
  POSTERN_FAST_ANSWERED = 1, /* `value`, or -1 with `error`; `reply_bytes` of the payload belong where the argument or buffer is */
  POSTERN_FAST_SYSCALL = 2,  /* not by this way: make the system call, nothing has happened */
};

/* What the guest posts, copied out as one piece. */
struct postern_fast_call {
  uint32_t kind;
  int32_t descriptor;
  uint32_t command;
  uint32_t bytes;
  uint64_t argument;
  uint64_t length;
};
POSTERN_ASSERT_LAYOUT(sizeof(struct postern_fast_call) == 32, "postern_fast_call");

struct postern_fast_slot {
  struct postern_fast_call call; /* guest writes */
  uint32_t sleeping;             /* the guest's thread waits by futex on `answer` */
  uint32_t reserved0[7];
  uint32_t answer; /* 0 while the hypervisor works; enum postern_fast_answer, written last */
  uint32_t error;
  int64_t value;
  uint32_t reply_bytes;
  uint32_t reserved1[11];
  uint8_t payload[POSTERN_FAST_PAYLOAD_BYTES];
};
POSTERN_ASSERT_LAYOUT(sizeof(struct postern_fast_slot) == POSTERN_FAST_SLOT_BYTES, "postern_fast_slot");

/* `host_asleep`: the hypervisor looks at `posted` only while it is 0. The guest, having posted (seq_cst), reads it: where it is 1, it takes
 * its post back, and makes the system call, which wakes the hypervisor; where the post is gone, the hypervisor has it. The
 * hypervisor sets it to 1 (seq_cst) and looks once more before it sleeps. */
struct postern_fast_ring {
  uint32_t version;
  uint32_t host_asleep;
  uint32_t reserved0[14];
  uint32_t posted; /* a bit a slot: set by the guest, taken all at once by the hypervisor */
  /* What the guest says of itself, which the hypervisor may heed or not: that it makes system calls at present, so that looking for its
   * posts is in vain; and on which processor it posted last. */
  uint32_t prefers_calls;
  uint32_t processor;
  uint32_t reserved1[13];
  uint8_t reserved2[POSTERN_FAST_SLOT_BYTES - 128];
  struct postern_fast_slot slots[POSTERN_FAST_SLOTS];
};
#define POSTERN_FAST_RING_BYTES ((POSTERN_FAST_SLOTS + 1u) * POSTERN_FAST_SLOT_BYTES)
POSTERN_ASSERT_LAYOUT(sizeof(struct postern_fast_ring) == POSTERN_FAST_RING_BYTES, "postern_fast_ring");

#endif
