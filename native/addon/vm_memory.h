// A guest VM's memory: its RAM file, and the walk through its page tables that leads from a program's address to it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

namespace postern {

// The guest's RAM, as the hypervisor process has it: one shared mapping of the RAM file.
class VmRam {
 public:
  // QEMU's q35 puts RAM below this guest-physical address, and what is more from 4 GiB on (hw/i386/pc_q35.c); machines of less than
  // kLowBytesMax are in one piece.
  static constexpr uint64_t kLowBytesMax = 0xb0000000, kSplitLowBytes = 0x80000000, kHighAddress = 1ull << 32;

  // Maps the file. Throws std::runtime_error when it can't be mapped.
  VmRam(int file, uint64_t bytes);
  // Memory of somebody else's, for tests.
  VmRam(uint8_t* memory, uint64_t bytes) : memory_(memory), bytes_(bytes), isOwned_(false) {}
  ~VmRam();
  VmRam(const VmRam&) = delete;
  VmRam& operator=(const VmRam&) = delete;

  // The host's address of guest-physical memory; null where any of it is no RAM.
  uint8_t* at(uint64_t physical, uint64_t bytes) const;
  uint64_t bytes() const { return bytes_; }

 private:
  uint8_t* memory_;
  uint64_t bytes_;
  bool isOwned_;
};

// What an operation needs of the guest before it can be done: pages that are not there or not writable, or what a descriptor is.
struct VmNeed {
  uint64_t address;  // or the descriptor
  uint32_t bytes;
  uint32_t kind;  // enum postern_vm_range_kind
};

// The address space of one program in a guest VM, for one operation.
class VmAddressSpace {
 public:
  // What read() and write() return when the guest must fault pages in first: no errno of the guest's.
  static constexpr int kPagesNeeded = 4096;

  void reset(const VmRam* ram, uint64_t pageTable, uint32_t levels);
  // A range that the guest holds in place until the operation ends: only there may the host write.
  void hold(uint64_t address, uint64_t bytes, bool writes);

  // 0, EFAULT where the address can't be a program's, or kPagesNeeded.
  int read(uint64_t address, void* to, uint64_t bytes);
  int write(uint64_t address, const void* from, uint64_t bytes);
  // Whether the guest holds the range, writable: to be asked before anything happens that can't be done again. 0 or kPagesNeeded.
  int prepareWrite(uint64_t address, uint64_t bytes);
  // What the program's descriptor is: a file's number, POSTERN_VM_FILE_NONE or _STRANGE; nothing when the guest must be asked first.
  std::optional<uint32_t> fileOf(int descriptor);
  void resolve(int descriptor, uint32_t file) { files_[descriptor] = file; }
  const std::vector<VmNeed>& needs() const { return needs_; }

 private:
  // Guest-physical address of one byte; nothing where the tables have no page that a program may use so.
  std::optional<uint64_t> translate(uint64_t address, bool writes) const;
  template <typename Copy>
  int copy(uint64_t address, uint64_t bytes, bool writes, Copy&& piece);
  int need(uint64_t address, uint64_t bytes, bool writes);

  const VmRam* ram_ = nullptr;
  uint64_t pageTable_ = 0;
  uint32_t levels_ = 0;
  std::vector<VmNeed> held_, needs_;
  std::map<int, uint32_t> files_;
};

}  // namespace postern
