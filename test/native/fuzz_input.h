// What the fuzz targets of shared memory have in common: the fuzzer's bytes as numbers, and a check that ends the run.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>

inline void demand(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "Not so: %s.\n", what);
  std::abort();
}

// Zeroes come when there are no more bytes.
class Input {
 public:
  Input(const uint8_t* bytes, size_t count) : at_(bytes), end_(bytes + count) {}
  bool isEmpty() const { return at_ == end_; }
  uint8_t byte() { return at_ < end_ ? *at_++ : 0; }
  uint32_t word() { return byte() | uint32_t(byte()) << 8 | uint32_t(byte()) << 16 | uint32_t(byte()) << 24; }

 private:
  const uint8_t *at_, *end_;
};
