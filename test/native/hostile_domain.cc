#include "hostile_domain.h"

#include <sys/mman.h>
#include <sys/socket.h>

#include "check.h"

using namespace postern;

namespace {

constexpr uint64_t kChannelPages = POSTERN_CHANNEL_BYTES / POSTERN_PAGE_BYTES;
constexpr uint64_t kAgentAddress = 0x7000000000;

uint64_t bytesFor(uint32_t channels) { return (channels * kChannelPages + kSparePages) * POSTERN_PAGE_BYTES; }

}  // namespace

int memoryFor(uint32_t channels) {
  const int memory = memfd_create("postern-test-domain", MFD_CLOEXEC);
  CHECK(memory >= 0);
  CHECK_EQ(ftruncate(memory, static_cast<off_t>(bytesFor(channels))), 0);
  return memory;
}

DomainOptions goodOptions(Kind kind, uint32_t channels, int memory) {
  DomainOptions options;
  options.memory = memory;
  options.memoryBytes = bytesFor(channels);
  options.channels = channels;
  options.channelsAddress = kAgentAddress;
  if (kind == Kind::kVm)
    for (uint64_t page = channels * kChannelPages; page-- > 0;) options.pages.push_back(page * POSTERN_PAGE_BYTES);
  return options;
}

HostileDomain::HostileDomain(Kind kind, uint32_t channels) : memory_(memoryFor(channels)) {
  options_ = goodOptions(kind, channels, memory_.get());
  void* ram = mmap(nullptr, options_.memoryBytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory_.get(), 0);
  CHECK(ram != MAP_FAILED);
  ram_ = static_cast<uint8_t*>(ram);
  if (kind == Kind::kVm) {
    int ends[2];
    CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    hostDoorbell_.reset(ends[0]);
    doorbell_.reset(ends[1]);
    options_.doorbell = ends[0];
  }
  domain_ = std::make_unique<Domain>(options_);
}

HostileDomain::~HostileDomain() {
  domain_.reset();
  munmap(ram_, options_.memoryBytes);
}

postern_channel& HostileDomain::shared(uint32_t index) {
  return *reinterpret_cast<postern_channel*>(ram_ + uint64_t(index) * POSTERN_CHANNEL_BYTES);
}

std::vector<uint32_t> HostileDomain::rings() {
  std::vector<uint32_t> numbers;
  uint32_t number;
  while (recv(doorbell_.get(), &number, sizeof number, MSG_DONTWAIT) == sizeof number) numbers.push_back(number);
  return numbers;
}
