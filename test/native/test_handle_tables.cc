// Invariant 6: a guest has the handles that its driver gave it, and no others.
#include <cstdlib>
#include <map>
#include <new>
#include <random>

#include "check.h"
#include "handle_tables.h"

using postern::HandleTables;

// Live allocations of the whole program: tables that nobody counts would show here.
static long liveAllocations = 0;

void* operator new(std::size_t bytes) {
  void* memory = std::malloc(bytes);
  if (memory == nullptr) throw std::bad_alloc();
  liveAllocations++;
  return memory;
}
void operator delete(void* memory) noexcept {
  if (memory != nullptr) liveAllocations--;
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept { operator delete(memory); }

TEST("a value is known in the table that learnt it, and in no other") {
  HandleTables tables(10);
  CHECK(!tables.has(0, 0));
  CHECK(tables.learn(0, 5, 1));
  CHECK(tables.has(0, 5));
  CHECK(!tables.has(1, 5));
  CHECK(!tables.has(0, 4));
  CHECK(!tables.has(0, 5 + (1ull << 32)));
  CHECK(tables.learn(3, ~0ull, 1));
  CHECK(tables.has(3, ~0ull));
}

TEST("the limit counts entries of all tables together") {
  HandleTables tables(3);
  CHECK(tables.learn(0, 1, 1) && tables.learn(1, 1, 1) && tables.learn(2, 1, 2));
  CHECK(!tables.learn(0, 2, 1));
  CHECK(!tables.learn(3, 1, 1));
  CHECK(!tables.has(0, 2) && !tables.has(3, 1));
  CHECK(tables.learn(1, 1, 1));  // known already: no further entry
  tables.forget(1, 1);
  CHECK(tables.learn(0, 2, 1));
  CHECK(!tables.learn(0, 3, 1));
}

TEST("no handles without a limit") {
  HandleTables tables;
  CHECK(!tables.learn(0, 1, 1));
  CHECK(!tables.has(0, 1));
}

TEST("forgetting is by table and session") {
  HandleTables tables(10);
  CHECK(tables.learn(0, 1, 1) && tables.learn(0, 2, 2) && tables.learn(1, 1, 1));
  tables.forget(0, 1);
  CHECK(!tables.has(0, 1));
  CHECK(tables.has(0, 2) && tables.has(1, 1));
  tables.forget(7, 1);
  tables.forget(0, 9);
  CHECK(tables.has(0, 2) && tables.has(1, 1));
}

TEST("a session that ends takes all of its own with it") {
  HandleTables tables(10);
  CHECK(tables.learn(0, 1, 1) && tables.learn(1, 2, 1) && tables.learn(2, 3, 1) && tables.learn(1, 4, 2));
  tables.forgetSession(1);
  CHECK(!tables.has(0, 1) && !tables.has(1, 2) && !tables.has(2, 3));
  CHECK(tables.has(1, 4));
}

TEST("a handle learnt again belongs to the later session") {
  HandleTables tables(10);
  CHECK(tables.learn(0, 1, 1) && tables.learn(0, 1, 2));
  tables.forgetSession(1);
  CHECK(tables.has(0, 1));
  tables.forgetSession(2);
  CHECK(!tables.has(0, 1));
}

TEST("tables without entries take no memory, whatever numbers a policy names") {
  HandleTables tables(2);
  const long empty = liveAllocations;
  CHECK(tables.learn(0, 1, 1) && tables.learn(1, 1, 1));
  const long full = liveAllocations;
  for (uint32_t table = 2; table < 2000; table++) CHECK(!tables.learn(table, 1, 1));
  CHECK_EQ(liveAllocations, full);
  for (uint32_t table = 2; table < 2000; table++) {
    tables.forget(table - 1, 1);
    CHECK(tables.learn(table, 1, 1));
  }
  CHECK(liveAllocations <= full);
  tables.forgetSession(1);
  CHECK_EQ(liveAllocations, empty);
}

TEST("random learning and forgetting agrees with a model") {
  std::mt19937 random(11);
  constexpr uint32_t kLimit = 24;
  HandleTables tables(kLimit);
  std::map<std::pair<uint32_t, uint64_t>, uint32_t> model;
  auto eraseIf = [&](auto condition) {
    for (auto it = model.begin(); it != model.end();) it = condition(it) ? model.erase(it) : std::next(it);
  };
  for (int round = 0; round < 50000; round++) {
    const uint32_t table = random() % 4, session = random() % 3;
    const uint64_t value = random() % 12;
    switch (random() % 16) {
      case 0:
        tables.forget(table, session);
        eraseIf([&](auto it) { return it->first.first == table && it->second == session; });
        break;
      case 1:
        tables.forgetSession(session);
        eraseIf([&](auto it) { return it->second == session; });
        break;
      default: {
        const bool hasRoom = model.count({table, value}) != 0 || model.size() < kLimit;
        CHECK_EQ(tables.learn(table, value, session), hasRoom);
        if (hasRoom) model[{table, value}] = session;
      }
    }
    const uint32_t asked = random() % 4;
    const uint64_t askedValue = random() % 12;
    CHECK_EQ(tables.has(asked, askedValue), model.count({asked, askedValue}) != 0);
  }
}
