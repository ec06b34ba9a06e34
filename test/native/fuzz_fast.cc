// libFuzzer: a guest does anything to its fast ring's memory, between any two steps of the host. The host must go by its own record of the
// slots, give each out once at a time, and touch nothing beyond a payload.
#include <sys/mman.h>

#include <cstring>
#include <vector>

#include "fast_ring.h"
#include "fuzz_input.h"

using postern::Descriptor;
using postern::FastRing;

namespace {

// The ring with what it must know by itself.
class Checked {
 public:
  Checked(FastRing& ring, postern_fast_ring& shared) : ring_(ring), shared_(shared) {}

  void take() {
    const uint32_t posted = shared_.posted;
    const auto taken = ring_.take();
    demand(shared_.posted == 0, "all posts are taken at once");
    pending_ = (pending_ | posted) & ~busy_;
    demand(taken.has_value() == (pending_ != 0), "there is an operation exactly while one is posted in a slot that is free");
    if (!taken) return;
    demand(taken->slot < POSTERN_FAST_SLOTS, "a slot is one of the ring's");
    demand((pending_ >> taken->slot & 1) != 0, "what is taken was posted, and is not being worked on");
    demand(std::memcmp(&taken->call, &shared_.slots[taken->slot].call, sizeof taken->call) == 0, "the operation is the one of its slot");
    pending_ &= ~(1u << taken->slot);
    busy_ |= 1u << taken->slot;
  }

  void copy(uint32_t bytes) {
    if (busy_ == 0) return;
    std::vector<uint8_t> room(POSTERN_FAST_PAYLOAD_BYTES);
    ring_.copyPayload(first(), room.data(), bytes);
    demand(std::memcmp(room.data(), shared_.slots[first()].payload, std::min<size_t>(bytes, room.size())) == 0, "a payload is copied");
  }

  void answer(uint32_t bytes, uint32_t error) {
    if (busy_ == 0) return;
    const uint32_t slot = first();
    const postern_fast_slot before = shared_.slots[(slot + 1) % POSTERN_FAST_SLOTS];
    std::vector<uint8_t> reply(bytes % (2 * POSTERN_FAST_PAYLOAD_BYTES), 0x5a);
    ring_.putReply(slot, reply.data(), static_cast<uint32_t>(reply.size()));
    ring_.answer(slot, 7, static_cast<int>(error % 200));
    busy_ &= ~(1u << slot);
    demand(shared_.slots[slot].reply_bytes == std::min<size_t>(reply.size(), POSTERN_FAST_PAYLOAD_BYTES), "a reply is no longer than a payload");
    demand(shared_.slots[slot].answer == POSTERN_FAST_ANSWERED, "an operation is answered");
    demand(std::memcmp(&before, &shared_.slots[(slot + 1) % POSTERN_FAST_SLOTS], sizeof before) == 0, "a reply stays in its slot");
    demand(ring_.busy() == static_cast<uint32_t>(__builtin_popcount(busy_)), "the host keeps count of what it works on");
  }

  void sleep() {
    const bool hasPosts = shared_.posted != 0 || pending_ != 0;
    demand(ring_.sleep() == !hasPosts, "the host sleeps over no post");
    demand(shared_.host_asleep == (hasPosts ? 0 : 1), "the guest is told whether somebody looks");
    ring_.wakeUp();
  }

 private:
  uint32_t first() const { return static_cast<uint32_t>(__builtin_ctz(busy_)); }

  FastRing& ring_;
  postern_fast_ring& shared_;
  uint32_t busy_ = 0, pending_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t count) {
  FastRing ring(1, Descriptor());
  void* memory = mmap(nullptr, POSTERN_FAST_RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, ring.memory(), 0);
  demand(memory != MAP_FAILED, "the guest can map the ring");
  demand(ftruncate(ring.memory(), 0) != 0, "nobody shrinks the ring");
  auto& shared = *static_cast<postern_fast_ring*>(memory);
  Checked checked(ring, shared);
  for (Input input(bytes, count); !input.isEmpty();) {
    switch (input.byte() % 6) {
      case 0: {
        const uint32_t at = input.word() % (POSTERN_FAST_RING_BYTES / 4), value = input.word();
        std::memcpy(static_cast<uint8_t*>(memory) + 4 * size_t(at), &value, sizeof value);
        break;
      }
      case 1: shared.posted |= input.word(); break;
      case 2: checked.take(); break;
      case 3: checked.copy(input.word()); break;
      case 4: checked.answer(input.word(), input.byte()); break;
      case 5: checked.sleep(); break;
    }
  }
  munmap(memory, POSTERN_FAST_RING_BYTES);
  return 0;
}
