// A guest VM's page tables, walked by the host: everything in them is the guest's to forge.
#include "vm_memory.h"

#include <cerrno>
#include <cstring>
#include <random>
#include <vector>

#include "check.h"
#include "vm_frontend.h"

using namespace postern;

namespace {

constexpr uint64_t kPageBytes = 4096, kPages = 64;
constexpr uint64_t kPresent = 1, kWritable = 2, kUser = 4, kLarge = 1 << 7, kAll = kPresent | kWritable | kUser;
constexpr uint64_t kNoExecute = 1ull << 63;

// A machine of a few pages, its tables in its own memory.
class Machine {
 public:
  explicit Machine(uint32_t levels = 4) : levels_(levels), memory_(kPages * kPageBytes), ram_(memory_.data(), memory_.size()) {
    for (size_t i = 0; i < memory_.size(); i++) memory_[i] = static_cast<uint8_t>(i * 7 + i / kPageBytes);
    root_ = newPage();
  }
  // Maps one page of the program's, by tables of these rights.
  void map(uint64_t address, uint64_t physical, uint64_t rights = kAll, uint32_t lastLevel = 1) {
    uint64_t table = root_;
    for (uint32_t level = levels_; level > lastLevel; level--) {
      uint64_t& entry = entryAt(table, address, level);
      if ((entry & kPresent) == 0) entry = newPage() | kAll;
      table = entry & ~uint64_t(kPageBytes - 1) & ~kNoExecute;
    }
    entryAt(table, address, lastLevel) = physical | rights | (lastLevel > 1 ? kLarge : 0);
  }
  uint64_t& entryAt(uint64_t table, uint64_t address, uint32_t level) {
    const uint64_t index = (address >> (12 + 9 * (level - 1))) & 511;
    return *reinterpret_cast<uint64_t*>(memory_.data() + table + index * 8);
  }
  uint64_t newPage() {
    next_ += kPageBytes;
    std::memset(memory_.data() + next_ - kPageBytes, 0, kPageBytes);
    return next_ - kPageBytes;
  }
  VmAddressSpace space() const {
    VmAddressSpace made;
    made.reset(&ram_, root_, levels_);
    return made;
  }
  uint8_t* at(uint64_t physical) { return memory_.data() + physical; }
  const VmRam& ram() const { return ram_; }
  uint64_t root() const { return root_; }

 private:
  uint32_t levels_;
  std::vector<uint8_t> memory_;
  VmRam ram_;
  uint64_t next_ = 0, root_;
};

constexpr uint64_t kAddress = 0x7f1234567000, kFirst = 40 * kPageBytes, kSecond = 50 * kPageBytes;

}  // namespace

TEST("reads what two pages apart in RAM have, as one piece") {
  for (uint32_t levels : {4u, 5u}) {
    Machine machine(levels);
    machine.map(kAddress, kFirst);
    machine.map(kAddress + kPageBytes, kSecond);
    uint8_t got[200];
    VmAddressSpace space = machine.space();
    CHECK_EQ(space.read(kAddress + kPageBytes - 100, got, sizeof got), 0);
    CHECK_EQ(std::memcmp(got, machine.at(kFirst + kPageBytes - 100), 100), 0);
    CHECK_EQ(std::memcmp(got + 100, machine.at(kSecond), 100), 0);
  }
}

TEST("reads through a large page, at its own offset") {
  Machine machine;
  machine.map(0x40000000, 0, kAll, 2);
  uint8_t got[16];
  VmAddressSpace space = machine.space();
  CHECK_EQ(space.read(0x40000000 + kFirst + 5, got, sizeof got), 0);
  CHECK_EQ(std::memcmp(got, machine.at(kFirst + 5), sizeof got), 0);
  // The large page goes on behind the machine's RAM: that is a fault, not the host's memory.
  CHECK_EQ(space.read(0x40000000 + kPages * kPageBytes - 8, got, sizeof got), EFAULT);
}

TEST("asks for a page that is not there, for the whole range") {
  Machine machine;
  machine.map(kAddress, kFirst);
  uint8_t got[kPageBytes];
  VmAddressSpace space = machine.space();
  CHECK_EQ(space.read(kAddress + 10, got, sizeof got), int(VmAddressSpace::kPagesNeeded));
  CHECK_EQ(space.needs().size(), 1u);
  CHECK_EQ(space.needs()[0].address, kAddress + 10);
  CHECK_EQ(space.needs()[0].bytes, kPageBytes);
  CHECK_EQ(space.needs()[0].kind, uint32_t(POSTERN_VM_READS));
}

TEST("a program's address never reads its kernel's pages") {
  Machine machine;
  machine.map(kAddress, kFirst, kPresent | kWritable);
  uint8_t got[8];
  VmAddressSpace space = machine.space();
  CHECK_EQ(space.read(kAddress, got, sizeof got), int(VmAddressSpace::kPagesNeeded));
  // The kernel's half of the addresses is not even looked up.
  machine.map(0xffff888000000000, kFirst);
  CHECK_EQ(space.read(0xffff888000000000, got, sizeof got), EFAULT);
  CHECK_EQ(space.read((1ull << 47) - 4, got, sizeof got), EFAULT);
  CHECK_EQ(space.read(~0ull - 3, got, sizeof got), EFAULT);
}

TEST("a page for reading only is not written") {
  Machine machine;
  machine.map(kAddress, kFirst, kPresent | kUser);
  const uint8_t before = *machine.at(kFirst);
  const uint8_t byte = static_cast<uint8_t>(before + 1);
  VmAddressSpace space = machine.space();
  space.hold(kAddress, 1, true);
  CHECK_EQ(space.write(kAddress, &byte, 1), EFAULT);
  CHECK_EQ(*machine.at(kFirst), before);
}

TEST("only what the guest holds is promised for a reply") {
  Machine machine;
  machine.map(kAddress, kFirst);
  VmAddressSpace space = machine.space();
  CHECK_EQ(space.prepareWrite(kAddress, 8), int(VmAddressSpace::kPagesNeeded));
  space.hold(kAddress, 16, false);
  CHECK_EQ(space.prepareWrite(kAddress, 8), int(VmAddressSpace::kPagesNeeded));
  space.hold(kAddress, 16, true);
  CHECK_EQ(space.prepareWrite(kAddress + 8, 8), 0);
  CHECK_EQ(space.prepareWrite(kAddress + 9, 8), int(VmAddressSpace::kPagesNeeded));
  CHECK_EQ(space.prepareWrite(kAddress - 1, 2), int(VmAddressSpace::kPagesNeeded));
  CHECK_EQ(space.prepareWrite(~0ull - 2, 8), int(VmAddressSpace::kPagesNeeded));
}

TEST("forged tables lead nowhere but into the guest's own RAM") {
  std::mt19937_64 random(11);
  for (int round = 0; round < 1500; round++) {
    Machine machine(round % 2 == 0 ? 4 : 5);
    machine.map(kAddress, kFirst);
    // Any entry of any table becomes anything: other tables, itself, addresses beyond RAM and beyond 52 bits.
    for (int i = 0; i < 4; i++) {
      const uint64_t table = (random() % 8) * kPageBytes;
      const uint32_t level = 1 + static_cast<uint32_t>(random() % 5);
      const uint64_t forged = random() % 2 == 0 ? random() : ((random() % kPages) * kPageBytes) | kAll | (random() % 2 == 0 ? kLarge : 0);
      machine.entryAt(table, kAddress, level) = forged;
    }
    uint8_t got[3 * kPageBytes];
    VmAddressSpace space = machine.space();
    const int error = space.read(kAddress - 100, got, sizeof got);
    CHECK(error == 0 || error == EFAULT || error == VmAddressSpace::kPagesNeeded);
    const int writing = space.write(kAddress + 50, got, sizeof got);
    CHECK(writing == 0 || writing == EFAULT);
  }
}

TEST("a page table outside RAM, and one that is unaligned, are faults") {
  Machine machine;
  for (uint64_t table : {uint64_t(kPages * kPageBytes), uint64_t(1) << 51, ~uint64_t(0), uint64_t(8)}) {
    VmAddressSpace space;
    space.reset(&machine.ram(), table, 4);
    uint8_t byte;
    const int error = space.read(kAddress, &byte, 1);
    CHECK(error == EFAULT || error == VmAddressSpace::kPagesNeeded);
  }
  for (uint32_t levels : {0u, 3u, 6u, 64u, ~0u}) {
    VmAddressSpace space;
    space.reset(&machine.ram(), machine.root(), levels);
    uint8_t byte;
    CHECK_EQ(space.read(kAddress, &byte, 1), EFAULT);
  }
}

TEST("RAM that is split around the PCI hole is found on both sides of it") {
  // Only addresses are made, nothing is touched.
  uint8_t* const base = reinterpret_cast<uint8_t*>(0x100000000000);
  const uint64_t bytes = 6ull << 30;
  VmRam ram(base, bytes);
  CHECK(ram.at(0, 1) == base);
  CHECK(ram.at(VmRam::kSplitLowBytes - 1, 1) == base + VmRam::kSplitLowBytes - 1);
  CHECK(ram.at(VmRam::kSplitLowBytes - 1, 2) == nullptr);
  CHECK(ram.at(VmRam::kSplitLowBytes, 1) == nullptr);
  CHECK(ram.at(VmRam::kHighAddress - 1, 1) == nullptr);
  CHECK(ram.at(VmRam::kHighAddress, 1) == base + VmRam::kSplitLowBytes);
  const uint64_t last = VmRam::kHighAddress + bytes - VmRam::kSplitLowBytes - 1;
  CHECK(ram.at(last, 1) == base + bytes - 1);
  CHECK(ram.at(last, 2) == nullptr);
  CHECK(ram.at(~0ull, 1) == nullptr);
  VmRam small(base, kPageBytes);
  CHECK(small.at(kPageBytes - 1, 1) == base + kPageBytes - 1);
  CHECK(small.at(kPageBytes, 1) == nullptr);
}

TEST("a descriptor that the guest has not told of is asked for") {
  Machine machine;
  VmAddressSpace space = machine.space();
  CHECK(!space.fileOf(7));
  CHECK_EQ(space.needs().back().kind, uint32_t(POSTERN_VM_DESCRIPTOR));
  CHECK_EQ(space.needs().back().address, 7u);
  space.resolve(7, POSTERN_VM_FILE_STRANGE);
  CHECK_EQ(*space.fileOf(7), POSTERN_VM_FILE_STRANGE);
}
