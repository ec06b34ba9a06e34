// Descriptors that a mediator's thread keeps for when the process has no more. To look up a path, a thread or a descriptor of the guest takes
// some for a moment: without them a file that is open could not go on, and an open would pass for one of an ordinary file.
#pragma once

#include <array>
#include <cerrno>

#include "descriptors.h"

namespace postern {

// Whether the process, or the machine, has no descriptor left.
inline bool isDescriptorShortage(int error) { return error == EMFILE || error == ENFILE; }

class DescriptorReserve {
 public:
  // The calling thread's own; empty until it is filled.
  static DescriptorReserve& ofThread();

  // Keeps as many again as there should be, or as there are. Nothing to do is the usual case.
  void fill();
  // Gives up what is kept. Whether that was anything.
  bool spend();

  // Whether something was not found, since this was forgotten, because there were no descriptors to look with.
  bool isExhausted() const { return exhausted_; }
  void forgetExhaustion() { exhausted_ = false; }
  void noteExhaustion() { exhausted_ = true; }

 private:
  // A lookup in the guest's view holds most at once: its root, the directory that it begins at, and what was found.
  static constexpr size_t kKept = 3;
  std::array<Descriptor, kKept> kept_;
  bool isWhole_ = false;
  bool exhausted_ = false;
};

// What `make` makes, if need be with what the thread has kept. -1 and errno where it fails.
template <typename Make>
int makeDescriptor(Make make) {
  int made = static_cast<int>(make());
  if (made >= 0 || !isDescriptorShortage(errno)) return made;
  DescriptorReserve& reserve = DescriptorReserve::ofThread();
  if (reserve.spend()) made = static_cast<int>(make());
  if (made < 0 && isDescriptorShortage(errno)) reserve.noteExhaustion();
  return made;
}

}  // namespace postern
