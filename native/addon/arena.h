// Allocates the regions of operations in a channel's arena. First fit: an arena holds a few dozen regions at a time.
#pragma once

#include <cstdint>
#include <vector>

namespace postern {

class Arena {
 public:
  // Regions start at multiples of this: no two share a cache line, and drivers see aligned structures.
  static constexpr uint32_t kAlignment = 64;
  static constexpr uint32_t kNone = 0xffffffffu;

  explicit Arena(uint32_t bytes) : free_{{0, bytes}} {}

  // The offset of `bytes` free bytes, or kNone.
  uint32_t allocate(uint32_t bytes);
  void release(uint32_t offset, uint32_t bytes);

 private:
  static uint32_t rounded(uint32_t bytes) { return (bytes + kAlignment - 1) & ~(kAlignment - 1); }
  struct Extent {
    uint32_t offset, bytes;
  };
  std::vector<Extent> free_;  // ascending, disjoint, never adjacent: a steady stream of operations allocates nothing
};

}  // namespace postern
