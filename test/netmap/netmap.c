/* A stand-in for the netmap kernel module, for tests where there is none: the public ABI's device, with one pipe (netmap(4)) whose two
 * ends are what is sent on the other. Every name is a name of that pipe: `NAME{0` and `NAME}0`, or the older API's flags. Like the
 * real module, it moves packets in NIOCTXSYNC, NIOCRXSYNC and poll only, and believes of a ring what a program may write there only
 * after checking it. */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "netmap_abi.h"

MODULE_LICENSE("Dual MIT/GPL");
MODULE_DESCRIPTION("a stand-in for netmap, for tests");

#define SLOTS 64u
#define BUF_BYTES 2048u
#define ENDS 2u
/* As in netmap, the first two buffers are nobody's. */
#define BUFS_RESERVED 2u
#define RING_BYTES ALIGN(sizeof(struct netmap_ring) + SLOTS * sizeof(struct netmap_slot), 256)
#define IF_BYTES 256u
#define IFS_AT 0u
#define RINGS_AT (IFS_AT + ENDS * IF_BYTES)
#define BUFS_AT PAGE_ALIGN(RINGS_AT + 2 * ENDS * RING_BYTES)
#define BUFS (BUFS_RESERVED + 2 * ENDS * SLOTS)
#define REGION_BYTES PAGE_ALIGN(BUFS_AT + BUFS * BUF_BYTES)

enum { TX, RX };

/* The kernel's view of a ring: slots from hwcur to hwtail are the program's, the others the kernel's. */
struct kring {
  struct netmap_ring *ring;
  u32 hwcur, hwtail;
};

struct end {
  struct kring rings[2];
  struct file *owner;
  wait_queue_head_t waiters;
  bool no_tx_poll;
};

static u8 *region;
static struct end ends[ENDS];
static DEFINE_MUTEX(lock);

static u32 next(u32 slot) { return slot + 1 == SLOTS ? 0 : slot + 1; }
static u32 distance(u32 from, u32 to) { return to >= from ? to - from : to + SLOTS - from; }

static void set_up_ring(u32 end, u32 kind, u32 *buffer) {
  struct kring *kring = &ends[end].rings[kind];
  u32 i;
  kring->ring = (struct netmap_ring *)(region + RINGS_AT + (2 * end + kind) * RING_BYTES);
  memset(kring->ring, 0, RING_BYTES);
  kring->ring->buf_ofs = region + BUFS_AT - (u8 *)kring->ring;
  kring->ring->num_slots = SLOTS;
  kring->ring->nr_buf_size = BUF_BYTES;
  kring->ring->dir = kind;
  for (i = 0; i < SLOTS; i++) kring->ring->slot[i].buf_idx = (*buffer)++;
  kring->hwcur = 0;
  /* A transmit ring is the program's but for one slot, a receive ring has nothing yet. */
  kring->hwtail = kring->ring->tail = kind == TX ? SLOTS - 1 : 0;
}

static void set_up_end(u32 end, const char *name) {
  u32 kind, buffer = BUFS_RESERVED + end * 2 * SLOTS;
  struct netmap_if *nifp = (struct netmap_if *)(region + IFS_AT + end * IF_BYTES);
  memset(nifp, 0, IF_BYTES);
  strscpy(nifp->ni_name, name, sizeof nifp->ni_name);
  nifp->ni_version = NETMAP_API;
  nifp->ni_tx_rings = nifp->ni_rx_rings = 1;
  for (kind = TX; kind <= RX; kind++) {
    set_up_ring(end, kind, &buffer);
    nifp->ring_ofs[kind] = (u8 *)ends[end].rings[kind].ring - (u8 *)nifp;
  }
}

/* What the program says it has done: its head and cur must lie in what is its own, or the ring begins anew. */
static int prologue(struct kring *kring, u32 *head) {
  u32 own = distance(kring->hwcur, kring->hwtail), cur = READ_ONCE(kring->ring->cur);
  *head = READ_ONCE(kring->ring->head);
  if (*head < SLOTS && cur < SLOTS && distance(kring->hwcur, *head) <= own && distance(kring->hwcur, cur) <= own &&
      distance(kring->hwcur, *head) <= distance(kring->hwcur, cur))
    return 0;
  kring->ring->head = kring->ring->cur = kring->hwcur;
  kring->ring->tail = kring->hwtail;
  return -EINVAL;
}

/* One packet, to the other end's receive ring; false: there is no room. */
static bool pass(struct kring *from, struct kring *to) {
  struct netmap_slot *slot = &from->ring->slot[from->hwcur], *there = &to->ring->slot[to->hwtail];
  u32 length = READ_ONCE(slot->len), source = READ_ONCE(slot->buf_idx), target = READ_ONCE(there->buf_idx);
  if (next(to->hwtail) == to->hwcur) return false;
  if (length <= BUF_BYTES && source < BUFS && target < BUFS) {
    memcpy(region + BUFS_AT + target * BUF_BYTES, region + BUFS_AT + source * BUF_BYTES, length);
    there->len = length;
    there->flags = 0;
    to->hwtail = next(to->hwtail);
  }
  from->hwcur = next(from->hwcur);
  return true;
}

static int txsync(u32 end) {
  struct kring *mine = &ends[end].rings[TX];
  u32 head;
  bool sent = false;
  if (prologue(mine, &head) != 0) return -EINVAL;
  while (mine->hwcur != head && pass(mine, &ends[1 - end].rings[RX])) sent = true;
  mine->hwtail = mine->hwcur == 0 ? SLOTS - 1 : mine->hwcur - 1;
  mine->ring->tail = mine->hwtail;
  if (sent) wake_up_interruptible(&ends[1 - end].waiters);
  return 0;
}

static int rxsync(u32 end) {
  struct kring *mine = &ends[end].rings[RX];
  u32 head;
  if (prologue(mine, &head) != 0) return -EINVAL;
  if (mine->hwcur != head) wake_up_interruptible(&ends[1 - end].waiters);
  mine->hwcur = head;
  mine->ring->tail = mine->hwtail;
  return 0;
}

static int bind_end(struct file *file, u32 end, const char *name, bool no_tx_poll) {
  if (file->private_data) return -EBUSY;
  if (ends[end].owner) return -EBUSY;
  set_up_end(end, name);
  ends[end].owner = file;
  ends[end].no_tx_poll = no_tx_poll;
  file->private_data = &ends[end];
  return 0;
}

static int register_older(struct file *file, struct nmreq *request) {
  u32 mode = request->nr_flags & NR_REG_MASK;
  u32 end = mode == NR_REG_PIPE_SLAVE || strchr(request->nr_name, '}') ? 1 : 0;
  int result = bind_end(file, end, request->nr_name, request->nr_ringid & NETMAP_NO_TX_POLL);
  if (result != 0) return result;
  request->nr_offset = IFS_AT + end * IF_BYTES;
  request->nr_memsize = REGION_BYTES;
  request->nr_tx_slots = request->nr_rx_slots = SLOTS;
  request->nr_tx_rings = request->nr_rx_rings = 1;
  request->nr_arg2 = 1;
  return 0;
}

static int older(struct file *file, unsigned int command, void __user *argument) {
  struct nmreq request;
  int result = 0;
  if (copy_from_user(&request, argument, sizeof request)) return -EFAULT;
  request.nr_name[sizeof request.nr_name - 1] = 0;
  if (request.nr_version != NETMAP_API || request.nr_cmd != 0) result = -EINVAL;
  else if (command == NIOCREGIF) result = register_older(file, &request);
  request.nr_version = NETMAP_API;
  request.nr_memsize = REGION_BYTES;
  if (copy_to_user(argument, &request, sizeof request)) return -EFAULT;
  return result;
}

static int control(struct file *file, void __user *argument) {
  struct nmreq_header header;
  struct nmreq_register body;
  u32 end;
  int result;
  if (copy_from_user(&header, argument, sizeof header)) return -EFAULT;
  header.nr_name[sizeof header.nr_name - 1] = 0;
  if (header.nr_version != NETMAP_API || header.nr_options || header.nr_reqtype != NETMAP_REQ_REGISTER) return -EINVAL;
  if (copy_from_user(&body, u64_to_user_ptr(header.nr_body), sizeof body)) return -EFAULT;
  end = strchr(header.nr_name, '}') ? 1 : 0;
  result = bind_end(file, end, header.nr_name, body.nr_flags & NR_NO_TX_POLL);
  if (result != 0) return result;
  body.nr_offset = IFS_AT + end * IF_BYTES;
  body.nr_memsize = REGION_BYTES;
  body.nr_tx_slots = body.nr_rx_slots = SLOTS;
  body.nr_tx_rings = body.nr_rx_rings = 1;
  body.nr_mem_id = 1;
  return copy_to_user(u64_to_user_ptr(header.nr_body), &body, sizeof body) ? -EFAULT : 0;
}

static long run_command(struct file *file, unsigned int command, void __user *argument) {
  struct end *end = file->private_data;
  switch (command) {
    case NIOCGINFO:
    case NIOCREGIF: return older(file, command, argument);
    case NIOCCTRL: return control(file, argument);
    case NIOCTXSYNC: return end ? txsync(end - ends) : -ENXIO;
    case NIOCRXSYNC: return end ? rxsync(end - ends) : -ENXIO;
    default: return -ENOTTY;
  }
}

static long netmap_ioctl(struct file *file, unsigned int command, unsigned long argument) {
  long result;
  mutex_lock(&lock);
  result = run_command(file, command, (void __user *)argument);
  mutex_unlock(&lock);
  return result;
}

static __poll_t poll_end(struct end *end, __poll_t events) {
  struct kring *tx = &end->rings[TX], *rx = &end->rings[RX];
  u32 number = end - ends;
  __poll_t ready = 0;
  if ((events & EPOLLOUT || !end->no_tx_poll) && txsync(number) != 0) return EPOLLERR;
  if (events & EPOLLIN && READ_ONCE(rx->ring->cur) == rx->ring->tail && rxsync(number) != 0) return EPOLLERR;
  if (READ_ONCE(tx->ring->cur) != tx->ring->tail) ready |= events & (EPOLLOUT | EPOLLWRNORM);
  if (READ_ONCE(rx->ring->cur) != rx->ring->tail) ready |= events & (EPOLLIN | EPOLLRDNORM);
  return ready;
}

static __poll_t netmap_poll(struct file *file, poll_table *table) {
  struct end *end = file->private_data;
  __poll_t ready;
  if (!end) return EPOLLERR;
  poll_wait(file, &end->waiters, table);
  mutex_lock(&lock);
  ready = poll_end(end, poll_requested_events(table));
  mutex_unlock(&lock);
  return ready;
}

static int netmap_mmap(struct file *file, struct vm_area_struct *area) {
  return file->private_data ? remap_vmalloc_range(area, region, area->vm_pgoff) : -EINVAL;
}

static int netmap_open(struct inode *inode, struct file *file) {
  /* misc_open leaves the device there. */
  file->private_data = NULL;
  return 0;
}

static int netmap_release(struct inode *inode, struct file *file) {
  struct end *end = file->private_data;
  mutex_lock(&lock);
  if (end) end->owner = NULL;
  mutex_unlock(&lock);
  return 0;
}

static const struct file_operations operations = {
    .owner = THIS_MODULE,
    .open = netmap_open,
    .release = netmap_release,
    .unlocked_ioctl = netmap_ioctl,
    .poll = netmap_poll,
    .mmap = netmap_mmap,
};

static struct miscdevice device = {.minor = MISC_DYNAMIC_MINOR, .name = "netmap", .fops = &operations, .mode = 0660};

static int __init netmap_init(void) {
  u32 end;
  region = vmalloc_user(REGION_BYTES);
  if (!region) return -ENOMEM;
  for (end = 0; end < ENDS; end++) {
    init_waitqueue_head(&ends[end].waiters);
    set_up_end(end, "");
  }
  return misc_register(&device);
}

static void __exit netmap_exit(void) {
  misc_deregister(&device);
  vfree(region);
}

module_init(netmap_init);
module_exit(netmap_exit);
