// Invariant 7: a driver domain can't hand one guest the pages of another, nor make the host map what is not its memory.
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <map>
#include <random>

#include "check.h"
#include "hostile_domain.h"

using namespace postern;

namespace {

constexpr uint64_t kPage = POSTERN_PAGE_BYTES;
constexpr uint64_t kAlice = 1, kBob = 2;
constexpr int kPatienceMs = 10000;

// The first of the pages that are no channel's.
uint64_t spare(const HostileDomain& other, uint64_t index = 0) {
  return other.options().memoryBytes - (kSparePages - index) * kPage;
}

bool isSignalled(int event, int waitMs = kPatienceMs) {
  pollfd one{event, POLLIN, 0};
  return poll(&one, 1, waitMs) == 1;
}

size_t mappedRanges() {
  std::ifstream maps("/proc/self/maps");
  return static_cast<size_t>(std::count(std::istreambuf_iterator<char>(maps), std::istreambuf_iterator<char>(), '\n'));
}

// Domains that must be refused: a good one, spoilt by `spoil`.
template <typename Spoil>
void checkRefused(Kind kind, Spoil spoil) {
  Descriptor memory(memoryFor(2));
  DomainOptions options = goodOptions(kind, 2, memory.get());
  { Domain good(options); }
  spoil(options);
  CHECK_THROWS(Domain(options));
}

}  // namespace

TEST("a domain has at least one channel and not too many") {
  for (uint32_t channels : {0u, POSTERN_CHANNELS_MAX + 1, 0xffffffffu})
    checkRefused(Kind::kLocal, [&](DomainOptions& options) { options.channels = channels; });
  HostileDomain most(Kind::kLocal, POSTERN_CHANNELS_MAX);
  for (uint32_t i = 0; i < POSTERN_CHANNELS_MAX; i++) CHECK(most.domain().acquireChannel() != nullptr);
  CHECK(most.domain().acquireChannel() == nullptr);
}

TEST("memory that is no file is refused") {
  checkRefused(Kind::kLocal, [](DomainOptions& options) { options.memory = -1; });
}

TEST("channels that don't fit into the memory are refused") {
  for (uint64_t bytes : {uint64_t(0), uint64_t(1), kPage, 2 * uint64_t(POSTERN_CHANNEL_BYTES) - 1})
    checkRefused(Kind::kLocal, [&](DomainOptions& options) { options.memoryBytes = bytes; });
}

TEST("a page list of the wrong length is refused") {
  checkRefused(Kind::kVm, [](DomainOptions& options) { options.pages.pop_back(); });
  checkRefused(Kind::kVm, [](DomainOptions& options) { options.pages.push_back(options.memoryBytes - kPage); });
  checkRefused(Kind::kVm, [](DomainOptions& options) { options.pages.resize(1); });
}

TEST("a channel page outside the memory is refused, wherever it stands in the list") {
  const size_t last = 2 * POSTERN_CHANNEL_BYTES / kPage - 1;
  for (size_t place : {size_t(0), size_t(100), last}) {
    for (uint64_t beyond : {uint64_t(0), kPage, uint64_t(1) << 40, uint64_t(1) << 63})
      checkRefused(Kind::kVm, [&](DomainOptions& options) { options.pages[place] = options.memoryBytes + beyond; });
    checkRefused(Kind::kVm, [&](DomainOptions& options) { options.pages[place] = ~uint64_t(0); });
    checkRefused(Kind::kVm, [&](DomainOptions& options) { options.pages[place] = uint64_t(0) - kPage; });
  }
}

TEST("a run of pages that leaves the memory, or wraps around, is refused") {
  checkRefused(Kind::kVm, [](DomainOptions& options) {
    options.pages[0] = options.memoryBytes - kPage;
    options.pages[1] = options.memoryBytes;
  });
  checkRefused(Kind::kVm, [](DomainOptions& options) {
    options.pages[0] = uint64_t(0) - kPage;
    options.pages[1] = 0;
  });
}

TEST("a channel page at no page boundary is refused") {
  for (uint64_t off : {uint64_t(1), uint64_t(8), kPage - 1})
    checkRefused(Kind::kVm, [&](DomainOptions& options) { options.pages[3] = options.memoryBytes - 2 * kPage + off; });
}

TEST("a channel page named twice is refused: two channels would share it") {
  checkRefused(Kind::kVm, [](DomainOptions& options) { options.pages[5] = options.pages[400]; });
  checkRefused(Kind::kVm, [](DomainOptions& options) { options.pages[5] = options.pages[4]; });
}

TEST("a domain that was refused leaves nothing mapped") {
  Descriptor memory(memoryFor(2));
  DomainOptions options = goodOptions(Kind::kVm, 2, memory.get());
  options.pages[5] = options.pages[400];
  CHECK_THROWS(Domain(options));
  const size_t before = mappedRanges();
  for (int i = 0; i < 5; i++) CHECK_THROWS(Domain(options));
  CHECK(mappedRanges() < before + 100);  // Each window of this domain is some 500 ranges.
}

TEST("scattered pages make one channel, in the agent's order") {
  for (bool isShuffled : {false, true}) {
    Descriptor memory(memoryFor(2));
    DomainOptions options = goodOptions(Kind::kVm, 2, memory.get());
    if (isShuffled)
      std::shuffle(options.pages.begin(), options.pages.end(), std::mt19937(4));
    else
      std::reverse(options.pages.begin(), options.pages.end());  // One run.
    for (size_t i = 0; i < options.pages.size(); i++) {
      const uint64_t mark = 0x1000 + i;
      // Into the last word of the page, which is of no ring.
      CHECK_EQ(pwrite(memory.get(), &mark, sizeof mark, static_cast<off_t>(options.pages[i] + kPage - sizeof mark)), sizeof mark);
    }
    Domain domain(options);
    const size_t channelPages = POSTERN_CHANNEL_BYTES / kPage, headPages = POSTERN_CHANNEL_HEAD_BYTES / kPage;
    for (size_t index = 0; index < 2; index++) {
      Channel* channel = domain.acquireChannel();
      for (size_t page = headPages; page < channelPages; page++) {
        uint64_t mark;
        std::memcpy(&mark, channel->at(static_cast<uint32_t>((page - headPages + 1) * kPage - sizeof mark)), sizeof mark);
        CHECK_EQ(mark, 0x1000 + index * channelPages + page);
      }
    }
  }
}

TEST("a page belongs to one guest at a time") {
  HostileDomain other(Kind::kVm);
  Domain& domain = other.domain();
  const std::vector<uint64_t> pages{spare(other, 0), spare(other, 5)};
  CHECK(domain.claimPages(kAlice, pages));
  CHECK(!domain.claimPages(kBob, pages));
  CHECK(!domain.claimPages(kBob, {spare(other, 5)}));
  CHECK(domain.claimPages(kBob, {spare(other, 1)}));
  domain.releasePages(kAlice, pages);
  CHECK(domain.claimPages(kBob, pages));
  CHECK(!domain.claimPages(kAlice, {spare(other, 0)}));
}

TEST("pages are claimed all or none") {
  HostileDomain other(Kind::kVm);
  Domain& domain = other.domain();
  CHECK(domain.claimPages(kBob, {spare(other, 9)}));
  CHECK(!domain.claimPages(kAlice, {spare(other, 0), spare(other, 1), spare(other, 9)}));
  CHECK(!domain.claimPages(kAlice, {spare(other, 0), spare(other, 1), other.options().memoryBytes}));
  CHECK(!domain.claimPages(kAlice, {spare(other, 0), spare(other, 1), other.pages()[0]}));
  CHECK(domain.claimPages(kBob, {spare(other, 0), spare(other, 1)}));
}

TEST("a guest may map a page of its own several times; it is free after the last") {
  HostileDomain other(Kind::kVm);
  Domain& domain = other.domain();
  const std::vector<uint64_t> page{spare(other)};
  for (int i = 0; i < 3; i++) CHECK(domain.claimPages(kAlice, page));
  for (int i = 0; i < 3; i++) {
    CHECK(!domain.claimPages(kBob, page));
    domain.releasePages(kAlice, page);
  }
  CHECK(domain.claimPages(kBob, page));
}

TEST("a page named twice in one claim is counted twice") {
  HostileDomain other(Kind::kVm);
  Domain& domain = other.domain();
  const std::vector<uint64_t> twice{spare(other), spare(other)};
  CHECK(domain.claimPages(kAlice, twice));
  domain.releasePages(kAlice, {spare(other)});
  CHECK(!domain.claimPages(kBob, {spare(other)}));
  domain.releasePages(kAlice, {spare(other)});
  CHECK(domain.claimPages(kBob, {spare(other)}));
}

TEST("a guest gives back only what is its own") {
  HostileDomain other(Kind::kVm);
  Domain& domain = other.domain();
  CHECK(domain.claimPages(kAlice, {spare(other)}));
  domain.releasePages(kBob, {spare(other), spare(other, 1)});
  domain.releasePages(kBob, {other.pages()[0]});
  CHECK(!domain.claimPages(kBob, {spare(other)}));
  CHECK(!domain.claimPages(kBob, {other.pages()[0]}));
}

TEST("no guest gets a page of the channels") {
  HostileDomain other(Kind::kVm, 2);
  for (uint64_t page : other.pages())
    for (uint64_t guest : {uint64_t(0), kAlice, kBob}) CHECK(!other.domain().claimPages(guest, {page}));
}

TEST("no guest gets a page of a local domain: all its memory is channels") {
  HostileDomain other(Kind::kLocal, 2);
  for (uint64_t page = 0; page < other.options().memoryBytes; page += kPage) CHECK(!other.domain().claimPages(kAlice, {page}));
}

TEST("no guest gets a page outside the memory, or half a page") {
  HostileDomain other(Kind::kVm);
  const uint64_t end = other.options().memoryBytes;
  CHECK(other.domain().claimPages(kAlice, {end - kPage}));
  for (uint64_t page : {end, end + kPage, uint64_t(1) << 52, uint64_t(0) - kPage, ~uint64_t(0), spare(other) + 1, spare(other) + kPage - 1})
    CHECK(!other.domain().claimPages(kAlice, {page}));
}

TEST("a claim of nothing is granted") {
  HostileDomain other(Kind::kVm);
  CHECK(other.domain().claimPages(kAlice, {}));
  other.domain().releasePages(kAlice, {});
}

TEST("random claims and releases of three guests agree with a model") {
  HostileDomain other(Kind::kVm);
  std::mt19937 random(8);
  std::map<uint64_t, std::pair<uint64_t, int>> model;  // page -> owner, mappings
  std::vector<std::pair<uint64_t, std::vector<uint64_t>>> held;
  for (int round = 0; round < 20000; round++) {
    if (!held.empty() && random() % 2 == 0) {
      const size_t which = random() % held.size();
      other.domain().releasePages(held[which].first, held[which].second);
      for (uint64_t page : held[which].second)
        if (--model[page].second == 0) model.erase(page);
      held.erase(held.begin() + static_cast<long>(which));
      continue;
    }
    const uint64_t guest = random() % 3;
    std::vector<uint64_t> pages(random() % 4);
    bool isGood = true;
    for (uint64_t& page : pages) {
      page = random() % 12 == 0 ? other.pages()[0] : spare(other, random() % 10);
      const bool isChannel = page == other.pages()[0];
      isGood = isGood && !isChannel && (model.count(page) == 0 || model[page].first == guest);
    }
    CHECK_EQ(other.domain().claimPages(guest, pages), isGood);
    if (!isGood) continue;
    for (uint64_t page : pages) model[page] = {guest, model.count(page) != 0 ? model[page].second + 1 : 1};
    held.emplace_back(guest, pages);
  }
}

TEST("the doorbell wakes the channel that it names") {
  HostileDomain other(Kind::kVm, 3);
  Channel* channels[3];
  for (Channel*& channel : channels) channel = other.domain().acquireChannel();
  for (uint32_t index : {2u, 0u}) CHECK_EQ(send(other.doorbell(), &index, sizeof index, 0), sizeof index);
  CHECK(isSignalled(channels[2]->event()) && isSignalled(channels[0]->event()));
  CHECK(!isSignalled(channels[1]->event(), 0));
}

TEST("doorbell numbers arrive whole, however they are cut; those of no channel wake nobody") {
  HostileDomain other(Kind::kVm, 2);
  Channel* first = other.domain().acquireChannel();
  Channel* second = other.domain().acquireChannel();
  const uint32_t numbers[] = {2, 0xffffffffu, 1u << 31, 0x01000000u, 1};
  for (size_t i = 0; i < sizeof numbers; i++) {
    CHECK_EQ(send(other.doorbell(), reinterpret_cast<const uint8_t*>(numbers) + i, 1, 0), 1);
    if (i % 3 == 0) usleep(200);
  }
  CHECK(isSignalled(second->event()));
  CHECK(!isSignalled(first->event(), 0));
  CHECK(!other.domain().isLost());
}

TEST("a flood of doorbell numbers is taken") {
  HostileDomain other(Kind::kVm);
  Channel* channel = other.domain().acquireChannel();
  std::vector<uint32_t> flood(100000, 9);
  flood.back() = 0;
  const uint8_t* bytes = reinterpret_cast<const uint8_t*>(flood.data());
  for (size_t sent = 0; sent < flood.size() * 4;) {
    const ssize_t now = send(other.doorbell(), bytes + sent, std::min<size_t>(flood.size() * 4 - sent, 1021), 0);
    CHECK(now > 0);
    sent += static_cast<size_t>(now);
  }
  CHECK(isSignalled(channel->event()));
}

TEST("when the other side goes, everyone is woken and sees it") {
  HostileDomain other(Kind::kVm, 2);
  Channel* first = other.domain().acquireChannel();
  Channel* second = other.domain().acquireChannel();
  CHECK(!other.domain().isLost());
  CHECK_EQ(shutdown(other.doorbell(), SHUT_RDWR), 0);
  CHECK(isSignalled(first->event()) && isSignalled(second->event()));
  CHECK(other.domain().isLost());
  other.domain().ring(0);  // To nobody; it must not raise SIGPIPE either.
}

TEST("ringing never blocks, though nobody reads") {
  HostileDomain other(Kind::kVm);
  for (int i = 0; i < 200000; i++) other.domain().ring(0);
  CHECK(!other.rings().empty());
}

TEST("guests can map the memory for reading with no way to write it") {
  HostileDomain other(Kind::kVm);
  char byte = 'x';
  CHECK_EQ(pwrite(other.domain().memoryReadOnly(), &byte, 1, 0), -1);
  CHECK_EQ(pread(other.domain().memoryReadOnly(), &byte, 1, 0), 1);
  CHECK_EQ(pwrite(other.domain().memoryReadWrite(), &byte, 1, 0), 1);
}

TEST("domains are found by their numbers until they are removed") {
  Descriptor memory(memoryFor(1));
  auto domain = std::make_shared<Domain>(goodOptions(Kind::kLocal, 1, memory.get()));
  const uint32_t first = addDomain(domain), second = addDomain(domain);
  CHECK(first != second);
  CHECK(findDomain(first) == domain);
  removeDomain(first);
  CHECK(findDomain(first) == nullptr);
  CHECK(findDomain(second) == domain);
  removeDomain(second);
  removeDomain(second);
  CHECK(findDomain(0xffffffffu) == nullptr);
}
