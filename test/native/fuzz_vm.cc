// libFuzzer: a guest VM does anything to its control page, its ring and its page tables, between any two steps of the host. A request is
// copied out once and answered once; what a program's address leads to is what a second walk of the same tables finds, in RAM only.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "fuzz_input.h"
#include "vm_memory.h"
#include "vm_ring.h"

using namespace postern;

namespace {

constexpr uint64_t kPageBytes = 4096, kPages = 32, kRamBytes = kPages * kPageBytes;
// Ranges of a program that are read and written: more than a page, so that they go over several.
constexpr uint64_t kRangeBytesMax = 3 * kPageBytes;
constexpr uint64_t kEntryBytes = 8, kLargePageBit = 1 << 7;

// A machine of a few pages with guards beside them: what the host touches beyond its RAM is seen.
struct Machine {
  std::vector<uint8_t> bytes = std::vector<uint8_t>(kRamBytes + 2 * kPageBytes);
  uint8_t* base = bytes.data() + (kPageBytes - reinterpret_cast<uintptr_t>(bytes.data()) % kPageBytes);
  VmRam ram{base, kRamBytes};
};

// What the tables say of one byte's address; -1: nothing that a program may use so. Written apart from vm_memory.cc, by division.
int64_t physicalOf(const Machine& machine, uint64_t root, uint32_t levels, uint64_t address, bool writes) {
  uint64_t table = root % (uint64_t(1) << 52) / kPageBytes * kPageBytes;
  uint64_t span = levels == 5 ? uint64_t(1) << 57 : uint64_t(1) << 48;
  for (uint32_t left = levels; left > 0; left--) {
    const uint64_t index = address % span / (span / 512);
    span /= 512;
    if (table + index * kEntryBytes + kEntryBytes > kRamBytes) return -1;
    uint64_t entry;
    std::memcpy(&entry, machine.base + table + index * kEntryBytes, sizeof entry);
    if (entry % 2 == 0 || entry / 4 % 2 == 0 || (writes && entry / 2 % 2 == 0)) return -1;
    table = entry % (uint64_t(1) << 52) / kPageBytes * kPageBytes;
    if (left == 1 || (left <= 3 && (entry & kLargePageBit) != 0)) return static_cast<int64_t>(table / span * span + address % span);
  }
  return -1;
}

class Checked {
 public:
  explicit Checked(Machine& machine) : machine_(machine), ring_(&control_, machine.ram) {}

  void scribbleControl(Input& input) {
    const uint32_t at = input.byte() % (sizeof control_ / 4), value = input.word();
    std::memcpy(reinterpret_cast<uint8_t*>(&control_) + 4 * at, &value, sizeof value);
  }

  void attach(Input& input) {
    if (input.byte() % 4 != 0) {
      control_.ring_address = input.byte() % kPages * kPageBytes;
      control_.ring_bytes = sizeof(postern_vm_ring);
      control_.page_levels = 4 + input.byte() % 2;
      control_.ring_ready = 1;
    }
    const uint64_t address = control_.ring_address;
    const bool fits = control_.ring_ready == 1 && control_.ring_bytes >= sizeof(postern_vm_ring) && address % kPageBytes == 0 &&
                      address <= kRamBytes && sizeof(postern_vm_ring) <= kRamBytes - address && control_.page_levels - 4 < 2;
    const bool wasAttached = at_ != nullptr;
    demand(ring_.attach() == (wasAttached || fits), "a ring is taken exactly when it lies in the guest's RAM");
    if (wasAttached || !fits) return;
    at_ = reinterpret_cast<postern_vm_ring*>(machine_.base + address);
    levels_ = control_.page_levels;
  }

  void withdraw() {
    demand(ring_.isWithdrawn() == (at_ != nullptr && control_.ring_ready != 1), "a ring is withdrawn by one word");
    if (!ring_.isWithdrawn()) return;
    ring_.detach();
    demand(control_.ring_taken == 0, "the frontend is told that its ring is let go of");
    at_ = nullptr;
    std::fill(std::begin(inHand_), std::end(inHand_), false);
  }

  void post(Input& input) {
    if (at_ == nullptr) return;
    postern_vm_slot& slot = at_->slot[input.byte() % POSTERN_VM_SLOTS];
    slot.request.sequence = input.word();
    slot.request.resolved = input.word();
    slot.state = input.byte() % 5;
  }

  void take() {
    bool isPosted = false;
    if (at_ != nullptr)
      for (uint32_t i = 0; i < POSTERN_VM_SLOTS; i++) isPosted |= !inHand_[i] && at_->slot[i].state == POSTERN_VM_SLOT_POSTED;
    const auto taken = ring_.take();
    demand(taken.has_value() == isPosted, "there is a request exactly while one is posted in a slot that is free");
    if (!taken) return;
    demand(taken->slot < POSTERN_VM_SLOTS && !inHand_[taken->slot], "a slot is given out once at a time");
    demand(taken->request.resolved <= POSTERN_VM_DESCRIPTORS_MAX, "a request tells of no more descriptors than there is room for");
    demand(taken->request.sequence == at_->slot[taken->slot].request.sequence, "a request is the one of its slot");
    inHand_[taken->slot] = true;
  }

  void answer(Input& input) {
    const uint32_t slot = input.byte() % (POSTERN_VM_SLOTS + 8);
    const bool isHis = slot < POSTERN_VM_SLOTS && inHand_[slot];
    const bool asks = input.byte() % 2 == 0;
    const size_t count = input.byte() % 80;
    const std::vector<VmNeed> needs(count, {1, 2, 0});
    const std::vector<postern_vm_range> made(count, {1, 2, 0});
    const bool isDone = asks ? ring_.ask(slot, needs) : ring_.answer(slot, 7, 0, made);
    demand(isDone == (isHis && !(asks && count == 0)), "only what is in hand is answered");
    if (!isDone) return;
    inHand_[slot] = false;
    demand(at_->slot[slot].answer.ranges <= POSTERN_VM_RANGES_MAX, "an answer's ranges fit in its slot");
  }

  void present(Input& input) {
    const uint32_t file = input.word() % (2 * POSTERN_VM_FILES_MAX), ready = input.byte();
    const bool changes = at_ != nullptr && file < POSTERN_VM_FILES_MAX && at_->ready[file] != ready;
    demand(ring_.present(file, ready) == changes, "poll states are of files that there are");
  }

  void sleep() {
    bool isPosted = false;
    if (at_ != nullptr)
      for (uint32_t i = 0; i < POSTERN_VM_SLOTS; i++) isPosted |= !inHand_[i] && at_->slot[i].state == POSTERN_VM_SLOT_POSTED;
    demand(ring_.prepareToSleep() == !isPosted, "the host sleeps over no request");
    ring_.wakeUp();
  }

  void scribbleRam(Input& input) {
    const uint32_t at = input.word() % (kRamBytes / kEntryBytes);
    uint64_t entry = uint64_t(input.byte()) * kPageBytes | (input.byte() & 0x87);
    if (input.byte() % 8 == 0) entry = uint64_t(input.word()) << 32 | input.word();
    std::memcpy(machine_.base + at * kEntryBytes, &entry, sizeof entry);
  }

  void walk(Input& input) {
    const uint32_t levels = input.byte() % 8 == 0 ? input.byte() : 4 + input.byte() % 2;
    const uint64_t root = input.byte() % 8 == 0 ? uint64_t(input.word()) << 16 : input.byte() % kPages * kPageBytes;
    const uint64_t address = input.byte() % 8 == 0 ? uint64_t(input.word()) << 32 | input.word() : uint64_t(input.word()) << 8;
    const uint64_t bytes = input.byte() % 16 == 0 ? ~uint64_t(0) - input.byte() : input.word() % kRangeBytesMax;
    const bool writes = input.byte() % 2 != 0;
    std::vector<uint8_t> buffer(kRangeBytesMax, 0x5a);
    VmAddressSpace space;
    space.reset(&machine_.ram, root, levels);
    if (writes) return checkWrite(space, address, buffer, bytes);
    const int error = space.read(address, buffer.data(), bytes);
    demand(error == 0 || error == EFAULT || error == VmAddressSpace::kPagesNeeded, "a read ends in one of three ways");
    if (error != 0) return;
    demand(bytes <= kRangeBytesMax, "what is longer than memory is not read");
    int64_t physical = -1;
    for (uint64_t i = 0; i < bytes; i++) {
      // Within a page the next byte is the next one in RAM.
      physical = i == 0 || (address + i) % kPageBytes == 0 ? physicalOf(machine_, root, levels, address + i, false) : physical + 1;
      demand(physical >= 0 && physical < int64_t(kRamBytes) && buffer[i] == machine_.base[physical], "what is read is what the tables lead to");
    }
  }

  void hold(Input& input) {
    VmAddressSpace space;
    space.reset(&machine_.ram, 0, 4);
    const uint64_t start = input.word(), bytes = input.word(), address = input.word(), wanted = input.word();
    space.hold(start, bytes, true);
    const bool isHeld = wanted == 0 || (address >= start && address - start <= bytes && wanted <= bytes - (address - start));
    demand((space.prepareWrite(address, wanted) == 0) == isHeld, "the host writes only where the guest holds its memory");
  }

 private:
  // Tables that a write itself goes over lead elsewhere afterwards: where it went is not looked up again, only how much it changed.
  void checkWrite(VmAddressSpace& space, uint64_t address, const std::vector<uint8_t>& from, uint64_t bytes) {
    const std::vector<uint8_t> before(machine_.base, machine_.base + kRamBytes);
    const int error = space.write(address, from.data(), bytes);
    demand(error == 0 || error == EFAULT, "a write is done or not");
    demand(error != 0 || bytes <= kRangeBytesMax, "what is longer than memory is not written");
    uint64_t changed = 0;
    for (uint64_t page = 0; page < kRamBytes; page += kPageBytes) {
      if (std::memcmp(machine_.base + page, before.data() + page, kPageBytes) == 0) continue;
      for (uint64_t i = page; i < page + kPageBytes; i++) changed += machine_.base[i] != before[i];
    }
    demand(changed <= bytes, "no more is written than was to be");
  }

  Machine& machine_;
  postern_vm_control control_{};
  VmRing ring_;
  postern_vm_ring* at_ = nullptr;
  uint32_t levels_ = 0;
  bool inHand_[POSTERN_VM_SLOTS] = {};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t count) {
  static Machine machine;
  std::memset(machine.base, 0, kRamBytes);
  Checked checked(machine);
  for (Input input(bytes, count); !input.isEmpty();) {
    switch (input.byte() % 11) {
      case 0: checked.scribbleControl(input); break;
      case 1: checked.attach(input); break;
      case 2: checked.post(input); break;
      case 3: checked.take(); break;
      case 4: checked.answer(input); break;
      case 5: checked.present(input); break;
      case 6: checked.sleep(); break;
      case 7: checked.walk(input); break;
      case 8: checked.hold(input); break;
      case 9: checked.withdraw(); break;
      default: checked.scribbleRam(input); break;
    }
  }
  return 0;
}
