// Invariant 6: handles belong to the guest that got them. The tables are the host's; their entries are values that the driver itself
// wrote into a reply, so neither a guest nor a policy can forge one.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>
#include <unordered_map>
#include <utility>
#include <vector>

#include "exchange.h"

namespace postern {

// The session that has learnt a handle, and the device that it has open: the same number means something else on another device.
struct HandleHolder {
  uint32_t session = 0, device = 0;

  bool isWithin(Scope scope, const HandleHolder& asking) const {
    if (scope == Scope::kSession) return session == asking.session;
    return scope == Scope::kGuest || device == asking.device;
  }
};

class HandleTables {
 public:
  explicit HandleTables(uint32_t handlesMax = 0) : handlesMax_(handlesMax) {}

  // What has been learnt stays, also beyond a smaller limit.
  void setLimit(uint32_t handlesMax) { handlesMax_ = handlesMax; }

  // False when the guest's tables are full.
  bool learn(uint32_t table, uint64_t value, HandleHolder holder) {
    if (has(table, value, Scope::kSession, holder)) return true;
    if (count_ >= handlesMax_) return false;
    tables_[table][value].push_back(holder);
    count_++;
    return true;
  }

  bool has(uint32_t table, uint64_t value, Scope scope, HandleHolder asking) const {
    auto found = tables_.find(table);
    if (found == tables_.end()) return false;
    auto entry = found->second.find(value);
    if (entry == found->second.end()) return false;
    return std::any_of(entry->second.begin(), entry->second.end(), [&](auto& holder) { return holder.isWithin(scope, asking); });
  }

  // All that the session has in the table.
  void forget(uint32_t table, uint32_t session) {
    auto found = tables_.find(table);
    if (found != tables_.end()) forgetIn(found, [&](auto& holder) { return holder.session == session; });
  }

  // A value of a device, whichever of the guest's sessions has it.
  void forgetValue(uint32_t table, uint64_t value, uint32_t device) {
    auto found = tables_.find(table);
    if (found == tables_.end()) return;
    auto entry = found->second.find(value);
    if (entry == found->second.end()) return;
    dropFrom(entry->second, [&](auto& holder) { return holder.device == device; });
    if (entry->second.empty()) found->second.erase(entry);
    if (found->second.empty()) tables_.erase(found);
  }

  void forgetSession(uint32_t session) {
    for (auto table = tables_.begin(); table != tables_.end();)
      table = forgetIn(table, [&](auto& holder) { return holder.session == session; });
  }

 private:
  using Holders = std::vector<HandleHolder>;
  // Table -> value -> who has learnt it. A policy names tables by any number, so there are none without entries.
  using Tables = std::map<uint32_t, std::unordered_map<uint64_t, Holders>>;

  template <typename Condition>
  void dropFrom(Holders& holders, Condition condition) {
    const auto end = std::remove_if(holders.begin(), holders.end(), condition);
    count_ -= static_cast<uint32_t>(holders.end() - end);
    holders.erase(end, holders.end());
  }

  template <typename Condition>
  Tables::iterator forgetIn(Tables::iterator table, Condition condition) {
    auto& entries = table->second;
    for (auto entry = entries.begin(); entry != entries.end();) {
      dropFrom(entry->second, condition);
      entry = entry->second.empty() ? entries.erase(entry) : std::next(entry);
    }
    return entries.empty() ? tables_.erase(table) : std::next(table);
  }

  uint32_t handlesMax_;
  uint32_t count_ = 0;
  Tables tables_;
};

}  // namespace postern
