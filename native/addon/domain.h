// A driver domain as the addon sees it: its memory, its channels, its doorbell, and who owns which of its pages.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "channel.h"
#include "descriptors.h"

namespace postern {

struct DomainOptions {
  int memory = -1;           // the VM's RAM file, or the local domain's channel memory
  uint64_t memoryBytes = 0;
  uint32_t channels = 0;
  uint64_t channelsAddress = 0;     // in the agent's address space
  std::vector<uint64_t> pages;      // VM: the file offset of each page of the channels, in order; empty: contiguous from 0
  int doorbell = -1;                // the host's end of the doorbell stream
  std::vector<int> channelEvents;   // local: the agent adds to these itself
};

class Domain {
 public:
  explicit Domain(DomainOptions options);
  ~Domain();

  bool isLocal() const { return options_.pages.empty(); }
  bool isLost() const { return lost_.load(std::memory_order_acquire); }
  void setLost() { lost_.store(true, std::memory_order_release); }
  uint64_t memoryBytes() const { return options_.memoryBytes; }
  // RAM file descriptors for injection: one that may be written through, one that may not (mprotect can't widen it).
  int memoryReadWrite() const { return options_.memory; }
  int memoryReadOnly() const { return readOnly_.get(); }

  // A free channel, started for a new process of a guest that has `held` already. Null when all are in use, or when only the reserve is
  // left and the guest has its share: no guest takes a domain's channels from all others.
  Channel* acquireChannel(uint32_t held = 0);
  void releaseChannel(Channel* channel);

  // Writes the channel's number on the doorbell stream.
  void ring(uint32_t channel);

  // Invariant 7: a page belongs to one guest at a time, and never is one of the channels' own. All or nothing.
  bool claimPages(uint64_t guest, const std::vector<uint64_t>& pages);
  void releasePages(uint64_t guest, const std::vector<uint64_t>& pages);

  // Gives back the memory of a VM that has ended, but for the pages that guests still map: who keeps a few must not keep all of it.
  void releaseMemory();

  // A device of an exclusive class is open in one guest at a time: counts the guest's open files of it. False: another guest has it.
  bool claimDevice(uint64_t guest, const std::string& device);
  void releaseDevice(uint64_t guest, const std::string& device);

 private:
  struct Owner {
    uint64_t guest;
    uint32_t mappings;
  };
  void mapChannels();
  void unmapChannels();
  void listen();

  DomainOptions options_;
  Descriptor readOnly_;
  uint8_t* window_ = nullptr;
  std::vector<std::unique_ptr<Channel>> channels_;
  std::vector<bool> inUse_;
  std::vector<Descriptor> events_;
  std::unordered_map<uint64_t, Owner> owners_;
  struct Holder {
    uint64_t guest;
    uint32_t files;
  };
  std::unordered_map<std::string, Holder> holders_;  // of exclusive devices, by name
  std::mutex mutex_, ringMutex_;
  std::atomic<bool> lost_{false};
  std::thread listener_;
  Descriptor stop_;
};

// Domains of this process by number: workers find the main thread's domain here.
uint32_t addDomain(std::shared_ptr<Domain> domain);
std::shared_ptr<Domain> findDomain(uint32_t id);
void removeDomain(uint32_t id);

}  // namespace postern
