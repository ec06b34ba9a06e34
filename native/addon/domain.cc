#include "domain.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace postern {
namespace {

// The owner of the pages that no guest may ever get: rings and arenas.
constexpr uint64_t kHostItself = ~0ull;

[[noreturn]] void systemFailure(const char* what) { throw std::runtime_error(std::string(what) + ": " + std::strerror(errno)); }

}  // namespace

Domain::Domain(DomainOptions options) : options_(std::move(options)) {
  if (options_.channels == 0 || options_.channels > POSTERN_CHANNELS_MAX)
    throw std::runtime_error("the driver domain offers no usable number of channels");
  std::string path = "/proc/self/fd/" + std::to_string(options_.memory);
  readOnly_.reset(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!readOnly_.valid()) systemFailure("re-opening the driver domain's memory for reading");
  try {
    mapChannels();
  } catch (...) {
    unmapChannels();
    throw;
  }
  inUse_.resize(options_.channels);
  for (uint32_t i = 0; i < options_.channels; i++) {
    int event;
    if (i < options_.channelEvents.size()) {
      event = options_.channelEvents[i];
    } else {
      events_.emplace_back(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
      event = events_.back().get();
      if (event < 0) systemFailure("eventfd");
    }
    channels_.push_back(std::make_unique<Channel>(*this, i, window_ + uint64_t(i) * POSTERN_CHANNEL_BYTES,
                                                  options_.channelsAddress + uint64_t(i) * POSTERN_CHANNEL_BYTES, event));
  }
  if (options_.doorbell >= 0) {
    stop_.reset(eventfd(0, EFD_CLOEXEC));
    listener_ = std::thread([this] { listen(); });
  }
}

Domain::~Domain() {
  if (listener_.joinable()) {
    uint64_t one = 1;
    (void)!write(stop_.get(), &one, sizeof one);
    listener_.join();
  }
  unmapChannels();
}

void Domain::unmapChannels() {
  if (window_ != nullptr) munmap(window_, uint64_t(options_.channels) * POSTERN_CHANNEL_BYTES);
}

// The channels are scattered in the VM's RAM: the host sees them as one range, mapped run by run.
void Domain::mapChannels() {
  const uint64_t bytes = uint64_t(options_.channels) * POSTERN_CHANNEL_BYTES;
  const size_t pages = bytes / POSTERN_PAGE_BYTES;
  if (!isLocal() && options_.pages.size() != pages) throw std::runtime_error("the agent's page list has the wrong length");
  void* window = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (window == MAP_FAILED) systemFailure("reserving the channels' window");
  window_ = static_cast<uint8_t*>(window);
  auto mapRun = [&](size_t first, size_t count, uint64_t offset) {
    if (offset % POSTERN_PAGE_BYTES != 0 || offset > options_.memoryBytes || count * POSTERN_PAGE_BYTES > options_.memoryBytes - offset)
      throw std::runtime_error("the agent named a page outside its memory");
    if (mmap(window_ + first * POSTERN_PAGE_BYTES, count * POSTERN_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
             options_.memory, static_cast<off_t>(offset)) == MAP_FAILED)
      systemFailure("mapping the channels");
  };
  if (isLocal()) return mapRun(0, pages, 0);
  for (size_t first = 0; first < pages;) {
    size_t count = 1;
    while (first + count < pages && options_.pages[first + count] == options_.pages[first] + count * POSTERN_PAGE_BYTES) count++;
    mapRun(first, count, options_.pages[first]);
    first += count;
  }
  for (uint64_t page : options_.pages)
    if (!owners_.emplace(page, Owner{kHostItself, 1}).second) throw std::runtime_error("the agent named a page twice");
}

// Turns the VM's doorbell, one stream for all channels, into one event counter a channel.
void Domain::listen() {
  uint32_t numbers[256];
  size_t have = 0;
  for (;;) {
    pollfd fds[2] = {{options_.doorbell, POLLIN, 0}, {stop_.get(), POLLIN, 0}};
    if (poll(fds, 2, -1) < 0 && errno != EINTR) break;
    if (fds[1].revents != 0) return;
    if (fds[0].revents == 0) continue;
    ssize_t got = read(options_.doorbell, reinterpret_cast<uint8_t*>(numbers) + have, sizeof numbers - have);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got <= 0) break;
    have += static_cast<size_t>(got);
    uint64_t one = 1;
    for (size_t i = 0; i < have / 4; i++)
      if (numbers[i] < channels_.size()) (void)!write(channels_[numbers[i]]->event(), &one, sizeof one);
    if (have % 4 != 0) std::memmove(numbers, numbers + have / 4, have % 4);
    have %= 4;
  }
  // The other side has gone: wake everyone, so that they see it.
  lost_.store(true, std::memory_order_release);
  uint64_t one = 1;
  for (auto& channel : channels_) (void)!write(channel->event(), &one, sizeof one);
}

Channel* Domain::acquireChannel(uint32_t held) {
  // A quarter of the channels is for guests that have few: so many that a small program with a helper or two always finds one.
  constexpr uint32_t kReservedPart = 4, kShare = 4;
  std::lock_guard<std::mutex> lock(mutex_);
  const uint32_t free = static_cast<uint32_t>(std::count(inUse_.begin(), inUse_.end(), false));
  if (held >= kShare && free <= options_.channels / kReservedPart) return nullptr;
  for (uint32_t i = 0; i < channels_.size(); i++) {
    if (inUse_[i] || channels_[i]->state() != POSTERN_CHANNEL_FREE) continue;
    inUse_[i] = true;
    channels_[i]->start();
    return channels_[i].get();
  }
  return nullptr;
}

void Domain::releaseChannel(Channel* channel) {
  channel->stop();
  std::lock_guard<std::mutex> lock(mutex_);
  inUse_[channel->index()] = false;
}

void Domain::ring(uint32_t channel) {
  // Of a domain that has ended the stream may be closed, and its number another file's.
  if (options_.doorbell < 0 || isLost()) return;
  std::lock_guard<std::mutex> lock(ringMutex_);
  // Never blocks: a driver domain that leaves tens of thousands of rings unread has stopped serving anyway.
  (void)send(options_.doorbell, &channel, sizeof channel, MSG_DONTWAIT | MSG_NOSIGNAL);
}

bool Domain::claimPages(uint64_t guest, const std::vector<uint64_t>& pages) {
  // A local domain's memory is nothing but channels.
  if (isLocal() && !pages.empty()) return false;
  std::lock_guard<std::mutex> lock(mutex_);
  for (uint64_t page : pages) {
    if (page % POSTERN_PAGE_BYTES != 0 || page >= options_.memoryBytes) return false;
    auto owner = owners_.find(page);
    if (owner != owners_.end() && owner->second.guest != guest) return false;
  }
  for (uint64_t page : pages) owners_.emplace(page, Owner{guest, 0}).first->second.mappings++;
  return true;
}

void Domain::releasePages(uint64_t guest, const std::vector<uint64_t>& pages) {
  std::lock_guard<std::mutex> lock(mutex_);
  for (uint64_t page : pages) {
    auto owner = owners_.find(page);
    if (owner == owners_.end() || owner->second.guest != guest) continue;
    if (--owner->second.mappings == 0) owners_.erase(owner);
  }
}

void Domain::releaseMemory() {
  if (isLocal() || !isLost()) return;
  std::lock_guard<std::mutex> lock(mutex_);
  std::vector<uint64_t> kept;
  for (auto& [page, owner] : owners_)
    if (owner.guest != kHostItself) kept.push_back(page);
  std::sort(kept.begin(), kept.end());
  kept.push_back(options_.memoryBytes);
  uint64_t from = 0;
  for (uint64_t page : kept) {
    if (page > from)
      (void)fallocate(options_.memory, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(from), static_cast<off_t>(page - from));
    from = page + POSTERN_PAGE_BYTES;
  }
}

bool Domain::claimDevice(uint64_t guest, const std::string& device) {
  std::lock_guard<std::mutex> lock(mutex_);
  Holder& holder = holders_.emplace(device, Holder{guest, 0}).first->second;
  if (holder.guest != guest) return false;
  holder.files++;
  return true;
}

void Domain::releaseDevice(uint64_t guest, const std::string& device) {
  std::lock_guard<std::mutex> lock(mutex_);
  auto holder = holders_.find(device);
  if (holder != holders_.end() && holder->second.guest == guest && --holder->second.files == 0) holders_.erase(holder);
}

namespace {
std::mutex domainsMutex;
std::unordered_map<uint32_t, std::shared_ptr<Domain>> domains;
uint32_t nextDomain = 1;
}  // namespace

uint32_t addDomain(std::shared_ptr<Domain> domain) {
  std::lock_guard<std::mutex> lock(domainsMutex);
  domains[nextDomain] = std::move(domain);
  return nextDomain++;
}

std::shared_ptr<Domain> findDomain(uint32_t id) {
  std::lock_guard<std::mutex> lock(domainsMutex);
  auto it = domains.find(id);
  return it == domains.end() ? nullptr : it->second;
}

void removeDomain(uint32_t id) {
  std::lock_guard<std::mutex> lock(domainsMutex);
  auto found = domains.find(id);
  if (found == domains.end()) return;
  // Its memory's descriptor is about to be closed.
  found->second->releaseMemory();
  domains.erase(found);
}

}  // namespace postern
