// The arena's allocator against a model that keeps one flag for each unit.
#include <map>
#include <random>
#include <vector>

#include "arena.h"
#include "check.h"
#include "protocol.h"

using postern::Arena;

namespace {

constexpr uint32_t kUnit = Arena::kAlignment;

// First fit is deterministic, so the model says where each region must lie, and when there is no room.
class Model {
 public:
  explicit Model(uint32_t bytes) : taken_(bytes / kUnit) {}

  uint32_t allocate(uint32_t bytes) {
    const size_t wanted = unitsOf(bytes);
    for (size_t first = 0; first + wanted <= taken_.size(); first++) {
      size_t free = 0;
      while (free < wanted && !taken_[first + free]) free++;
      if (free < wanted) continue;
      for (size_t i = 0; i < wanted; i++) taken_[first + i] = true;
      return static_cast<uint32_t>(first) * kUnit;
    }
    return Arena::kNone;
  }
  void release(uint32_t offset, uint32_t bytes) {
    for (size_t i = 0; i < unitsOf(bytes); i++) taken_[offset / kUnit + i] = false;
  }

 private:
  static size_t unitsOf(uint32_t bytes) { return bytes == 0 ? 1 : (size_t(bytes) + kUnit - 1) / kUnit; }
  std::vector<bool> taken_;
};

}  // namespace

TEST("random allocations and releases lie where first fit says: no overlap, aligned, merged again") {
  std::mt19937 random(7);
  for (uint32_t arenaBytes : {kUnit, 4 * kUnit, 64 * kUnit}) {
    Arena arena(arenaBytes);
    Model model(arenaBytes);
    std::vector<std::pair<uint32_t, uint32_t>> held;
    for (int round = 0; round < 20000; round++) {
      if (held.empty() || random() % 5 < 3) {
        const uint32_t bytes = random() % 8 == 0 ? random() % (arenaBytes + kUnit) : random() % (4 * kUnit);
        const uint32_t offset = arena.allocate(bytes);
        CHECK_EQ(offset, model.allocate(bytes));
        if (offset == Arena::kNone) continue;
        CHECK_EQ(offset % kUnit, 0);
        CHECK(bytes <= arenaBytes && offset <= arenaBytes - bytes);
        held.emplace_back(offset, bytes);
      } else {
        const size_t which = random() % held.size();
        arena.release(held[which].first, held[which].second);
        model.release(held[which].first, held[which].second);
        held[which] = held.back();
        held.pop_back();
      }
    }
    for (auto& [offset, bytes] : held) arena.release(offset, bytes);
    CHECK_EQ(arena.allocate(arenaBytes), 0);  // All of it is one piece again.
  }
}

TEST("what is not there is not given") {
  Arena arena(4 * kUnit);
  for (uint32_t bytes : {4 * kUnit + 1, 1u << 31, Arena::kNone - kUnit, Arena::kNone - kUnit + 1, Arena::kNone - 1, Arena::kNone})
    CHECK_EQ(arena.allocate(bytes), Arena::kNone);
  CHECK_EQ(arena.allocate(4 * kUnit), 0);
  CHECK_EQ(arena.allocate(0), Arena::kNone);
  arena.release(0, 4 * kUnit);
  CHECK_EQ(arena.allocate(4 * kUnit), 0);
}

TEST("regions of no bytes have places of their own") {
  Arena arena(4 * kUnit);
  std::map<uint32_t, bool> offsets;
  for (int i = 0; i < 4; i++) offsets[arena.allocate(0)] = true;
  CHECK_EQ(offsets.size(), 4);
  CHECK_EQ(offsets.count(Arena::kNone), 0);
  CHECK_EQ(arena.allocate(0), Arena::kNone);
  for (auto& [offset, isHeld] : offsets) arena.release(offset, 0);
  CHECK_EQ(arena.allocate(4 * kUnit), 0);
}

TEST("freed neighbours merge in every order") {
  const uint32_t orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
  for (auto& order : orders) {
    Arena arena(3 * kUnit);
    for (uint32_t i = 0; i < 3; i++) CHECK_EQ(arena.allocate(kUnit - i), i * kUnit);
    for (uint32_t which : order) arena.release(which * kUnit, kUnit - which);
    CHECK_EQ(arena.allocate(3 * kUnit), 0);
  }
}

TEST("a channel's whole arena can be one region, or cache lines") {
  Arena arena(POSTERN_ARENA_BYTES);
  CHECK_EQ(arena.allocate(POSTERN_ARENA_BYTES), 0);
  arena.release(0, POSTERN_ARENA_BYTES);
  for (uint32_t i = 0; i < POSTERN_ARENA_BYTES / kUnit; i++) CHECK_EQ(arena.allocate(1), i * kUnit);
  CHECK_EQ(arena.allocate(1), Arena::kNone);
}
