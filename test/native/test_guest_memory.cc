// Copies between host and guest, and invariant 2: a guest that rewrites its memory meanwhile changes nothing.
#include "guest_memory.h"

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <random>
#include <vector>

#include "check.h"

using namespace postern;

namespace {

constexpr size_t kPageBytes = 4096, kPages = 8, kBytes = kPages * kPageBytes;

// A guest whose pages are shared with the test, so that the test can rewrite them at any moment, with a hole before and after.
class Guest {
 public:
  Guest() {
    void* area = mmap(nullptr, kBytes + 2 * kPageBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(area != MAP_FAILED);
    area_ = static_cast<uint8_t*>(area);
    CHECK(mmap(memory(), kBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED);
    std::mt19937 random(3);
    for (size_t i = 0; i < kBytes; i++) memory()[i] = static_cast<uint8_t>(random());
  }
  ~Guest() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    munmap(area_, kBytes + 2 * kPageBytes);
  }
  // From here on the guest lives; `prepare` runs in it before it is looked at, `live` then for ever.
  void start(
      void (*prepare)(uint8_t*) = [](uint8_t*) {}, void (*live)(uint8_t*) = [](uint8_t*) { pause(); }) {
    int ready[2];
    CHECK_EQ(pipe(ready), 0);
    pid_ = fork();
    if (pid_ == 0) {
      check::dieWithParent();
      prepare(memory());
      (void)!write(ready[1], "r", 1);
      for (;;) live(memory());
    }
    char byte;
    CHECK_EQ(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
  }
  uint8_t* memory() { return area_ + kPageBytes; }
  uint64_t address(size_t offset = 0) { return reinterpret_cast<uint64_t>(memory()) + offset; }
  pid_t pid() const { return pid_; }

 private:
  uint8_t* area_;
  pid_t pid_ = 0;
};

void punchHole(uint8_t* memory, size_t page) { munmap(memory + page * kPageBytes, kPageBytes); }

}  // namespace

TEST("bytes are read from the guest and written to it") {
  Guest guest;
  guest.start();
  std::vector<uint8_t> bytes(3 * kPageBytes);
  CHECK_EQ(readGuest(guest.pid(), guest.address(100), bytes.data(), bytes.size()), 0);
  CHECK(std::memcmp(bytes.data(), guest.memory() + 100, bytes.size()) == 0);
  CHECK_EQ(writeGuest(guest.pid(), guest.address(kPageBytes - 3), "postern", 7), 0);
  CHECK(std::memcmp(guest.memory() + kPageBytes - 3, "postern", 7) == 0);
  CHECK_EQ(readGuest(guest.pid(), guest.address(), bytes.data(), 0), 0);
  CHECK_EQ(writeGuest(guest.pid(), 0, bytes.data(), 0), 0);
}

TEST("a hole is EFAULT, on the way as at the start") {
  Guest guest;
  guest.start([](uint8_t* memory) { punchHole(memory, 2); });
  std::vector<uint8_t> bytes(kBytes);
  for (auto transfer : {+[](pid_t pid, uint64_t address, uint8_t* host, size_t count) { return readGuest(pid, address, host, count); },
                        +[](pid_t pid, uint64_t address, uint8_t* host, size_t count) { return writeGuest(pid, address, host, count); }}) {
    CHECK_EQ(transfer(guest.pid(), guest.address(kPageBytes), bytes.data(), kPageBytes), 0);
    CHECK_EQ(transfer(guest.pid(), guest.address(kPageBytes), bytes.data(), kPageBytes + 1), EFAULT);
    CHECK_EQ(transfer(guest.pid(), guest.address(2 * kPageBytes), bytes.data(), 1), EFAULT);
    CHECK_EQ(transfer(guest.pid(), guest.address(3 * kPageBytes - 1), bytes.data(), 2), EFAULT);
    CHECK_EQ(transfer(guest.pid(), guest.address(3 * kPageBytes), bytes.data(), kPageBytes), 0);
    CHECK_EQ(transfer(guest.pid(), 0, bytes.data(), 8), EFAULT);
    CHECK_EQ(transfer(guest.pid(), ~uint64_t(0) - 4, bytes.data(), 8), EFAULT);
    CHECK_EQ(transfer(guest.pid(), uint64_t(1) << 63, bytes.data(), 8), EFAULT);
  }
}

TEST("what the guest may not write, the host does not write for it") {
  Guest guest;
  guest.start([](uint8_t* memory) { mprotect(memory + kPageBytes, kPageBytes, PROT_READ); });
  const std::vector<uint8_t> before(guest.memory(), guest.memory() + 2 * kPageBytes);
  CHECK_EQ(writeGuest(guest.pid(), guest.address(kPageBytes), "x", 1), EFAULT);
  CHECK(std::memcmp(before.data() + kPageBytes, guest.memory() + kPageBytes, kPageBytes) == 0);
}

TEST("a guest that has gone is EFAULT") {
  const pid_t pid = fork();
  if (pid == 0) _exit(0);
  siginfo_t info;
  CHECK_EQ(waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT), 0);
  uint8_t byte;
  CHECK_EQ(readGuest(pid, reinterpret_cast<uint64_t>(&byte), &byte, 1), EFAULT);
  waitpid(pid, nullptr, 0);
  Snapshot snapshot;
  snapshot.reset(pid);
  CHECK_EQ(snapshot.fetch(reinterpret_cast<uint64_t>(&byte), &byte, 1), EFAULT);
}

TEST("a range fetched twice is the same bytes, though the guest has rewritten them") {
  Guest guest;
  guest.start();
  Snapshot snapshot;
  snapshot.reset(guest.pid());
  uint8_t first[64], second[64];
  CHECK_EQ(snapshot.fetch(guest.address(10), first, sizeof first), 0);
  std::memset(guest.memory(), 0x5a, kBytes);
  CHECK_EQ(snapshot.fetch(guest.address(10), second, sizeof second), 0);
  CHECK(std::memcmp(first, second, sizeof first) == 0);
  CHECK(second[0] != 0x5a || second[1] != 0x5a);
}

TEST("a snapshot starts anew for the next operation") {
  Guest guest;
  guest.start();
  Snapshot snapshot;
  uint8_t byte;
  guest.memory()[0] = 1;
  snapshot.reset(guest.pid());
  CHECK_EQ(snapshot.fetch(guest.address(), &byte, 1), 0);
  guest.memory()[0] = 2;
  CHECK_EQ(snapshot.fetch(guest.address(), &byte, 1), 0);
  CHECK_EQ(byte, 1);
  snapshot.reset(guest.pid());
  CHECK_EQ(snapshot.fetch(guest.address(), &byte, 1), 0);
  CHECK_EQ(byte, 2);
}

TEST("overlapping and straddling ranges: each byte stays what it was first seen as") {
  Guest guest;
  guest.start();
  std::mt19937 random(5);
  for (int operation = 0; operation < 40; operation++) {
    Snapshot snapshot;
    snapshot.reset(guest.pid());
    std::vector<int> seen(512, -1);
    std::vector<uint8_t> bytes(seen.size());
    for (int fetch = 0; fetch < 60; fetch++) {
      const size_t offset = random() % seen.size(), count = random() % (seen.size() - offset + 1);
      // Across a page boundary of the guest's, so that one fetch may take two pages.
      CHECK_EQ(snapshot.fetch(guest.address(kPageBytes - 256 + offset), bytes.data(), count), 0);
      for (size_t i = 0; i < count; i++) {
        const uint8_t now = guest.memory()[kPageBytes - 256 + offset + i];
        CHECK_EQ(bytes[i], seen[offset + i] < 0 ? now : static_cast<uint8_t>(seen[offset + i]));
        seen[offset + i] = bytes[i];
      }
      // The guest rewrites everything between two fetches.
      for (size_t i = 0; i < seen.size(); i++) guest.memory()[kPageBytes - 256 + i] = static_cast<uint8_t>(random());
    }
  }
}

TEST("a guest that rewrites all the time never shows two values of a byte") {
  Guest guest;
  guest.start([](uint8_t*) {}, [](uint8_t* memory) {
    static uint64_t round = 0;
    round++;
    for (size_t i = 0; i < 256; i += 8) __atomic_store_n(reinterpret_cast<uint64_t*>(memory + i), round, __ATOMIC_RELAXED);
  });
  for (int operation = 0; operation < 200; operation++) {
    Snapshot snapshot;
    snapshot.reset(guest.pid());
    uint8_t middle[64], all[256], again[256];
    CHECK_EQ(snapshot.fetch(guest.address(96), middle, sizeof middle), 0);
    CHECK_EQ(snapshot.fetch(guest.address(), all, sizeof all), 0);
    CHECK_EQ(snapshot.fetch(guest.address(), again, sizeof again), 0);
    CHECK(std::memcmp(all + 96, middle, sizeof middle) == 0);
    CHECK(std::memcmp(all, again, sizeof all) == 0);
  }
}

TEST("a snapshot over a hole is EFAULT, and what was seen before stays") {
  Guest guest;
  guest.start([](uint8_t* memory) { punchHole(memory, 1); });
  Snapshot snapshot;
  snapshot.reset(guest.pid());
  std::vector<uint8_t> bytes(3 * kPageBytes);
  CHECK_EQ(snapshot.fetch(guest.address(kPageBytes - 8), bytes.data(), 8), 0);
  const std::vector<uint8_t> before(bytes.begin(), bytes.begin() + 8);
  std::memset(guest.memory(), 0, kPageBytes);
  for (auto [offset, count] : {std::pair<size_t, size_t>{kPageBytes - 8, 9}, {kPageBytes, 1}, {2 * kPageBytes - 1, 2}, {0, 3 * kPageBytes}})
    CHECK_EQ(snapshot.fetch(guest.address(offset), bytes.data(), count), EFAULT);
  CHECK_EQ(snapshot.fetch(guest.address(kPageBytes - 8), bytes.data(), 8), 0);
  CHECK(std::equal(before.begin(), before.end(), bytes.begin()));
}

TEST("addresses at the end of 64 bits are EFAULT") {
  Guest guest;
  guest.start();
  Snapshot snapshot;
  snapshot.reset(guest.pid());
  uint8_t bytes[16];
  for (uint64_t address : {~uint64_t(0), ~uint64_t(0) - 7, uint64_t(1) << 47, uint64_t(0)})
    CHECK_EQ(snapshot.fetch(address, bytes, sizeof bytes), EFAULT);
}

TEST("a fetch of nothing needs nothing") {
  Snapshot snapshot;
  snapshot.reset(-1);
  CHECK_EQ(snapshot.fetch(0, nullptr, 0), 0);
}

TEST("an operation has so many pieces, and what it has already it gets still") {
  Guest guest;
  guest.start();
  Snapshot snapshot;
  snapshot.reset(guest.pid());
  uint8_t bytes[4];
  for (size_t i = 0; i < Snapshot::kPiecesMax; i++) CHECK_EQ(snapshot.fetch(guest.address(2 * i), bytes, 1), 0);
  CHECK_EQ(snapshot.fetch(guest.address(2 * Snapshot::kPiecesMax), bytes, 1), E2BIG);
  CHECK_EQ(snapshot.fetch(guest.address(0), bytes, 2), E2BIG);
  CHECK_EQ(snapshot.fetch(guest.address(4), bytes, 1), 0);
  CHECK_EQ(bytes[0], guest.memory()[4]);
  snapshot.reset(guest.pid());
  CHECK_EQ(snapshot.fetch(guest.address(0), bytes, 4), 0);
}
