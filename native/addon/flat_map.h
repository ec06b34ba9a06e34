// A map for a handful of entries that come and go at every operation: one vector, searched from the front, which allocates nothing once
// it is as long as it gets.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace postern {

template <typename Value>
class FlatMap {
 public:
  using Entry = std::pair<uint64_t, Value>;
  using iterator = typename std::vector<Entry>::iterator;
  using const_iterator = typename std::vector<Entry>::const_iterator;

  iterator begin() { return entries_.begin(); }
  iterator end() { return entries_.end(); }
  const_iterator begin() const { return entries_.begin(); }
  const_iterator end() const { return entries_.end(); }
  size_t size() const { return entries_.size(); }
  bool empty() const { return entries_.empty(); }

  iterator find(uint64_t key) {
    for (auto it = entries_.begin(); it != entries_.end(); ++it)
      if (it->first == key) return it;
    return entries_.end();
  }
  // The key must not be there yet.
  void add(uint64_t key, Value value) { entries_.emplace_back(key, std::move(value)); }
  // The last entry takes the place of the one that goes. Returns where the next one is.
  iterator erase(iterator at) {
    if (&*at != &entries_.back()) *at = std::move(entries_.back());
    entries_.pop_back();
    return at;
  }
  void erase(uint64_t key) {
    auto found = find(key);
    if (found != end()) erase(found);
  }

 private:
  std::vector<Entry> entries_;
};

}  // namespace postern
