#include "fast_ring.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

namespace postern {

FastRing::FastRing(pid_t process, Descriptor pidfd)
    : process_(process), pidfd_(std::move(pidfd)), memory_(memfd_create("postern-fast", MFD_CLOEXEC | MFD_ALLOW_SEALING)) {
  // A guest that could shrink the file would have the host die of it.
  const bool isMade = memory_.valid() && ftruncate(memory_.get(), POSTERN_FAST_RING_BYTES) == 0 &&
                      fcntl(memory_.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0;
  void* memory = isMade ? mmap(nullptr, POSTERN_FAST_RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, memory_.get(), 0) : MAP_FAILED;
  if (memory == MAP_FAILED) throw std::runtime_error("no memory for a fast frontend");
  ring_ = static_cast<postern_fast_ring*>(memory);
  ring_->version = POSTERN_FAST_VERSION;
  ring_->host_asleep = 1;
}

FastRing::~FastRing() { munmap(ring_, POSTERN_FAST_RING_BYTES); }

Descriptor FastRing::borrow(int number) const { return Descriptor(static_cast<int>(syscall(SYS_pidfd_getfd, pidfd_.get(), number, 0))); }

FastRing::Known* FastRing::known(int number) {
  if (number < int(POSTERN_WINDOW_FIRST) || number > int(POSTERN_WINDOW_LAST)) return nullptr;
  return &known_[static_cast<size_t>(number) - POSTERN_WINDOW_FIRST];
}

std::optional<FastRing::Posted> FastRing::take() {
  if (__atomic_load_n(&ring_->posted, __ATOMIC_ACQUIRE) != 0) pending_ |= __atomic_exchange_n(&ring_->posted, 0, __ATOMIC_ACQ_REL);
  pending_ &= ~busy_;
  if (pending_ == 0) return std::nullopt;
  Posted posted;
  posted.slot = static_cast<uint32_t>(__builtin_ctz(pending_));
  pending_ &= pending_ - 1;
  busy_ |= 1u << posted.slot;
  replyBytes_[posted.slot] = 0;
  std::memcpy(&posted.call, &at(posted.slot).call, sizeof posted.call);
  return posted;
}

void FastRing::copyPayload(uint32_t slot, uint8_t* to, uint32_t bytes) const {
  std::memcpy(to, at(slot).payload, std::min(bytes, POSTERN_FAST_PAYLOAD_BYTES));
}

void FastRing::putReply(uint32_t slot, const uint8_t* reply, uint32_t bytes) {
  replyBytes_[slot] = std::min(bytes, POSTERN_FAST_PAYLOAD_BYTES);
  if (replyBytes_[slot] > 0) std::memcpy(at(slot).payload, reply, replyBytes_[slot]);
}

void FastRing::answer(uint32_t slot, int64_t value, int error, postern_fast_answer how) {
  postern_fast_slot& to = at(slot);
  busy_ &= ~(1u << slot);
  to.error = static_cast<uint32_t>(error);
  to.value = error != 0 ? -1 : value;
  to.reply_bytes = replyBytes_[slot];
  __atomic_store_n(&to.answer, static_cast<uint32_t>(how), __ATOMIC_SEQ_CST);
  if (__atomic_load_n(&to.sleeping, __ATOMIC_SEQ_CST) != 0) (void)syscall(SYS_futex, &to.answer, FUTEX_WAKE, 1, nullptr, nullptr, 0);
}

bool FastRing::sleep() {
  __atomic_store_n(&ring_->host_asleep, 1, __ATOMIC_SEQ_CST);
  isAwake_ = false;
  if (__atomic_load_n(&ring_->posted, __ATOMIC_SEQ_CST) == 0 && pending_ == 0) return true;
  wakeUp();
  return false;
}

void FastRing::end() {
  hasEnded_ = true;
  isAwake_ = false;
  // Whoever posts after this sees it, and takes the post back. Once a slot is enough: a guest that goes on posting must not keep the host here.
  __atomic_store_n(&ring_->host_asleep, 1, __ATOMIC_SEQ_CST);
  for (uint32_t i = 0; i < POSTERN_FAST_SLOTS; i++)
    if (auto posted = take()) answer(posted->slot, 0, 0, POSTERN_FAST_SYSCALL);
}

void FastRing::wakeUp() {
  isAwake_ = true;
  __atomic_store_n(&ring_->host_asleep, 0, __ATOMIC_SEQ_CST);
}

}  // namespace postern
