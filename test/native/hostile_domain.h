// A driver domain whose other side is the test: its memory, mapped a second time, and the far end of its doorbell.
#pragma once

#include <cstdint>
#include <vector>

#include "descriptors.h"
#include "domain.h"
#include "protocol.h"

// A local domain's channels lie in their memory one after the other; a VM's channels are scattered over its RAM, page by page.
enum class Kind { kLocal, kVm };

class HostileDomain {
 public:
  explicit HostileDomain(Kind kind, uint32_t channels = 1);
  ~HostileDomain();
  HostileDomain(const HostileDomain&) = delete;
  HostileDomain& operator=(const HostileDomain&) = delete;

  postern::Domain& domain() { return *domain_; }
  // What the other side sees of channel `index`: a copy that can be scribbled on. For a local domain only, where it is contiguous.
  postern_channel& shared(uint32_t index = 0);
  uint8_t* ram() { return ram_; }
  const std::vector<uint64_t>& pages() const { return options_.pages; }
  const postern::DomainOptions& options() const { return options_; }
  int doorbell() const { return doorbell_.get(); }
  // The numbers rung since the last call.
  std::vector<uint32_t> rings();

 private:
  postern::DomainOptions options_;
  postern::Descriptor memory_, hostDoorbell_, doorbell_;
  uint8_t* ram_ = nullptr;
  std::unique_ptr<postern::Domain> domain_;
};

// RAM beyond the channels, for pages that guests may be given.
constexpr uint64_t kSparePages = 64;

// The options of a good domain over `memory`, for a test to spoil. The VM's pages are in an order that no two follow each other.
postern::DomainOptions goodOptions(Kind kind, uint32_t channels, int memory);
// A memory file of the size that goodOptions wants.
int memoryFor(uint32_t channels);
