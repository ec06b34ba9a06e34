#include "guest_memory.h"

#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "vm_memory.h"

namespace postern {
namespace {

// process_vm_readv may stop at a page that is not there; what is left then fails by itself.
template <typename Transfer>
int transferAll(Transfer transfer, uint64_t bytes) {
  for (uint64_t done = 0; done < bytes;) {
    ssize_t moved = transfer(done);
    if (moved > 0) {
      done += static_cast<uint64_t>(moved);
      continue;
    }
    if (moved < 0 && errno == EINTR) continue;
    return EFAULT;
  }
  return 0;
}

}  // namespace

int readGuest(pid_t tid, uint64_t address, void* to, uint64_t bytes) {
  return transferAll(
      [&](uint64_t done) {
        iovec local{static_cast<uint8_t*>(to) + done, bytes - done};
        iovec remote{reinterpret_cast<void*>(address + done), bytes - done};
        return process_vm_readv(tid, &local, 1, &remote, 1, 0);
      },
      bytes);
}

int readVectored(pid_t tid, const std::vector<iovec>& vectors, uint8_t* to) {
  for (const iovec& vector : vectors) {
    if (vector.iov_len == 0) continue;
    if (int error = readGuest(tid, reinterpret_cast<uint64_t>(vector.iov_base), to, vector.iov_len)) return error;
    to += vector.iov_len;
  }
  return 0;
}

int writeGuest(pid_t tid, uint64_t address, const void* from, uint64_t bytes) {
  return transferAll(
      [&](uint64_t done) {
        iovec local{const_cast<uint8_t*>(static_cast<const uint8_t*>(from)) + done, bytes - done};
        iovec remote{reinterpret_cast<void*>(address + done), bytes - done};
        return process_vm_writev(tid, &local, 1, &remote, 1, 0);
      },
      bytes);
}

const Snapshot::Piece* Snapshot::firstAtOrAfter(uint64_t address) const {
  auto it = std::partition_point(pieces_.begin(), pieces_.end(),
                                 [&](const Piece& piece) { return piece.address + piece.bytes <= address; });
  return it == pieces_.end() ? nullptr : &*it;
}

int Snapshot::fetchGap(uint64_t address, uint8_t* to, uint64_t bytes) {
  if (pieces_.size() >= kPiecesMax) return E2BIG;
  if (int error = space_ != nullptr ? space_->read(address, to, bytes) : readGuest(tid_, address, to, bytes)) return error;
  unverified_ = true;
  Piece piece{address, bytes, bytes_.size()};
  bytes_.insert(bytes_.end(), to, to + bytes);
  auto at = std::partition_point(pieces_.begin(), pieces_.end(), [&](const Piece& other) { return other.address < address; });
  pieces_.insert(at, piece);
  return 0;
}

int Snapshot::fetch(uint64_t address, uint8_t* to, uint64_t bytes) {
  while (bytes > 0) {
    const Piece* piece = firstAtOrAfter(address);
    uint64_t step;
    if (piece != nullptr && piece->address <= address) {
      step = std::min(bytes, piece->address + piece->bytes - address);
      std::memcpy(to, bytes_.data() + piece->at + (address - piece->address), step);
    } else {
      step = piece == nullptr ? bytes : std::min(bytes, piece->address - address);
      if (int error = fetchGap(address, to, step)) return error;
    }
    address += step;
    to += step;
    bytes -= step;
  }
  return 0;
}

}  // namespace postern
