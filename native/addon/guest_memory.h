// A process guest's memory, and the snapshot that makes every fetch of it a single one.
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <cstdint>
#include <vector>

namespace postern {

class VmAddressSpace;

// Copies between the host and a guest thread's address space. Returns 0 or a positive errno: EFAULT where the
// guest's own kernel would give it.
int readGuest(pid_t tid, uint64_t address, void* to, uint64_t bytes);
int readVectored(pid_t tid, const std::vector<iovec>& vectors, uint8_t* to);
int writeGuest(pid_t tid, uint64_t address, const void* from, uint64_t bytes);

// The bytes of one operation, as first read. A range that is asked for again, wholly or in part, comes from here: a guest
// thread that rewrites its arguments meanwhile changes nothing.
class Snapshot {
 public:
  // Up to this many pieces an operation: each control array, each payload, and the gaps between overlapping ones.
  static constexpr size_t kPiecesMax = 4096;

  // Of a thread of a process guest; of a program in a guest VM, where its address space is given.
  void reset(pid_t tid, VmAddressSpace* space = nullptr) {
    tid_ = tid;
    space_ = space;
    pieces_.clear();
    bytes_.clear();
    unverified_ = false;
  }
  // Whether something has been read by the thread's number since it was last known that the thread waits.
  bool isUnverified() const { return unverified_; }
  void verify() { unverified_ = false; }
  void markRead() { unverified_ = true; }
  // Fills `to` with the guest's bytes. 0, EFAULT, or E2BIG when the operation has too many pieces.
  int fetch(uint64_t address, uint8_t* to, uint64_t bytes);

 private:
  struct Piece {
    uint64_t address, bytes;
    size_t at;  // into bytes_
  };
  const Piece* firstAtOrAfter(uint64_t address) const;
  int fetchGap(uint64_t address, uint8_t* to, uint64_t bytes);

  pid_t tid_ = 0;
  VmAddressSpace* space_ = nullptr;
  bool unverified_ = false;
  std::vector<Piece> pieces_;  // ascending, disjoint
  std::vector<uint8_t> bytes_;
};

}  // namespace postern
