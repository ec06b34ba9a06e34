#include "descriptor_reserve.h"

#include <sys/eventfd.h>

#include <algorithm>

namespace postern {

DescriptorReserve& DescriptorReserve::ofThread() {
  static thread_local DescriptorReserve reserve;
  return reserve;
}

void DescriptorReserve::fill() {
  if (isWhole_) return;
  for (Descriptor& kept : kept_)
    if (!kept.valid()) kept.reset(eventfd(0, EFD_CLOEXEC));
  isWhole_ = std::all_of(kept_.begin(), kept_.end(), [](const Descriptor& kept) { return kept.valid(); });
}

bool DescriptorReserve::spend() {
  const bool hadAny = std::any_of(kept_.begin(), kept_.end(), [](const Descriptor& kept) { return kept.valid(); });
  for (Descriptor& kept : kept_) kept.reset();
  isWhole_ = false;
  return hadAny;
}

}  // namespace postern
