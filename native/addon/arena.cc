#include "arena.h"

#include <iterator>

namespace postern {

uint32_t Arena::allocate(uint32_t bytes) {
  if (bytes == 0) bytes = 1;
  if (bytes > kNone - kAlignment) return kNone;
  const uint32_t want = rounded(bytes);
  for (auto it = free_.begin(); it != free_.end(); ++it) {
    if (it->second < want) continue;
    const uint32_t offset = it->first, left = it->second - want;
    free_.erase(it);
    if (left > 0) free_[offset + want] = left;
    return offset;
  }
  return kNone;
}

void Arena::release(uint32_t offset, uint32_t bytes) {
  if (bytes == 0) bytes = 1;
  uint32_t length = rounded(bytes);
  auto after = free_.lower_bound(offset);
  if (after != free_.end() && after->first == offset + length) {
    length += after->second;
    after = free_.erase(after);
  }
  if (after != free_.begin()) {
    auto before = std::prev(after);
    if (before->first + before->second == offset) {
      before->second += length;
      return;
    }
  }
  free_[offset] = length;
}

}  // namespace postern
