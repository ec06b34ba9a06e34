/* The protocol between the hypervisor (the addon) and the backend (the agent beside the driver).
 *
 * The agent owns a fixed number of channels. A channel is one backend process: a submission ring, a completion
 * ring and an arena, in shared memory. In a driver VM the memory is locked pages of the agent, which the host
 * addresses in the VM's RAM file by guest-physical address; in the local domain it is a memfd. Each channel
 * starts at a page boundary and is contiguous in the agent's address space, but not in physical memory.
 *
 * Trust: the host believes nothing that it reads here. The host keeps its own copies of the indices it owns,
 * and checks every index, identifier and length that the agent wrote.
 *
 * Both sides are little-endian x86-64. All offsets are asserted below.
 */
#ifndef POSTERN_PROTOCOL_H
#define POSTERN_PROTOCOL_H

#include <stdint.h>

#ifdef __cplusplus
#define POSTERN_ASSERT_LAYOUT(condition, text) static_assert(condition, text)
extern "C" {
#else
#define POSTERN_ASSERT_LAYOUT(condition, text) _Static_assert(condition, text)
#endif

#define POSTERN_PROTOCOL_VERSION 2u
#define POSTERN_PAGE_BYTES 4096u

/* One channel a guest process. Their memory is there when a process uses it, but in a VM, where it is locked: half as many keep that
 * near 66 MiB. */
#define POSTERN_CHANNELS_MAX 128u
#define POSTERN_CHANNELS_VM 64u
/* Entries of each ring: operations in flight of one backend process. A power of two. */
#define POSTERN_RING_ENTRIES 64u
/* The arena holds the regions of all operations in flight of one backend process. */
#define POSTERN_ARENA_BYTES (1u << 20)
/* Header, submissions and completions, in pages, before the arena. */
#define POSTERN_CHANNEL_HEAD_BYTES (4u * POSTERN_PAGE_BYTES)
#define POSTERN_CHANNEL_BYTES (POSTERN_CHANNEL_HEAD_BYTES + POSTERN_ARENA_BYTES)
/* Open files of one backend process. */
#define POSTERN_FILES_MAX 256u
/* A descriptor that a driver made, or that another backend process had, is number POSTERN_TAKEN_FIRST + its file in the backend
 * process: for as long as it is there, the number says which one it is. Above what a process has else, below its limit of 1024. */
#define POSTERN_TAKEN_FIRST 512u
/* Descriptors in the argument of one operation. */
#define POSTERN_DESCRIPTORS_MAX 64u
/* Mappings of one backend process. */
#define POSTERN_MAPPINGS_MAX 1024u

/* Channel states. FREE -> START by the host (it rings the doorbell); START -> RUNNING by the agent, which forks
 * the backend process; RUNNING -> STOP by the host (and rings); STOP or RUNNING -> FREE or DEAD by the agent when the process
 * has been reaped: FREE after STOP (rings cleared), DEAD when it died on its own (the host then sets STOP). */
enum postern_channel_state {
  POSTERN_CHANNEL_FREE = 0,
  POSTERN_CHANNEL_START = 1,
  POSTERN_CHANNEL_RUNNING = 2,
  POSTERN_CHANNEL_STOP = 3,
  POSTERN_CHANNEL_DEAD = 4,
};

enum postern_op_kind {
  /* Open the device `path` (in the arena at head_offset, NUL-terminated, relative to /dev) with open flags `command`
   * as file `file`. Result 0 or -errno. */
  POSTERN_OP_OPEN = 1,
  /* Close file `file`. Result 0 or close's -errno. Never blocks the ring: runs on a thread. */
  POSTERN_OP_RELEASE = 2,
  /* ioctl(file, command, argument): `argument` is a plain word, or an address in the arena (the host has relocated
   * it and every nested pointer already). */
  POSTERN_OP_IOCTL = 3,
  /* read/write of `length` bytes at arena offset head_offset. With POSTERN_OP_POSITIONAL: pread/pwrite at `offset`. */
  POSTERN_OP_READ = 4,
  POSTERN_OP_WRITE = 5,
  /* mmap `length` bytes of the file at `offset` with protection `command` (PROT_*), MAP_SHARED, populated, as mapping
   * number `argument`. The guest-physical page addresses, one uint64_t a page, go to arena offset head_offset (room for
   * length / 4096 entries). Result: pages, or -errno; -EOPNOTSUPP when the pages can't be named (VM_PFNMAP, local domain). */
  POSTERN_OP_MMAP = 6,
  /* Undo mapping number `argument`. */
  POSTERN_OP_MUNMAP = 7,
  /* From now on mirror the readiness of `file` for the poll events in `command` (0: stop). The completion carries the
   * mask as of now; changes come as POSTERN_COMPLETION_READY. Only these events are ever asked of the driver. */
  POSTERN_OP_WATCH = 8,
  /* Interrupt the operation whose id is `argument` (a signal to its thread, repeated until it ends). The operation completes
   * by itself, with -EINTR or its result. Result 0, or -ENOENT when no such operation is running. */
  POSTERN_OP_CANCEL = 9,
  /* lseek(file, offset, command). Result: the position or -errno. */
  POSTERN_OP_SEEK = 10,
};

enum postern_op_flag {
  /* May sleep in the driver: run on a thread. */
  POSTERN_OP_BLOCKING = 1u << 0,
  /* The file's O_NONBLOCK must be set (clear without this flag) before the operation. */
  POSTERN_OP_NONBLOCK = 1u << 1,
  POSTERN_OP_POSITIONAL = 1u << 2,
  /* The file's readiness is the same after the operation as before: it is not asked, and the completion says UNKNOWN. */
  POSTERN_OP_STEADY = 1u << 3,
};

/* A submission, written by the host. 64 bytes. */
struct postern_op {
  uint64_t id; /* chosen by the host, not 0 */
  uint32_t kind;
  uint32_t flags;
  uint32_t file; /* chosen by the host, below POSTERN_FILES_MAX */
  uint32_t command;
  uint64_t argument;
  uint64_t offset;
  uint64_t length;
  uint32_t head_offset; /* into the arena */
  /* IOCTL: so many struct postern_descriptor at this arena offset say which of its argument's numbers are descriptors. */
  uint32_t descriptors_offset;
  uint32_t descriptors;
  uint32_t reserved;
};
POSTERN_ASSERT_LAYOUT(sizeof(struct postern_op) == 64, "postern_op");

/* What a descriptor is: the contract's descriptor-kind. */
enum postern_descriptor_kind {
  POSTERN_KIND_DMA_BUF = 0,
  POSTERN_KIND_SYNC_FILE = 1,
  POSTERN_KIND_SYNCOBJ = 2,
};

enum postern_descriptor_flow {
  /* The driver sees at `place` the number of `file`. Where that isn't open in this backend process, it becomes what `source` is
   * in the process of `channel`. POSTERN_FILE_NONE: a number that is no file; POSTERN_FILE_STRANGE: a file that is of no kind. */
  POSTERN_LEND = 0,
  /* What the driver has made at `place` becomes `file`; -1 is left there. */
  POSTERN_TAKE = 1,
};
#define POSTERN_FILE_NONE 0xfffffffeu
#define POSTERN_FILE_STRANGE 0xffffffffu

/* A descriptor in an argument, written by the host; the agent writes what follows `source`. 72 bytes. */
struct postern_descriptor {
  uint32_t place; /* arena offset of the number */
  uint32_t width; /* 4 or, for LEND, 8 bytes */
  uint32_t kind;
  uint32_t flow;
  uint32_t file;
  uint32_t channel;
  uint32_t source;
  /* LEND: the number that the driver saw. TAKE: 0 when taken, 1 when the driver made none, -EBADF when what it made is of another
   * kind (it is left alone then), or another -errno. */
  int32_t result;
  /* Taken: its open flags and what fstat says of it. */
  uint32_t open_flags;
  uint32_t mode;
  uint64_t device;
  uint64_t inode;
  uint64_t bytes;
  uint64_t reserved;
};
POSTERN_ASSERT_LAYOUT(sizeof(struct postern_descriptor) == 72, "postern_descriptor");

enum postern_completion_kind {
  POSTERN_COMPLETION_DONE = 1,  /* the operation `id` has ended with `result` */
  POSTERN_COMPLETION_READY = 2, /* `file`'s readiness rose: `ready` is the whole watched mask now */
};

/* A completion, written by the agent. 32 bytes. */
struct postern_completion {
  uint64_t id;
  int64_t result; /* negative: -errno */
  uint32_t kind;
  uint32_t file;
  /* The file's readiness after the operation, among the watched events; POSTERN_READY_UNKNOWN: nothing is watched. */
  uint32_t ready;
  uint32_t reserved;
};
POSTERN_ASSERT_LAYOUT(sizeof(struct postern_completion) == 32, "postern_completion");
#define POSTERN_READY_UNKNOWN 0xffffffffu

/* The head of a channel. Indices count up for ever; entry = index % POSTERN_RING_ENTRIES. Each index has one writer.
 * *_sleeping: the reader sets it to 1 (seq_cst), looks once more, then sleeps; the writer, having stored the index (seq_cst),
 * exchanges it with 0 and wakes the reader if it was 1.
 *   Waking the agent: local domain, FUTEX_WAKE (shared) on submit_tail; VM, the channel's number on the doorbell stream,
 *   whose reader in PID 1 does that FUTEX_WAKE.
 *   Waking the host: the channel's number on the doorbell stream (VM), or 1 added to the channel's eventfd (local). */
struct postern_channel {
  uint32_t state; /* enum postern_channel_state */
  uint32_t pid;   /* of the backend process, informative */
  uint32_t reserved0[14];
  uint32_t submit_tail; /* host writes */
  uint32_t reserved1[15];
  uint32_t submit_head; /* agent writes: entries before it have been taken (copied out of the ring) */
  uint32_t agent_sleeping;
  uint32_t reserved2[14];
  uint32_t complete_tail; /* agent writes */
  uint32_t reserved3[15];
  uint32_t complete_head; /* host writes */
  uint32_t host_sleeping;
  uint32_t reserved4[14];
  uint8_t reserved5[POSTERN_PAGE_BYTES - 320];
  struct postern_op submissions[POSTERN_RING_ENTRIES];         /* one page */
  struct postern_completion completions[POSTERN_RING_ENTRIES]; /* half a page */
};
POSTERN_ASSERT_LAYOUT(sizeof(struct postern_channel) <= POSTERN_CHANNEL_HEAD_BYTES, "postern_channel");

/* The control stream: frames of {uint32_t bytes (of the payload), uint32_t type, payload}. One request at a time,
 * each answered by frames of the same type; used at start, for listing devices and for running programs, never by an operation. */
enum postern_frame_type {
  /* host: uint64_t wall clock in ns (the agent sets CLOCK_REALTIME in a VM; 0: leave it). agent: struct postern_hello, then (VM) the page
   * list: channels * POSTERN_CHANNEL_BYTES / 4096 uint64_t guest-physical addresses, channel after channel. */
  POSTERN_FRAME_HELLO = 1,
  /* host: empty. agent: a JSON array of devices, as in schemas/devices.schema.json. */
  POSTERN_FRAME_DEVICES = 2,
  /* host: NUL-terminated strings: argv, run beside the driver in a chroot of the shared root (VM started for comparison only).
   * host, then: POSTERN_FRAME_INPUT frames for its standard input, an empty one for its end.
   * agent: POSTERN_FRAME_OUTPUT and POSTERN_FRAME_ERROR frames, what it writes on its two outputs, then one POSTERN_FRAME_RUN with
   * int32_t wait status. */
  POSTERN_FRAME_RUN = 3,
  POSTERN_FRAME_OUTPUT = 4,
  /* agent, at any time: a line of text for the host's log. */
  POSTERN_FRAME_LOG = 5,
  POSTERN_FRAME_ERROR = 6,
  POSTERN_FRAME_INPUT = 7,
  /* host: empty. agent: empty, at once: it is alive. */
  POSTERN_FRAME_PING = 8,
};
#define POSTERN_FRAME_BYTES_MAX (1u << 22)

struct postern_hello {
  uint32_t version;
  uint32_t channels;
  uint64_t channels_address; /* of channel 0 in the agent's address space; channel n is n * POSTERN_CHANNEL_BYTES further */
  uint32_t pages_follow;     /* 1: the page list follows (VM) */
  uint32_t reserved;
};
POSTERN_ASSERT_LAYOUT(sizeof(struct postern_hello) == 24, "postern_hello");

#ifdef __cplusplus
}
#endif
#endif
