// Invariant 6: handles belong to the guest that got them. The tables are the host's; their entries are values that the driver itself
// wrote into a reply, so neither a guest nor a policy can forge one.
#pragma once

#include <cstdint>
#include <map>
#include <unordered_map>
#include <utility>

namespace postern {

class HandleTables {
 public:
  explicit HandleTables(uint32_t handlesMax = 0) : handlesMax_(handlesMax) {}

  // False when the guest's tables are full.
  bool learn(uint32_t table, uint64_t value, uint32_t session) {
    auto& entries = tables_[table];
    auto known = entries.find(value);
    if (known != entries.end()) {
      known->second = session;
      return true;
    }
    if (count_ >= handlesMax_) return false;
    entries.emplace(value, session);
    count_++;
    return true;
  }

  bool has(uint32_t table, uint64_t value) const {
    auto found = tables_.find(table);
    return found != tables_.end() && found->second.count(value) != 0;
  }

  void forget(uint32_t table, uint32_t session) {
    auto found = tables_.find(table);
    if (found == tables_.end()) return;
    auto& entries = found->second;
    for (auto entry = entries.begin(); entry != entries.end();) {
      if (entry->second != session) {
        ++entry;
        continue;
      }
      entry = entries.erase(entry);
      count_--;
    }
  }

  void forgetSession(uint32_t session) {
    for (auto& [table, entries] : tables_) forget(table, session);
  }

 private:
  uint32_t handlesMax_;
  uint32_t count_ = 0;
  std::map<uint32_t, std::unordered_map<uint64_t, uint32_t>> tables_;  // table -> value -> the session that learnt it
};

}  // namespace postern
