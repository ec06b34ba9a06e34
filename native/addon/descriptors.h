// Descriptors that Node can't make by itself: memory files, socket pairs, event counters.
#pragma once

#include <unistd.h>

#include <utility>

#include "window.h"

namespace postern {

// Whether a guest's descriptor is one that the filter notifies.
inline bool isInWindow(int number) { return number >= int(POSTERN_WINDOW_FIRST) && number <= int(POSTERN_WINDOW_LAST); }

// Owns one file descriptor and closes it.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) reset(std::exchange(other.fd_, -1));
    return *this;
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset(int fd = -1) {
    if (fd_ >= 0) close(fd_);
    fd_ = fd;
  }

 private:
  int fd_ = -1;
};

}  // namespace postern
