/* The protocol between a guest VM's frontend (a kernel module in the guest) and the hypervisor (the addon).
 *
 * Two memories. The aperture is the shared memory of an ivshmem device, a PCI BAR in the guest: a control page and the device table,
 * which the host writes, and behind them the pages of the driver domain that are mapped into this guest, each run put there when it is
 * mapped and taken away when it is unmapped. The ring is memory of the guest's own, whose guest-physical address the frontend writes
 * into the control page: slots, one an operation in flight, and a word of poll state for each open file.
 *
 * Wake-ups: the frontend writes the doorbell register of the ivshmem device while the ring says that the host sleeps; the host raises
 * the device's only interrupt after it has answered or asked for pages, if the slot says that its caller sleeps, and after it has changed
 * poll states. Each side says that it sleeps before it looks for the last time.
 *
 * The ring's life: the frontend offers it (`ring_ready` 1) and withdraws it (0). The host says in `ring_taken` whether it uses one; only
 * when it does not, the memory may be used otherwise. A frontend that begins withdraws what one before it, of another boot, has left.
 *
 * Is the other side there? A frontend that has waited for long adds 1 to `asked` and rings; a host that is there copies it to `told`.
 *
 * Trust: neither side believes what it reads here. The host copies a slot out once before it looks at it, checks every index and
 * address, and finds the guest's arguments by walking the guest's page tables itself, in the guest's RAM only. The frontend bounds
 * every offset and length that the host wrote, and waits only in ways that a kill ends.
 */
#ifndef POSTERN_VM_FRONTEND_H
#define POSTERN_VM_FRONTEND_H

#ifdef __KERNEL__
#include <linux/types.h>
#define POSTERN_VM_ASSERT(condition, text) _Static_assert(condition, text)
#else
#include <stdint.h>
typedef uint8_t u8;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t s32;
typedef int64_t s64;
#ifdef __cplusplus
#define POSTERN_VM_ASSERT(condition, text) static_assert(condition, text)
#else
#define POSTERN_VM_ASSERT(condition, text) _Static_assert(condition, text)
#endif
#endif

#define POSTERN_VM_MAGIC 0x6e726574u /* "tern" */
#define POSTERN_VM_VERSION 3u

/* The aperture's first MiB: the control page, and the device table from the second page on. What is mapped comes behind it. */
#define POSTERN_VM_CONTROL_BYTES (1u << 20)
#define POSTERN_VM_TABLE_OFFSET 4096u
#define POSTERN_VM_TABLE_BYTES_MAX (POSTERN_VM_CONTROL_BYTES - POSTERN_VM_TABLE_OFFSET)

/* Operations of one guest VM in flight; as many again wait for a slot in the frontend. */
#define POSTERN_VM_SLOTS 64u
/* Rounds that one operation may take; a side that goes on is broken. */
#define POSTERN_VM_ROUNDS_MAX 64u
/* Open files of one guest VM. */
#define POSTERN_VM_FILES_MAX 1024u
/* The frontend numbers the files that programs open below this; the host, from here on, those that drivers make. */
#define POSTERN_VM_FILES_MADE 512u
/* Descriptors that one operation passes, either way. */
#define POSTERN_VM_DESCRIPTORS_MAX 16u
/* Ranges of the guest's memory that the host asks for at a time; what needs more is asked for in rounds. */
#define POSTERN_VM_RANGES_MAX 56u
#define POSTERN_VM_DEVICES_MAX 128u

enum postern_vm_host_state {
  POSTERN_VM_HOST_ABSENT = 0,
  POSTERN_VM_HOST_SERVING = 1,
  POSTERN_VM_HOST_GONE = 2,
};

/* The aperture's first page. */
struct postern_vm_control {
  /* The host writes these before the guest starts, and host_state again when it goes. */
  u32 magic, version, host_state, devices;
  u32 table_bytes, reserved;
  u64 aperture_bytes;
  /* The frontend writes these: the ring first, ring_ready last. 0 when the module is unloaded. */
  u64 ring_address;
  u32 ring_bytes, page_levels, ring_ready;
  u32 ring_taken; /* by the host */
};

/* The device table: `devices` of these, then the attributes and the texts that they name by their offset in the table. An operation's
 * device is its place here. Those without a major number have no file: others hang on them. */
struct postern_vm_device {
  char name[64];       /* below /dev; of one without a file, its folder's name */
  char class_name[32]; /* in /sys/class; empty where it has none */
  u32 major, minor;
  u32 attributes;        /* how many */
  u32 attribute_offset;  /* of the first postern_vm_attribute */
  u32 parent;            /* its place here; POSTERN_VM_NO_PARENT: the ivshmem device */
  u32 reserved;
  char bus[32];          /* that its `subsystem` link leads to; empty where it is of a class or of nothing */
};
#define POSTERN_VM_NO_PARENT 0xffffffffu

/* A file that a program finds in the device's folder in sysfs; the name may have one folder before it. The text of `uevent` is
 * what the file has beside the kernel's own lines. */
struct postern_vm_attribute {
  char name[56];
  u32 offset, bytes;
};

enum postern_vm_kind {
  POSTERN_VM_OPEN = 1,    /* `device`, file flags; the frontend has chosen the file's number */
  POSTERN_VM_RELEASE = 2,
  POSTERN_VM_IOCTL = 3,
  POSTERN_VM_READ = 4,
  POSTERN_VM_WRITE = 5,
  POSTERN_VM_MMAP = 6,    /* the answer's value is an offset in the aperture */
  POSTERN_VM_MUNMAP = 7,  /* `argument`: that offset */
  POSTERN_VM_CANCEL = 8,  /* `argument`: the sequence number of the operation that a signal has interrupted */
  POSTERN_VM_SEEK = 9,    /* `offset`, and in `command` from where (SEEK_SET ...) */
};

enum postern_vm_slot_state {
  POSTERN_VM_SLOT_FREE = 0,
  POSTERN_VM_SLOT_POSTED = 1,   /* by the frontend */
  POSTERN_VM_SLOT_NEEDS = 2,    /* by the host: fault in and hold the ranges, then post again with `round` one higher */
  POSTERN_VM_SLOT_ANSWERED = 3, /* by the host; the frontend frees the slot */
};

enum postern_vm_range_kind {
  POSTERN_VM_READS = 0,   /* needed: the host will read there */
  POSTERN_VM_WRITES = 1,  /* needed: the host will write there */
  /* Needed: what the caller's descriptor `address` is. The frontend posts it again with the file's number, or one of the two below, in
   * `bytes`, as one of the request's `resolved` ranges. */
  POSTERN_VM_DESCRIPTOR = 2,
  /* With an answer: the driver has made a file, which has the number `bytes`; the caller's new descriptor of it goes to `address`. */
  POSTERN_VM_INSTALL = 3,
  POSTERN_VM_INSTALL_CLOEXEC = 4,
};
#define POSTERN_VM_FILE_NONE 0xffffffffu    /* no descriptor */
#define POSTERN_VM_FILE_STRANGE 0xfffffffeu /* a descriptor of something else */

struct postern_vm_range {
  u64 address;
  u32 bytes;
  u32 kind; /* enum postern_vm_range_kind */
};

struct postern_vm_request {
  u64 sequence; /* unique while the module lives */
  u32 kind, round;
  u32 file, device;
  u32 process, thread;
  u32 flags;   /* of the file: O_ACCMODE, O_NONBLOCK ... */
  u32 command; /* an ioctl's command, or an mmap's PROT_* */
  u64 argument, length, offset;
  u64 page_table; /* guest-physical address of the top level page table of the caller */
  u32 resolved, reserved; /* how many of the slot's ranges tell of descriptors */
};

struct postern_vm_answer {
  s64 value;
  s32 error; /* positive errno, or 0 */
  u32 ranges;
};

struct postern_vm_slot {
  u32 state;
  u32 caller_sleeps; /* by the frontend: interrupt */
  u32 reserved[2];
  struct postern_vm_request request;
  struct postern_vm_answer answer;
  struct postern_vm_range range[POSTERN_VM_RANGES_MAX];
  u64 padding[2];
};

struct postern_vm_ring {
  u32 host_sleeps; /* by the host: ring the doorbell */
  u32 told;        /* by the host: the last `asked` that it has seen */
  u32 asked;       /* by the frontend */
  u32 reserved[13];
  u32 ready[POSTERN_VM_FILES_MAX]; /* by the host: poll events, by file */
  u8 padding[8192 - 64 - 4 * POSTERN_VM_FILES_MAX];
  struct postern_vm_slot slot[POSTERN_VM_SLOTS];
};

/* Operations that the frontend gives the driver's pages for before it posts them, so that the host need not ask: an ioctl's
 * argument of _IOC_SIZE bytes, and a read's or write's buffer up to this many bytes. */
#define POSTERN_VM_BUFFER_BYTES_MAX (512u << 10)

POSTERN_VM_ASSERT(sizeof(struct postern_vm_request) == 80, "postern_vm_request");
POSTERN_VM_ASSERT(sizeof(struct postern_vm_slot) == 1024, "postern_vm_slot");
POSTERN_VM_ASSERT(sizeof(struct postern_vm_ring) == 8192 + 64 * 1024, "postern_vm_ring");
POSTERN_VM_ASSERT(sizeof(struct postern_vm_device) == 152, "postern_vm_device");
POSTERN_VM_ASSERT(sizeof(struct postern_vm_attribute) == 64, "postern_vm_attribute");

#endif
