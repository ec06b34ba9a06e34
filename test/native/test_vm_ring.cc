// The host's end of a guest VM's ring: the guest may write anything anywhere in it, at any moment.
#include "vm_ring.h"

#include <atomic>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include "check.h"

using namespace postern;

namespace {

constexpr uint64_t kPageBytes = 4096, kRamBytes = 64 * kPageBytes, kRingAt = 4 * kPageBytes;

struct Guest {
  std::vector<uint64_t> memory = std::vector<uint64_t>(kRamBytes / 8 + kPageBytes / 8);
  uint8_t* base;
  VmRam ram;
  postern_vm_control control{};
  VmRing ring;

  Guest() : base(aligned(memory)), ram(base, kRamBytes), ring(&control, ram) { offer(kRingAt, sizeof(postern_vm_ring)); }
  static uint8_t* aligned(std::vector<uint64_t>& from) {
    const uint64_t at = (reinterpret_cast<uint64_t>(from.data()) + kPageBytes - 1) / kPageBytes * kPageBytes;
    return reinterpret_cast<uint8_t*>(at);
  }
  void offer(uint64_t address, uint32_t bytes, uint32_t levels = 4) {
    control.ring_address = address;
    control.ring_bytes = bytes;
    control.page_levels = levels;
    control.ring_ready = 1;
  }
  postern_vm_ring& shared() { return *reinterpret_cast<postern_vm_ring*>(base + kRingAt); }
  void post(uint32_t slot, uint64_t sequence) {
    shared().slot[slot].request.sequence = sequence;
    shared().slot[slot].state = POSTERN_VM_SLOT_POSTED;
  }
};

}  // namespace

TEST("a ring that does not lie in the guest's RAM is not taken") {
  Guest guest;
  for (uint64_t address : {kRamBytes, kRamBytes - kPageBytes, kRingAt + 8, ~uint64_t(0), ~uint64_t(0) - kPageBytes + 1, uint64_t(1) << 52}) {
    guest.offer(address, sizeof(postern_vm_ring));
    CHECK(!guest.ring.attach());
  }
  guest.offer(kRingAt, sizeof(postern_vm_ring) - 1);
  CHECK(!guest.ring.attach());
  for (uint32_t levels : {0u, 3u, 6u, ~0u}) {
    guest.offer(kRingAt, sizeof(postern_vm_ring), levels);
    CHECK(!guest.ring.attach());
  }
  CHECK(!guest.ring.take());
  CHECK(guest.ring.prepareToSleep());
  guest.offer(kRingAt, sizeof(postern_vm_ring), 5);
  CHECK(guest.ring.attach());
  CHECK_EQ(guest.ring.pageLevels(), 5u);
  // Where it is has been settled: a guest that changes its mind moves nothing.
  guest.offer(0, 0, 77);
  CHECK(guest.ring.attach());
  CHECK_EQ(guest.ring.pageLevels(), 5u);
}

TEST("a request is taken once, and answered once") {
  Guest guest;
  CHECK(guest.ring.attach());
  guest.post(9, 41);
  auto taken = guest.ring.take();
  CHECK(taken.has_value());
  CHECK_EQ(taken->slot, 9u);
  CHECK_EQ(taken->request.sequence, 41u);
  // Still posted in memory: it is in hand all the same.
  CHECK(!guest.ring.take());
  CHECK(guest.ring.answer(9, -5, 22));
  CHECK_EQ(guest.shared().slot[9].state, uint32_t(POSTERN_VM_SLOT_ANSWERED));
  CHECK_EQ(guest.shared().slot[9].answer.error, 22);
  CHECK(!guest.ring.answer(9, 0, 0));
  CHECK(!guest.ring.ask(9, {{1, 1, 0}}));
  for (uint32_t slot : {POSTERN_VM_SLOTS, ~0u}) CHECK(!guest.ring.answer(slot, 0, 0));
}

TEST("what the host has copied does not change when the guest writes again") {
  Guest guest;
  CHECK(guest.ring.attach());
  std::atomic<bool> stop{false};
  std::thread scribbler([&] {
    std::mt19937_64 random(5);
    auto* words = reinterpret_cast<volatile uint32_t*>(guest.base + kRingAt);
    while (!stop) words[random() % (sizeof(postern_vm_ring) / 4)] = static_cast<uint32_t>(random() % 8 == 0 ? random() : uint64_t(POSTERN_VM_SLOT_POSTED));
  });
  for (int round = 0; round < 200000; round++) {
    auto taken = guest.ring.take();
    if (!taken) continue;
    CHECK(taken->slot < POSTERN_VM_SLOTS);
    CHECK(taken->request.resolved <= POSTERN_VM_DESCRIPTORS_MAX);
    if (round % 3 == 0)
      CHECK(guest.ring.ask(taken->slot, std::vector<VmNeed>(100, VmNeed{1, 2, 1})));
    else
      CHECK(guest.ring.answer(taken->slot, 0, 0, std::vector<postern_vm_range>(40, postern_vm_range{1, 2, 3})));
    guest.ring.present(taken->request.file, taken->request.flags);
  }
  stop = true;
  scribbler.join();
}

TEST("a host that is about to sleep sees what was posted before it said so") {
  Guest guest;
  CHECK(guest.ring.attach());
  CHECK(guest.ring.prepareToSleep());
  CHECK_EQ(guest.shared().host_sleeps, 1u);
  guest.post(3, 1);
  CHECK(!guest.ring.prepareToSleep());
  guest.ring.wakeUp();
  CHECK_EQ(guest.shared().host_sleeps, 0u);
}

TEST("poll events are told when the guest has others, and not otherwise") {
  Guest guest;
  CHECK(!guest.ring.present(5, 1));
  CHECK(guest.ring.attach());
  CHECK(guest.ring.present(5, 1));
  CHECK_EQ(guest.shared().ready[5], 1u);
  CHECK(!guest.ring.present(5, 1));
  // The frontend has given the number to another file, and says so by clearing it.
  guest.shared().ready[5] = 0;
  CHECK(guest.ring.present(5, 1));
  CHECK(!guest.ring.present(POSTERN_VM_FILES_MAX, 1));
}

TEST("every slot gets its turn") {
  Guest guest;
  CHECK(guest.ring.attach());
  bool seen[POSTERN_VM_SLOTS] = {};
  for (uint32_t slot = 0; slot < POSTERN_VM_SLOTS; slot++) guest.post(slot, slot);
  for (uint32_t i = 0; i < POSTERN_VM_SLOTS; i++) {
    auto taken = guest.ring.take();
    CHECK(taken.has_value());
    seen[taken->slot] = true;
    CHECK(guest.ring.answer(taken->slot, 0, 0));
    // The greedy guest posts in the same slot again at once.
    guest.post(taken->slot, 100 + i);
  }
  for (bool one : seen) CHECK(one);
}
