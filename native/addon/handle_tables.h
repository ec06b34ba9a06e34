// Invariant 6: handles belong to the guest that got them. The tables are the host's; their entries are values that the driver itself
// wrote into a reply, so neither a guest nor a policy can forge one.
#pragma once

#include <cstdint>
#include <iterator>
#include <map>
#include <unordered_map>
#include <utility>

namespace postern {

class HandleTables {
 public:
  explicit HandleTables(uint32_t handlesMax = 0) : handlesMax_(handlesMax) {}

  // What has been learnt stays, also beyond a smaller limit.
  void setLimit(uint32_t handlesMax) { handlesMax_ = handlesMax; }

  // False when the guest's tables are full.
  bool learn(uint32_t table, uint64_t value, uint32_t session) {
    if (!has(table, value)) {
      if (count_ >= handlesMax_) return false;
      count_++;
    }
    tables_[table][value] = session;
    return true;
  }

  bool has(uint32_t table, uint64_t value) const {
    auto found = tables_.find(table);
    return found != tables_.end() && found->second.count(value) != 0;
  }

  void forget(uint32_t table, uint32_t session) {
    auto found = tables_.find(table);
    if (found != tables_.end()) forgetIn(found, session);
  }

  void forgetSession(uint32_t session) {
    for (auto table = tables_.begin(); table != tables_.end();) table = forgetIn(table, session);
  }

 private:
  // Table -> value -> the session that learnt it. A policy names tables by any number, so there are none without entries.
  using Tables = std::map<uint32_t, std::unordered_map<uint64_t, uint32_t>>;

  Tables::iterator forgetIn(Tables::iterator table, uint32_t session) {
    auto& entries = table->second;
    for (auto entry = entries.begin(); entry != entries.end();) {
      if (entry->second != session) {
        ++entry;
        continue;
      }
      entry = entries.erase(entry);
      count_--;
    }
    return entries.empty() ? tables_.erase(table) : std::next(table);
  }

  uint32_t handlesMax_;
  uint32_t count_ = 0;
  Tables tables_;
};

}  // namespace postern
