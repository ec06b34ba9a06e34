#include "channel.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>

#include "domain.h"

namespace postern {

Channel::Channel(Domain& domain, uint32_t index, uint8_t* memory, uint64_t agentAddress, int event)
    : domain_(domain),
      index_(index),
      shared_(reinterpret_cast<postern_channel*>(memory)),
      arena_(memory + POSTERN_CHANNEL_HEAD_BYTES),
      agentArena_(agentAddress + POSTERN_CHANNEL_HEAD_BYTES),
      event_(event) {}

void Channel::start() {
  submitTail_ = load(shared_->submit_tail);
  completeHead_ = load(shared_->complete_head);
  outstanding_ = 0;
  confused_ = false;
  allocator_ = Arena(POSTERN_ARENA_BYTES);
  store(shared_->state, POSTERN_CHANNEL_START);
  domain_.ring(index_);
}

void Channel::stop() {
  store(shared_->state, POSTERN_CHANNEL_STOP);
  domain_.ring(index_);
}

void Channel::wakeAgent() {
  // Looked at before it is taken: the line is the agent's, which it would have to fetch back.
  if (__atomic_load_n(&shared_->agent_sleeping, __ATOMIC_SEQ_CST) == 0) return;
  if (__atomic_exchange_n(&shared_->agent_sleeping, 0, __ATOMIC_SEQ_CST) != 1) return;
  if (domain_.isLocal())
    (void)syscall(SYS_futex, &shared_->submit_tail, FUTEX_WAKE, 1, nullptr, nullptr, 0);
  else
    domain_.ring(index_);
}

bool Channel::submit(const postern_op& op) {
  if (outstanding_ >= POSTERN_RING_ENTRIES) return false;
  std::memcpy(&shared_->submissions[submitTail_ % POSTERN_RING_ENTRIES], &op, sizeof op);
  store(shared_->submit_tail, ++submitTail_);
  outstanding_++;
  wakeAgent();
  return true;
}

bool Channel::take(postern_completion& completion) {
  const uint32_t tail = load(shared_->complete_tail);
  if (tail == completeHead_ || confused_) return false;
  if (tail - completeHead_ > POSTERN_RING_ENTRIES) {
    confused_ = true;
    return false;
  }
  std::memcpy(&completion, &shared_->completions[completeHead_ % POSTERN_RING_ENTRIES], sizeof completion);
  // Nobody sleeps until this: the agent looks at it when its ring is full.
  __atomic_store_n(&shared_->complete_head, ++completeHead_, __ATOMIC_RELEASE);
  return true;
}

bool Channel::prepareToSleep() {
  store(shared_->host_sleeping, 1);
  if (load(shared_->complete_tail) == completeHead_ || confused_) return true;
  wakeUp();
  return false;
}

void Channel::drainEvent() {
  uint64_t count;
  (void)!read(event_, &count, sizeof count);
}

}  // namespace postern
