// Invariant 6: a guest has the handles that its driver gave it, and no others.
#include <cstdlib>
#include <new>
#include <random>
#include <set>
#include <tuple>

#include "check.h"
#include "handle_tables.h"

using postern::HandleHolder;
using postern::HandleTables;
using postern::Scope;

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

// Whether any session of the guest has it.
static bool has(const HandleTables& tables, uint32_t table, uint64_t value) { return tables.has(table, value, Scope::kGuest, {}); }

TEST("a value is known in the table that learnt it, and in no other") {
  HandleTables tables(10);
  CHECK(!has(tables, 0, 0));
  CHECK(tables.learn(0, 5, {1, 0}));
  CHECK(has(tables, 0, 5));
  CHECK(!has(tables, 1, 5));
  CHECK(!has(tables, 0, 4));
  CHECK(!has(tables, 0, 5 + (1ull << 32)));
  CHECK(tables.learn(3, ~0ull, {1, 0}));
  CHECK(has(tables, 3, ~0ull));
}

TEST("the limit counts entries of all tables together") {
  HandleTables tables(3);
  CHECK(tables.learn(0, 1, {1, 0}) && tables.learn(1, 1, {1, 0}) && tables.learn(2, 1, {2, 0}));
  CHECK(!tables.learn(0, 2, {1, 0}));
  CHECK(!tables.learn(3, 1, {1, 0}));
  CHECK(!has(tables, 0, 2) && !has(tables, 3, 1));
  CHECK(tables.learn(1, 1, {1, 0}));  // known already: no further entry
  tables.forget(1, 1);
  CHECK(tables.learn(0, 2, {1, 0}));
  CHECK(!tables.learn(0, 3, {1, 0}));
}

TEST("no handles without a limit") {
  HandleTables tables;
  CHECK(!tables.learn(0, 1, {1, 0}));
  CHECK(!has(tables, 0, 1));
}

TEST("forgetting is by table and session") {
  HandleTables tables(10);
  CHECK(tables.learn(0, 1, {1, 0}) && tables.learn(0, 2, {2, 0}) && tables.learn(1, 1, {1, 0}));
  tables.forget(0, 1);
  CHECK(!has(tables, 0, 1));
  CHECK(has(tables, 0, 2) && has(tables, 1, 1));
  tables.forget(7, 1);
  tables.forget(0, 9);
  CHECK(has(tables, 0, 2) && has(tables, 1, 1));
}

TEST("a session that ends takes all of its own with it") {
  HandleTables tables(10);
  CHECK(tables.learn(0, 1, {1, 0}) && tables.learn(1, 2, {1, 0}) && tables.learn(2, 3, {1, 0}) && tables.learn(1, 4, {2, 0}));
  tables.forgetSession(1);
  CHECK(!has(tables, 0, 1) && !has(tables, 1, 2) && !has(tables, 2, 3));
  CHECK(has(tables, 1, 4));
}

TEST("a handle that two sessions have learnt stays until both have ended") {
  for (uint32_t first : {1u, 2u}) {
    HandleTables tables(10);
    CHECK(tables.learn(0, 1, {1, 0}) && tables.learn(0, 1, {2, 0}));
    tables.forgetSession(first);
    CHECK(has(tables, 0, 1));
    tables.forgetSession(3 - first);
    CHECK(!has(tables, 0, 1));
  }
}

TEST("a handle means what its device meant by it") {
  HandleTables tables(10);
  CHECK(tables.learn(0, 40, {1, 7}));
  CHECK(tables.has(0, 40, Scope::kGuest, {2, 8}));
  CHECK(tables.has(0, 40, Scope::kDevice, {2, 7}));
  CHECK(!tables.has(0, 40, Scope::kDevice, {1, 8}));
  CHECK(tables.has(0, 40, Scope::kSession, {1, 7}));
  CHECK(!tables.has(0, 40, Scope::kSession, {2, 7}));
}

TEST("a value that has ended is nobody's, on its device") {
  HandleTables tables(4);
  CHECK(tables.learn(0, 40, {1, 7}) && tables.learn(0, 40, {2, 7}) && tables.learn(0, 40, {3, 8}) && tables.learn(0, 41, {1, 7}));
  tables.forgetValue(0, 40, 7);
  CHECK(!tables.has(0, 40, Scope::kDevice, {1, 7}));
  CHECK(tables.has(0, 40, Scope::kDevice, {3, 8}) && tables.has(0, 41, Scope::kDevice, {1, 7}));
  tables.forgetValue(1, 40, 8);
  tables.forgetValue(0, 42, 7);
  CHECK(has(tables, 0, 40));
  // Their room is free again.
  CHECK(tables.learn(0, 1, {1, 7}) && tables.learn(0, 2, {1, 7}) && !tables.learn(0, 3, {1, 7}));
}

TEST("tables without entries take no memory, whatever numbers a policy names") {
  HandleTables tables(2);
  const long empty = liveAllocations;
  CHECK(tables.learn(0, 1, {1, 0}) && tables.learn(1, 1, {1, 0}));
  const long full = liveAllocations;
  for (uint32_t table = 2; table < 2000; table++) CHECK(!tables.learn(table, 1, {1, 0}));
  CHECK_EQ(liveAllocations, full);
  for (uint32_t table = 2; table < 2000; table++) {
    tables.forget(table - 1, 1);
    CHECK(tables.learn(table, 1, {1, 0}));
  }
  CHECK(liveAllocations <= full);
  tables.forgetSession(1);
  CHECK_EQ(liveAllocations, empty);
}

TEST("random learning and forgetting agrees with a model") {
  std::mt19937 random(11);
  constexpr uint32_t kLimit = 24;
  HandleTables tables(kLimit);
  // Table, value, session; a session's device is its number's last bit.
  std::set<std::tuple<uint32_t, uint64_t, uint32_t>> model;
  auto eraseIf = [&](auto condition) {
    for (auto it = model.begin(); it != model.end();) it = std::apply(condition, *it) ? model.erase(it) : std::next(it);
  };
  for (int round = 0; round < 50000; round++) {
    const uint32_t table = random() % 4, session = random() % 4, device = session & 1;
    const uint64_t value = random() % 12;
    switch (random() % 16) {
      case 0:
        tables.forget(table, session);
        eraseIf([&](uint32_t t, uint64_t, uint32_t s) { return t == table && s == session; });
        break;
      case 1:
        tables.forgetSession(session);
        eraseIf([&](uint32_t, uint64_t, uint32_t s) { return s == session; });
        break;
      case 2:
        tables.forgetValue(table, value, device);
        eraseIf([&](uint32_t t, uint64_t v, uint32_t s) { return t == table && v == value && (s & 1) == device; });
        break;
      default: {
        const bool hasRoom = model.count({table, value, session}) != 0 || model.size() < kLimit;
        CHECK_EQ(tables.learn(table, value, {session, device}), hasRoom);
        if (hasRoom) model.insert({table, value, session});
      }
    }
    const uint32_t asked = random() % 4, asking = random() % 4;
    const uint64_t askedValue = random() % 12;
    bool ofGuest = false, ofDevice = false;
    for (uint32_t s = 0; s < 4; s++) {
      const bool isKnown = model.count({asked, askedValue, s}) != 0;
      ofGuest |= isKnown;
      ofDevice |= isKnown && (s & 1) == (asking & 1);
    }
    const HandleHolder asker{asking, asking & 1};
    CHECK_EQ(tables.has(asked, askedValue, Scope::kGuest, asker), ofGuest);
    CHECK_EQ(tables.has(asked, askedValue, Scope::kDevice, asker), ofDevice);
    CHECK_EQ(tables.has(asked, askedValue, Scope::kSession, asker), model.count({asked, askedValue, asking}) != 0);
  }
}
