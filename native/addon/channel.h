// The host's end of one channel: a backend process, reached through shared memory that the other side may scribble on.
#pragma once

#include <atomic>
#include <cstdint>

#include "arena.h"
#include "protocol.h"

namespace postern {

class Domain;

class Channel {
 public:
  Channel(Domain& domain, uint32_t index, uint8_t* memory, uint64_t agentAddress, int event);

  uint32_t index() const { return index_; }
  int event() const { return event_; }
  uint32_t state() const { return load(shared_->state); }
  bool isLost() const { return confused_ || state() == POSTERN_CHANNEL_DEAD; }
  bool isConfused() const { return confused_; }

  // Host-side state as after a fresh start. The agent has cleared the shared side (state FREE).
  void start();
  void stop();

  // False when the ring has no room: as many operations are outstanding as it has entries.
  bool submit(const postern_op& op);
  bool hasCompletion() const { return load(shared_->complete_tail) != completeHead_; }
  // The next completion, copied out. False when there is none, or when the other side's index is absurd (isConfused).
  bool take(postern_completion& completion);
  // Tells the agent to ring from now on; false when a completion has arrived meanwhile: don't sleep then.
  bool prepareToSleep();
  // One that the agent sees late has it ring in vain.
  void wakeUp() { __atomic_store_n(&shared_->host_sleeping, 0, __ATOMIC_RELEASE); }
  // Resets the counter that woke us.
  void drainEvent();
  void operationEnded() { outstanding_--; }
  uint32_t outstanding() const { return outstanding_; }

  uint8_t* at(uint32_t arenaOffset) { return arena_ + arenaOffset; }
  uint64_t agentAddressOf(uint32_t arenaOffset) const { return agentArena_ + arenaOffset; }
  Arena& arena() { return allocator_; }

 private:
  static uint32_t load(const uint32_t& word) { return __atomic_load_n(&word, __ATOMIC_ACQUIRE); }
  static void store(uint32_t& word, uint32_t value) { __atomic_store_n(&word, value, __ATOMIC_SEQ_CST); }
  void wakeAgent();

  Domain& domain_;
  uint32_t index_;
  postern_channel* shared_;
  uint8_t* arena_;
  uint64_t agentArena_;
  int event_;
  // The indices that the host owns live here; the shared words are only told of them.
  uint32_t submitTail_ = 0, completeHead_ = 0, outstanding_ = 0;
  bool confused_ = false;
  Arena allocator_{POSTERN_ARENA_BYTES};
};

}  // namespace postern
