#include "arena.h"

#include <algorithm>
#include <iterator>

namespace postern {

uint32_t Arena::allocate(uint32_t bytes) {
  if (bytes == 0) bytes = 1;
  if (bytes > kNone - kAlignment) return kNone;
  const uint32_t want = rounded(bytes);
  for (auto it = free_.begin(); it != free_.end(); ++it) {
    if (it->bytes < want) continue;
    const uint32_t offset = it->offset;
    it->offset += want;
    it->bytes -= want;
    if (it->bytes == 0) free_.erase(it);
    return offset;
  }
  return kNone;
}

void Arena::release(uint32_t offset, uint32_t bytes) {
  if (bytes == 0) bytes = 1;
  const uint32_t length = rounded(bytes);
  auto after = std::lower_bound(free_.begin(), free_.end(), offset, [](const Extent& extent, uint32_t at) { return extent.offset < at; });
  const bool meetsAfter = after != free_.end() && after->offset == offset + length;
  const bool meetsBefore = after != free_.begin() && std::prev(after)->offset + std::prev(after)->bytes == offset;
  if (meetsBefore && meetsAfter) {
    std::prev(after)->bytes += length + after->bytes;
    free_.erase(after);
  } else if (meetsBefore) {
    std::prev(after)->bytes += length;
  } else if (meetsAfter) {
    after->offset = offset;
    after->bytes += length;
  } else {
    free_.insert(after, {offset, length});
  }
}

}  // namespace postern
