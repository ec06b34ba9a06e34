// The hypervisor's end of one process's fast frontend (native/protocol/fast.h): memory that the guest may scribble on at any time.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <optional>

#include "descriptors.h"
#include "fast.h"
#include "window.h"

namespace postern {

struct Session;

class FastRing {
 public:
  // What is remembered of one number of the window, as of a generation of the descriptor cache.
  struct Known {
    uint64_t generation = 0;  // 0: nothing
    Session* session = nullptr;
    int flags = 0;
  };
  struct Posted {
    uint32_t slot;
    postern_fast_call call;
  };

  // Makes the memory. Throws std::runtime_error where there is none.
  FastRing(pid_t process, Descriptor pidfd);
  ~FastRing();
  FastRing(const FastRing&) = delete;
  FastRing& operator=(const FastRing&) = delete;

  pid_t process() const { return process_; }
  int memory() const { return memory_.get(); }

  // A copy of the process's descriptor; invalid when it has none of that number, or has ended.
  Descriptor borrow(int number) const;
  // Null outside the window.
  Known* known(int number);

  bool hasPosts() const { return pending_ != 0 || __atomic_load_n(&ring_->posted, __ATOMIC_ACQUIRE) != 0; }
  // The next operation, copied out of the ring. What is posted in a slot that is being worked on is dropped.
  std::optional<Posted> take();
  // The posted bytes of the slot, copied once: at most the payload's size.
  void copyPayload(uint32_t slot, uint8_t* to, uint32_t bytes) const;
  // Ends the operation of the slot. `reply`: bytes for the guest, at most the payload's size.
  void putReply(uint32_t slot, const uint8_t* reply, uint32_t bytes);
  void answer(uint32_t slot, int64_t value, int error, postern_fast_answer how = POSTERN_FAST_ANSWERED);

  // Tells the guest to make system calls from now on; false when something has been posted meanwhile: look again then.
  bool sleep();
  void wakeUp();
  bool isAwake() const { return isAwake_; }
  // Whether the guest's next operation may come by this ring: it is awake, and the guest does not say otherwise.
  bool isExpected() const { return isAwake_ && !prefersCalls(); }
  bool prefersCalls() const { return __atomic_load_n(&ring_->prefers_calls, __ATOMIC_RELAXED) != 0; }
  // Where the guest ran when it posted last, by its own word.
  uint32_t processor() const { return __atomic_load_n(&ring_->processor, __ATOMIC_RELAXED); }
  uint32_t busy() const { return static_cast<uint32_t>(__builtin_popcount(busy_)); }

  // From now on the guest makes system calls; what it has posted is sent back.
  void end();
  bool hasEnded() const { return hasEnded_; }

 private:
  postern_fast_slot& at(uint32_t slot) const { return ring_->slots[slot % POSTERN_FAST_SLOTS]; }

  pid_t process_;
  Descriptor pidfd_, memory_;
  postern_fast_ring* ring_ = nullptr;
  // The host's own record, never read back from the ring.
  uint32_t busy_ = 0, pending_ = 0;
  std::array<uint32_t, POSTERN_FAST_SLOTS> replyBytes_{};
  bool isAwake_ = false, hasEnded_ = false;
  std::array<Known, POSTERN_WINDOW_LAST - POSTERN_WINDOW_FIRST + 1> known_{};
};

}  // namespace postern
