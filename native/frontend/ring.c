#include "ring.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <x86intrin.h>

#include "state.h"

/* An answer that comes at all comes within a few microseconds; looking longer only keeps the processor from whoever shall give it. */
#define SPIN_PAUSES 16
#define SPIN_YIELDS 128
/* An operation that must be a system call once will be again; but files change. */
#define HINT_CALLS 256

struct state *state;

void ring_note_trapped(const struct operation *operation, uint64_t began) {
  if (operation->preferred_call) pace_note_trapped(&state->pace, began);
}

/* The hypervisor is told the way, and where this thread runs: whoever looks for its posts had better look from another processor. */
static bool tell_way(struct postern_fast_ring *ring, struct operation *operation) {
  bool posts = operation->batched || pace_posts(&state->pace);
  operation->preferred_call = !posts;
  uint32_t prefers_calls = !posts, processor = (uint32_t)sched_getcpu();
  if (__atomic_load_n(&ring->prefers_calls, __ATOMIC_RELAXED) != prefers_calls)
    __atomic_store_n(&ring->prefers_calls, prefers_calls, __ATOMIC_RELAXED);
  if (__atomic_load_n(&ring->processor, __ATOMIC_RELAXED) != processor)
    __atomic_store_n(&ring->processor, processor, __ATOMIC_RELAXED);
  return posts;
}

void ring_prepare(void) {
  void *memory = mmap(NULL, sizeof(struct state), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return;
  if (madvise(memory, sizeof(struct state), MADV_WIPEONFORK) == 0) state = memory;
}

/* A child has no use for its parent's ring, and no right to it. */
static struct postern_fast_ring *map_ring(void) {
  int memory = (int)syscall(SYS_openat, POSTERN_FAST_DIRFD, "", O_RDWR);
  if (memory < 0) return NULL;
  void *ring = mmap(NULL, POSTERN_FAST_RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
  syscall(SYS_close, memory);
  if (ring == MAP_FAILED) return NULL;
  bool fits = madvise(ring, POSTERN_FAST_RING_BYTES, MADV_DONTFORK) == 0 &&
              ((struct postern_fast_ring *)ring)->version == POSTERN_FAST_VERSION;
  return fits ? ring : NULL;
}

static struct postern_fast_ring *own_ring(void) {
  int registration = atomic_load_explicit(&state->registration, memory_order_acquire);
  if (registration == REGISTRATION_DONE) return state->ring;
  if (registration != REGISTRATION_NONE) return NULL;
  if (!atomic_compare_exchange_strong(&state->registration, &registration, REGISTRATION_UNDER_WAY)) return NULL;
  int saved = errno;
  state->ring = map_ring();
  errno = saved;
  atomic_store(&state->registration, state->ring ? REGISTRATION_DONE : REGISTRATION_REFUSED);
  return state->ring;
}

static int claim(void) {
  uint32_t claimed = atomic_load_explicit(&state->claimed, memory_order_relaxed);
  while (claimed != UINT32_MAX) {
    int slot = __builtin_ctz(~claimed);
    if (atomic_compare_exchange_weak(&state->claimed, &claimed, claimed | 1u << slot)) return slot;
  }
  return -1;
}

static void let_go(int slot) { atomic_fetch_and(&state->claimed, ~(1u << slot)); }

/* What tells operations of one kind: ioctls by their command, reads and writes by their descriptor. */
static uint32_t kind_of(const struct postern_fast_call *call) {
  uint32_t subject = call->kind == POSTERN_FAST_IOCTL ? call->command : (uint32_t)call->descriptor;
  return subject * 2654435761u ^ call->kind;
}

static _Atomic uint64_t *hint_of(uint32_t kind) { return &state->hints[kind % HINTS]; }

static bool is_hopeless(uint32_t kind) {
  _Atomic uint64_t *hint = hint_of(kind);
  uint64_t known = atomic_load_explicit(hint, memory_order_relaxed);
  if ((uint32_t)(known >> 32) != kind || (uint32_t)known == 0) return false;
  atomic_store_explicit(hint, known - 1, memory_order_relaxed);
  return true;
}

bool ring_post(struct operation *operation) {
  if (!state) return false;
  struct postern_fast_ring *ring = own_ring();
  if (!ring || operation->call.bytes > POSTERN_FAST_PAYLOAD_BYTES || is_hopeless(kind_of(&operation->call))) return false;
  if (!tell_way(ring, operation) || __atomic_load_n(&ring->host_asleep, __ATOMIC_RELAXED) != 0) return false;
  if (!pages_readable(&state->pages, operation->in, operation->call.bytes)) return false;
  operation->slot = claim();
  if (operation->slot < 0) return false;
  operation->began = __rdtsc();
  struct postern_fast_slot *slot = &ring->slots[operation->slot];
  slot->call = operation->call;
  if (operation->call.bytes > 0) memcpy(slot->payload, operation->in, operation->call.bytes);
  slot->answer = 0;
  slot->sleeping = 0;
  uint32_t bit = 1u << operation->slot;
  __atomic_fetch_or(&ring->posted, bit, __ATOMIC_SEQ_CST);
  if (__atomic_load_n(&ring->host_asleep, __ATOMIC_SEQ_CST) == 0) return true;
  /* Nobody looks: the post is taken back, unless it has been seen all the same. */
  if ((__atomic_fetch_and(&ring->posted, ~bit, __ATOMIC_SEQ_CST) & bit) == 0) return true;
  let_go(operation->slot);
  return false;
}

static uint32_t wait_for(struct postern_fast_slot *slot) {
  for (int yields = 0; yields < SPIN_YIELDS; yields++) {
    for (int pauses = 0; pauses < SPIN_PAUSES; pauses++) {
      uint32_t answer = __atomic_load_n(&slot->answer, __ATOMIC_ACQUIRE);
      if (answer != 0) return answer;
      __builtin_ia32_pause();
    }
    sched_yield();
  }
  int saved = errno;
  for (;;) {
    __atomic_store_n(&slot->sleeping, 1, __ATOMIC_SEQ_CST);
    uint32_t answer = __atomic_load_n(&slot->answer, __ATOMIC_SEQ_CST);
    if (answer != 0) {
      errno = saved;
      return answer;
    }
    syscall(SYS_futex, &slot->answer, FUTEX_WAIT, 0, NULL, NULL, 0);
  }
}

bool ring_await(struct operation *operation) {
  struct postern_fast_slot *slot = &state->ring->slots[operation->slot];
  uint32_t answer = wait_for(slot);
  operation->value = slot->value;
  operation->error = (int)slot->error;
  uint32_t bytes = slot->reply_bytes;
  if (answer == POSTERN_FAST_ANSWERED && bytes > 0 && bytes <= POSTERN_FAST_PAYLOAD_BYTES) {
    /* As in the kernel, where the reply has no room: the driver has run, and the call fails. */
    if (pages_writable(&state->pages, operation->out, bytes)) {
      memcpy(operation->out, slot->payload, bytes);
    } else {
      operation->value = -1;
      operation->error = EFAULT;
    }
  }
  let_go(operation->slot);
  if (answer == POSTERN_FAST_ANSWERED) {
    if (!operation->batched) pace_note_posted(&state->pace, operation->began);
    return true;
  }
  uint32_t kind = kind_of(&operation->call);
  atomic_store_explicit(hint_of(kind), (uint64_t)kind << 32 | HINT_CALLS, memory_order_relaxed);
  return false;
}
