#include "vm_ring.h"

#include <algorithm>
#include <cstring>

#include "protocol.h"

namespace postern {
namespace {

uint32_t load(const uint32_t& word) { return __atomic_load_n(&word, __ATOMIC_ACQUIRE); }
void store(uint32_t& word, uint32_t value) { __atomic_store_n(&word, value, __ATOMIC_SEQ_CST); }

}  // namespace

bool VmRing::attach() {
  if (ring_ != nullptr) return true;
  if (load(control_->ring_ready) != 1) {
    // The guest may have written there; a frontend that comes waits for this word.
    if (load(control_->ring_taken) != 0) store(control_->ring_taken, 0);
    return isRefused_ = false;
  }
  // Said before it is looked at once more: a frontend that withdraws the ring just now waits, or is seen to.
  store(control_->ring_taken, 1);
  if (__atomic_load_n(&control_->ring_ready, __ATOMIC_SEQ_CST) == 1 && map(*control_)) return true;
  store(control_->ring_taken, 0);
  return false;
}

bool VmRing::map(const postern_vm_control& control) {
  isRefused_ = true;
  // Each word is read once; the guest may change them at any time.
  const uint64_t address = __atomic_load_n(&control.ring_address, __ATOMIC_RELAXED);
  const uint32_t bytes = load(control.ring_bytes), levels = load(control.page_levels);
  if (bytes < sizeof(postern_vm_ring) || address % POSTERN_PAGE_BYTES != 0 || (levels != 4 && levels != 5)) return false;
  uint8_t* at = ram_.at(address, sizeof(postern_vm_ring));
  if (at == nullptr) return false;
  ring_ = reinterpret_cast<postern_vm_ring*>(at);
  levels_ = levels;
  isRefused_ = false;
  return true;
}

bool VmRing::isWithdrawn() const { return ring_ != nullptr && load(control_->ring_ready) != 1; }

void VmRing::detach() {
  ring_ = nullptr;
  std::fill(std::begin(inHand_), std::end(inHand_), false);
  store(control_->ring_taken, 0);
}

std::optional<VmRing::Request> VmRing::take() {
  if (ring_ == nullptr) return std::nullopt;
  for (uint32_t looked = 0; looked < POSTERN_VM_SLOTS; looked++) {
    const uint32_t slot = next_;
    next_ = (next_ + 1) % POSTERN_VM_SLOTS;
    if (inHand_[slot] || load(ring_->slot[slot].state) != POSTERN_VM_SLOT_POSTED) continue;
    Request taken;
    taken.slot = slot;
    std::memcpy(&taken.request, &ring_->slot[slot].request, sizeof taken.request);
    taken.request.resolved = std::min(taken.request.resolved, POSTERN_VM_DESCRIPTORS_MAX);
    std::memcpy(taken.resolved, ring_->slot[slot].range, sizeof taken.resolved);
    inHand_[slot] = true;
    return taken;
  }
  return std::nullopt;
}

bool VmRing::answer(uint32_t slot, int64_t value, int error, const std::vector<postern_vm_range>& made) {
  if (ring_ == nullptr || slot >= POSTERN_VM_SLOTS || !inHand_[slot]) return false;
  inHand_[slot] = false;
  postern_vm_slot& shared = ring_->slot[slot];
  shared.answer.value = value;
  shared.answer.error = error;
  const size_t files = std::min<size_t>(made.size(), POSTERN_VM_DESCRIPTORS_MAX);
  for (size_t i = 0; i < files; i++) shared.range[i] = made[i];
  shared.answer.ranges = static_cast<uint32_t>(files);
  store(shared.state, POSTERN_VM_SLOT_ANSWERED);
  return true;
}

bool VmRing::ask(uint32_t slot, const std::vector<VmNeed>& needs) {
  if (ring_ == nullptr || slot >= POSTERN_VM_SLOTS || !inHand_[slot] || needs.empty()) return false;
  inHand_[slot] = false;
  postern_vm_slot& shared = ring_->slot[slot];
  const uint32_t ranges = static_cast<uint32_t>(std::min<size_t>(needs.size(), POSTERN_VM_RANGES_MAX));
  for (uint32_t i = 0; i < ranges; i++) shared.range[i] = {needs[i].address, needs[i].bytes, needs[i].kind};
  shared.answer.value = 0;
  shared.answer.error = 0;
  shared.answer.ranges = ranges;
  store(shared.state, POSTERN_VM_SLOT_NEEDS);
  return true;
}

// Stored before and read after `state` is: whoever sleeps has looked at that once more.
bool VmRing::callerSleeps(uint32_t slot) const {
  return ring_ != nullptr && slot < POSTERN_VM_SLOTS && __atomic_load_n(&ring_->slot[slot].caller_sleeps, __ATOMIC_SEQ_CST) != 0;
}

bool VmRing::present(uint32_t file, uint32_t ready) {
  if (ring_ == nullptr || file >= POSTERN_VM_FILES_MAX || load(ring_->ready[file]) == ready) return false;
  store(ring_->ready[file], ready);
  return true;
}

bool VmRing::hasRequest() const {
  if (ring_ == nullptr) return false;
  for (uint32_t slot = 0; slot < POSTERN_VM_SLOTS; slot++)
    if (!inHand_[slot] && load(ring_->slot[slot].state) == POSTERN_VM_SLOT_POSTED) return true;
  return false;
}

bool VmRing::prepareToSleep() {
  if (ring_ == nullptr) return true;
  store(ring_->host_sleeps, 1);
  return !hasRequest();
}

void VmRing::wakeUp() {
  if (ring_ == nullptr) return;
  store(ring_->host_sleeps, 0);
  store(ring_->told, load(ring_->asked));
}

}  // namespace postern
