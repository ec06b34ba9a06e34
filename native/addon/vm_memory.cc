#include "vm_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "vm_frontend.h"

namespace postern {
namespace {

// Page table entries, from the Intel 64 manual, volume 3, "Paging".
constexpr uint64_t kPresent = 1, kWritable = 2, kUser = 4, kLarge = 1 << 7;
constexpr uint64_t kAddressBits = 0x000ffffffffff000;
constexpr uint32_t kIndexBits = 9, kPageBits = 12;
constexpr uint64_t kPageBytes = 1ull << kPageBits;
// The lower half of the address space belongs to programs.
constexpr uint32_t kUserBits4 = 47, kUserBits5 = 56;
// Large pages are possible at the third level from below (1 GiB) and the second (2 MiB).
constexpr uint32_t kLargeLevelMax = 3;

}  // namespace

VmRam::VmRam(int file, uint64_t bytes) : bytes_(bytes), isOwned_(true) {
  void* mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (mapped == MAP_FAILED) throw std::runtime_error("the guest's RAM can't be mapped");
  memory_ = static_cast<uint8_t*>(mapped);
}

VmRam::~VmRam() {
  if (isOwned_) munmap(memory_, bytes_);
}

uint8_t* VmRam::at(uint64_t physical, uint64_t bytes) const {
  const uint64_t low = bytes_ >= kLowBytesMax ? kSplitLowBytes : bytes_;
  if (physical < low) return bytes <= low - physical ? memory_ + physical : nullptr;
  if (physical < kHighAddress) return nullptr;
  const uint64_t offset = physical - kHighAddress, high = bytes_ - low;
  return offset < high && bytes <= high - offset ? memory_ + low + offset : nullptr;
}

void VmAddressSpace::reset(const VmRam* ram, uint64_t pageTable, uint32_t levels) {
  ram_ = ram;
  pageTable_ = pageTable;
  levels_ = levels;
  held_.clear();
  needs_.clear();
  files_.clear();
}

void VmAddressSpace::hold(uint64_t address, uint64_t bytes, bool writes) {
  held_.push_back({address, static_cast<uint32_t>(bytes), writes ? POSTERN_VM_WRITES : POSTERN_VM_READS});
}

std::optional<uint64_t> VmAddressSpace::translate(uint64_t address, bool writes) const {
  const uint64_t wanted = kPresent | kUser | (writes ? kWritable : 0);
  uint64_t table = pageTable_ & kAddressBits;
  for (uint32_t level = levels_; level > 0; level--) {
    const uint32_t shift = kPageBits + (level - 1) * kIndexBits;
    const uint64_t index = (address >> shift) & ((1u << kIndexBits) - 1);
    const uint8_t* at = ram_->at(table + index * sizeof(uint64_t), sizeof(uint64_t));
    if (at == nullptr) return std::nullopt;
    // The guest may change it at any moment: it is read once.
    const uint64_t entry = __atomic_load_n(reinterpret_cast<const uint64_t*>(at), __ATOMIC_RELAXED);
    if ((entry & wanted) != wanted) return std::nullopt;
    const bool isPage = level == 1 || (level <= kLargeLevelMax && (entry & kLarge) != 0);
    if (isPage) {
      const uint64_t inPage = (1ull << shift) - 1;
      return (entry & kAddressBits & ~inPage) | (address & inPage);
    }
    table = entry & kAddressBits;
  }
  return std::nullopt;
}

int VmAddressSpace::need(uint64_t address, uint64_t bytes, bool writes) {
  needs_.push_back({address, static_cast<uint32_t>(std::min<uint64_t>(bytes, UINT32_MAX)), writes ? POSTERN_VM_WRITES : POSTERN_VM_READS});
  return kPagesNeeded;
}

// Page by page: neighbours in the program's memory are seldom neighbours in the guest's.
template <typename Copy>
int VmAddressSpace::copy(uint64_t address, uint64_t bytes, bool writes, Copy&& piece) {
  const uint64_t end = 1ull << (levels_ == 5 ? kUserBits5 : kUserBits4);
  if (ram_ == nullptr || levels_ < 4 || levels_ > 5 || address >= end || bytes > end - address) return EFAULT;
  const uint64_t first = address, total = bytes;
  for (uint64_t done = 0; bytes > 0;) {
    const uint64_t step = std::min(bytes, kPageBytes - address % kPageBytes);
    const auto physical = translate(address, writes);
    if (!physical) return need(first, total, writes);
    uint8_t* at = ram_->at(*physical, step);
    // A page that is there but no RAM: a device's, or a driver's in the aperture.
    if (at == nullptr) return EFAULT;
    piece(at, done, step);
    address += step;
    done += step;
    bytes -= step;
  }
  return 0;
}

int VmAddressSpace::read(uint64_t address, void* to, uint64_t bytes) {
  return copy(address, bytes, false, [&](const uint8_t* at, uint64_t done, uint64_t step) { std::memcpy(static_cast<uint8_t*>(to) + done, at, step); });
}

int VmAddressSpace::write(uint64_t address, const void* from, uint64_t bytes) {
  const int error = copy(address, bytes, true, [&](uint8_t* at, uint64_t done, uint64_t step) { std::memcpy(at, static_cast<const uint8_t*>(from) + done, step); });
  // What was held is gone: the guest's own doing. By now nothing can be done again.
  return error == kPagesNeeded ? EFAULT : error;
}

int VmAddressSpace::prepareWrite(uint64_t address, uint64_t bytes) {
  if (bytes == 0) return 0;
  for (const VmNeed& held : held_)
    if (held.kind == POSTERN_VM_WRITES && address >= held.address && address - held.address <= held.bytes && bytes <= held.bytes - (address - held.address)) return 0;
  return need(address, bytes, true);
}

std::optional<uint32_t> VmAddressSpace::fileOf(int descriptor) {
  auto known = files_.find(descriptor);
  if (known != files_.end()) return known->second;
  needs_.push_back({static_cast<uint64_t>(descriptor), 0, POSTERN_VM_DESCRIPTOR});
  return std::nullopt;
}

}  // namespace postern
