/* The public ABI of netmap, version 14 (luigirizzo/netmap: sys/net/netmap.h, netmap_legacy.h), as far as the stand-in and its guest program
 * need it: facts of layout and number, under their public names. */
#ifndef POSTERN_TEST_NETMAP_ABI_H
#define POSTERN_TEST_NETMAP_ABI_H

#ifdef __KERNEL__
#include <linux/ioctl.h>
#include <linux/types.h>
typedef __kernel_long_t netmap_ssize_t;
#else
#include <linux/ioctl.h>
#include <linux/types.h>
#include <sys/types.h>
typedef ssize_t netmap_ssize_t;
#endif

#define NETMAP_API 14
#define NETMAP_REQ_REGISTER 1
#define NETMAP_REQ_PORT_INFO_GET 2
#define NR_REG_MASK 0xf
#define NR_REG_ALL_NIC 1
#define NR_REG_PIPE_MASTER 5
#define NR_REG_PIPE_SLAVE 6
#define NETMAP_NO_TX_POLL 0x1000 /* in nmreq.nr_ringid */
#define NR_NO_TX_POLL 0x20000    /* in nmreq_register.nr_flags */
#define NETMAP_RING_MASK 0x0fff
#define NS_BUF_CHANGED 0x0001

struct netmap_slot {
  __u32 buf_idx;
  __u16 len, flags;
  __u64 ptr;
};

struct netmap_ring {
  __s64 buf_ofs; /* of the buffers, from here */
  __u32 num_slots, nr_buf_size;
  __u16 ringid, dir; /* 0: tx, 1: rx */
  __u32 head, cur, tail;
  __u32 flags;
  __s64 ts[2];
  __u8 sem[128] __attribute__((aligned(128)));
  struct netmap_slot slot[];
};
_Static_assert(sizeof(struct netmap_ring) == 256, "netmap_ring");

struct netmap_if {
  char ni_name[16];
  __u32 ni_version, ni_flags, ni_tx_rings, ni_rx_rings, ni_bufs_head, ni_host_tx_rings, ni_host_rx_rings, ni_spare1[3];
  netmap_ssize_t ring_ofs[]; /* from here: tx, host tx, rx, host rx */
};

struct nmreq {
  char nr_name[16];
  __u32 nr_version, nr_offset, nr_memsize, nr_tx_slots, nr_rx_slots;
  __u16 nr_tx_rings, nr_rx_rings, nr_ringid, nr_cmd, nr_arg1, nr_arg2;
  __u32 nr_arg3, nr_flags, spare2[1];
};
_Static_assert(sizeof(struct nmreq) == 60, "nmreq");

struct nmreq_header {
  __u16 nr_version, nr_reqtype;
  __u32 nr_reserved;
  char nr_name[64];
  __u64 nr_options, nr_body;
};
_Static_assert(sizeof(struct nmreq_header) == 88, "nmreq_header");

struct nmreq_register {
  __u64 nr_offset, nr_memsize;
  __u32 nr_tx_slots, nr_rx_slots;
  __u16 nr_tx_rings, nr_rx_rings, nr_mem_id, nr_ringid;
  __u32 nr_mode, nr_extra_bufs;
  __u64 nr_flags;
  __u16 nr_host_tx_rings, nr_host_rx_rings, pad[2];
};
_Static_assert(sizeof(struct nmreq_register) == 56, "nmreq_register");

#define NIOCGINFO _IOWR('i', 145, struct nmreq)
#define NIOCREGIF _IOWR('i', 146, struct nmreq)
#define NIOCTXSYNC _IO('i', 148)
#define NIOCRXSYNC _IO('i', 149)
#define NIOCCTRL _IOWR('i', 151, struct nmreq_header)

#endif
