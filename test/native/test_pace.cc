// Which way the fast frontend goes: the quicker one, tried for a while, kept while it is worth it, tried again later.
#include <x86intrin.h>

#include <cstdint>

#include "check.h"

// C's _Atomic is not C++'s: the same words, which only the library looks into.
extern "C" {
struct pace {
  alignas(8) uint8_t words[64];
};
bool pace_posts(pace* pace);
void pace_note_posted(pace* pace, uint64_t began);
void pace_note_trapped(pace* pace, uint64_t began);
}

namespace {

// A program that makes one operation after the other; what one takes is said, not waited for.
class Program {
 public:
  uint32_t postedTicks = 2'000, trappedTicks = 12'000;

  // Makes so many operations; how many of them were posted.
  uint32_t run(uint32_t operations) {
    uint32_t posted = 0;
    for (uint32_t i = 0; i < operations; i++) {
      if (pace_posts(&pace_)) {
        posted++;
        pace_note_posted(&pace_, __rdtsc() - postedTicks);
      } else {
        pace_note_trapped(&pace_, __rdtsc() - trappedTicks);
      }
    }
    return posted;
  }
  // Makes operations until one goes that way; whether that came to pass.
  bool runUntil(bool posts, uint32_t operationsMax) {
    for (uint32_t i = 0; i < operationsMax; i++)
      if ((run(1) == 1) == posts) return true;
    return false;
  }
  void postOne(uint32_t ticks) { pace_note_posted(&pace_, __rdtsc() - ticks); }

 private:
  pace pace_{};
};

// Far more than any patience lasts: some seconds of operations.
constexpr uint32_t kForEver = 400'000'000;
// Both ways have been measured by then.
constexpr uint32_t kSettled = 4'000;

}  // namespace

TEST("a few operations are all posted, and being trapped is measured after them") {
  Program program;
  CHECK_EQ(program.run(256), 256u);
  CHECK(program.runUntil(false, kSettled));
}

TEST("posting that is quicker is kept") {
  Program program;
  program.run(kSettled);
  CHECK_EQ(program.run(100'000), 100'000u);
}

TEST("posting that is not quicker is given up, but for trials") {
  Program program;
  program.postedTicks = program.trappedTicks;
  program.run(kSettled);
  const uint32_t posted = program.run(1'000'000);
  CHECK(posted < 100'000);
}

TEST("a processor that is taken away for a moment changes nothing") {
  Program program;
  program.run(kSettled);
  for (int i = 0; i < 50; i++) {
    program.postOne(1'000'000'000);
    CHECK_EQ(program.run(1'000), 1'000u);
  }
}

TEST("what has become slow is given up, and taken up again when it is quick") {
  Program program;
  program.run(kSettled);
  program.postedTicks = 30'000;
  CHECK(program.runUntil(false, kSettled));
  program.postedTicks = 2'000;
  CHECK(program.runUntil(true, kForEver));
  program.run(kSettled);
  CHECK_EQ(program.run(10'000), 10'000u);
}

TEST("where being trapped has become slower, too, posting is compared with that") {
  Program program;
  program.run(kSettled);
  program.postedTicks = 20'000;
  program.trappedTicks = 35'000;
  CHECK(program.runUntil(false, kSettled));
  CHECK(program.runUntil(true, kForEver));
  program.run(kSettled);
  CHECK_EQ(program.run(10'000), 10'000u);
}
