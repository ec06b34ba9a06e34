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
  if (load(control_->ring_ready) != 1) return false;
  // Each word is read once; the guest may change them at any time.
  const uint64_t address = __atomic_load_n(&control_->ring_address, __ATOMIC_RELAXED);
  const uint32_t bytes = load(control_->ring_bytes), levels = load(control_->page_levels);
  if (bytes < sizeof(postern_vm_ring) || address % POSTERN_PAGE_BYTES != 0 || (levels != 4 && levels != 5)) return false;
  uint8_t* at = ram_.at(address, sizeof(postern_vm_ring));
  if (at == nullptr) return false;
  ring_ = reinterpret_cast<postern_vm_ring*>(at);
  levels_ = levels;
  return true;
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

bool VmRing::present(uint32_t file, uint32_t ready) {
  if (ring_ == nullptr || file >= POSTERN_VM_FILES_MAX || load(ring_->ready[file]) == ready) return false;
  store(ring_->ready[file], ready);
  return true;
}

bool VmRing::hasRequest() const {
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
  if (ring_ != nullptr) store(ring_->host_sleeps, 0);
}

}  // namespace postern
