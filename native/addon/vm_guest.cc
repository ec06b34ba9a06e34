#include "vm_guest.h"

#include <asm/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <stdexcept>

#include "process_view.h"
#include "protocol.h"

namespace postern {
namespace {

postern_vm_control* mapControl(int aperture) {
  void* mapped = mmap(nullptr, POSTERN_VM_CONTROL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, aperture, 0);
  if (mapped == MAP_FAILED) throw std::runtime_error("the guest's aperture can't be mapped");
  return static_cast<postern_vm_control*>(mapped);
}

// What the frontend holds before it posts an operation (vm_frontend.h).
void holdUsual(VmAddressSpace& space, const postern_vm_request& request) {
  if (request.kind == POSTERN_VM_IOCTL && _IOC_DIR(request.command) != _IOC_NONE)
    space.hold(request.argument, _IOC_SIZE(request.command), (_IOC_DIR(request.command) & _IOC_READ) != 0);
  if (request.kind == POSTERN_VM_READ) space.hold(request.argument, std::min<uint64_t>(request.length, POSTERN_VM_BUFFER_BYTES_MAX), true);
}

}  // namespace

VmGuest::VmGuest(const VmGuestOptions& options)
    : options_(options),
      ram_(options.ram, options.ramBytes),
      control_(mapControl(options.aperture)),
      ring_(control_, ram_),
      mapper_(options.process) {
  __atomic_store_n(&control_->host_state, uint32_t(POSTERN_VM_HOST_SERVING), __ATOMIC_SEQ_CST);
}

VmGuest::~VmGuest() {
  __atomic_store_n(&control_->host_state, uint32_t(POSTERN_VM_HOST_GONE), __ATOMIC_SEQ_CST);
  interrupt();
  munmap(control_, POSTERN_VM_CONTROL_BYTES);
}

void VmGuest::openSpace(Slot& slot, const VmRing::Request& taken) {
  const postern_vm_request& request = taken.request;
  const bool isAgain = slot.rounds > 0 && slot.sequence == request.sequence && request.round > 0;
  if (!isAgain) {
    slot.rounds = 0;
    slot.asked.clear();
    slot.files.clear();
  }
  slot.made.clear();
  for (uint32_t i = 0; i < request.resolved; i++)
    if (taken.resolved[i].kind == POSTERN_VM_DESCRIPTOR) slot.files[static_cast<int>(taken.resolved[i].address)] = taken.resolved[i].bytes;
  slot.sequence = request.sequence;
  slot.space.reset(&ram_, request.page_table, ring_.pageLevels());
  holdUsual(slot.space, request);
  for (const VmNeed& range : slot.asked)
    if (range.kind != POSTERN_VM_DESCRIPTOR) slot.space.hold(range.address, range.bytes, range.kind == POSTERN_VM_WRITES);
  for (auto& [descriptor, file] : slot.files) slot.space.resolve(descriptor, file);
}

std::optional<VmGuest::Request> VmGuest::receive() {
  if (!ring_.attach()) return std::nullopt;
  auto taken = ring_.take();
  if (!taken) return std::nullopt;
  Slot& slot = slots_[taken->slot];
  slot.id = ++nextId_ * POSTERN_VM_SLOTS + taken->slot;
  slot.isInHand = true;
  openSpace(slot, *taken);
  return Request{slot.id, taken->request};
}

bool VmGuest::isInHand(uint64_t id) const {
  const Slot& slot = slots_[slotOf(id)];
  return slot.isInHand && slot.id == id;
}

bool VmGuest::answer(uint64_t id, int64_t value, int error) {
  if (!isInHand(id)) return false;
  const uint32_t number = slotOf(id);
  Slot& slot = slots_[number];
  slot.isInHand = false;
  const std::vector<VmNeed>& needs = slot.space.needs();
  const bool wantsPages = error == VmAddressSpace::kPagesNeeded && !needs.empty();
  // What it has been asked for is remembered: one that never has it must not make this grow.
  const bool isEndless = wantsPages && slot.rounds == POSTERN_VM_ROUNDS_MAX;
  hasEndlessRounds_ |= isEndless;
  if (wantsPages && !isEndless) {
    slot.rounds++;
    const size_t asked = std::min<size_t>(needs.size(), POSTERN_VM_RANGES_MAX);
    slot.asked.insert(slot.asked.end(), needs.begin(), needs.begin() + static_cast<ptrdiff_t>(asked));
    (void)ring_.ask(number, needs);
  } else {
    slot.rounds = 0;
    (void)ring_.answer(number, value, error == VmAddressSpace::kPagesNeeded ? EFAULT : error, slot.made);
  }
  if (ring_.callerSleeps(number)) interrupt();
  return true;
}

void VmGuest::letGo() {
  for (Slot& slot : slots_) {
    slot.isInHand = false;
    slot.rounds = 0;
  }
  ring_.detach();
}

void VmGuest::give(uint64_t id, uint64_t address, uint32_t file, bool closeOnExec) {
  slots_[slotOf(id)].made.push_back({address, file, closeOnExec ? POSTERN_VM_INSTALL_CLOEXEC : POSTERN_VM_INSTALL});
}

void VmGuest::present(uint32_t file, uint32_t ready) {
  if (ring_.present(file, ready)) interrupt();
}

void VmGuest::interrupt() {
  const uint64_t one = 1;
  (void)!write(options_.interrupt, &one, sizeof one);
}

void VmGuest::drainDoorbell() {
  uint64_t count;
  (void)!read(options_.doorbell, &count, sizeof count);
}

bool VmGuest::prepareToSleep() {
  (void)ring_.attach();
  return ring_.prepareToSleep();
}

// Where QEMU has mapped the aperture's memory file.
bool VmGuest::findAperture() {
  if (apertureAddress_ != 0) return true;
  struct stat st;
  if (fstat(options_.aperture, &st) != 0) return false;
  for (const MappedRange& range : mappingsOfFile(options_.process, st.st_dev, st.st_ino))
    if (range.offset == 0) apertureAddress_ = range.address;
  return apertureAddress_ != 0;
}

// The least free range behind the control page; a page stays free after each, so that running over the end of one meets no other.
std::optional<uint64_t> VmGuest::freeRange(uint64_t bytes) const {
  uint64_t offset = POSTERN_VM_CONTROL_BYTES;
  for (const auto& [at, size] : shown_) {
    if (at - offset >= bytes + POSTERN_PAGE_BYTES) break;
    offset = at + size + POSTERN_PAGE_BYTES;
  }
  if (offset >= options_.apertureBytes || bytes > options_.apertureBytes - offset) return std::nullopt;
  return offset;
}

int64_t VmGuest::show(const std::vector<RemoteRun>& runs, bool isWritable) {
  uint64_t bytes = 0;
  for (const RemoteRun& run : runs) bytes += run.bytes;
  const auto offset = freeRange(bytes);
  if (!offset) return -ENOSPC;
  if (!findAperture()) return -ESRCH;
  std::vector<RemoteRun> placed = runs;
  uint64_t address = apertureAddress_ + *offset;
  for (RemoteRun& run : placed) {
    run.address = address;
    address += run.bytes;
  }
  shown_[*offset] = bytes;
  const int error = mapper_.replace(placed, isWritable ? PROT_READ | PROT_WRITE : PROT_READ, isWritable ? options_.memory : options_.memoryReadOnly);
  if (error == 0) return static_cast<int64_t>(*offset);
  return hide(*offset) ? -error : -EADDRINUSE;
}

bool VmGuest::hide(uint64_t offset) {
  auto shown = shown_.find(offset);
  if (shown == shown_.end()) return false;
  const int error = mapper_.replace({{apertureAddress_ + offset, shown->second, 0}}, PROT_READ | PROT_WRITE, -1);
  if (error != 0) return false;
  shown_.erase(shown);
  blank_.erase(offset);
  return true;
}

void VmGuest::blankAll() {
  // What can't be taken away is of a memory that is nobody's any more.
  for (const auto& [offset, bytes] : shown_) {
    if (!blank_.insert(offset).second) continue;
    (void)mapper_.replace({{apertureAddress_ + offset, bytes, 0}}, PROT_READ | PROT_WRITE, -1);
  }
}

void VmGuest::hideBlank() {
  const std::set<uint64_t> places = blank_;
  for (uint64_t offset : places) (void)hide(offset);
}

int VmGuest::takeMemory() { return mapper_.takeFiles(options_.gifts, {options_.memory, options_.memoryReadOnly}); }

bool VmGuest::hideAll() {
  while (!shown_.empty())
    if (!hide(shown_.begin()->first)) return false;
  return true;
}

}  // namespace postern
