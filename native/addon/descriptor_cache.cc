#include "descriptor_cache.h"

#include <sys/epoll.h>

#include <algorithm>

#include "process_view.h"

namespace postern {
namespace {

// A thread that closes a file and then only computes would keep everyone from remembering: it is looked at this often.
constexpr auto kLookInterval = std::chrono::milliseconds(1);
constexpr int kEndedMax = 64;

}  // namespace

DescriptorCache::DescriptorCache() : threads_(epoll_create1(EPOLL_CLOEXEC)) {}

const DescriptorCache::Entry* DescriptorCache::find(pid_t tid, int number) const {
  const Entry& entry = entries_[slotOf(tid, number)];
  return entry.tid == tid && entry.number == number ? &entry : nullptr;
}

void DescriptorCache::remember(pid_t tid, int number, Session* session, int flags) {
  if (!changes_.empty() || std::find(watched_.begin(), watched_.end(), tid) == watched_.end()) return;
  entries_[slotOf(tid, number)] = {tid, number, session, flags};
}

bool DescriptorCache::watch(pid_t tid, int pidfd) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = static_cast<uint64_t>(tid);
  if (epoll_ctl(threads_.get(), EPOLL_CTL_ADD, pidfd, &event) != 0) return false;
  watched_.push_back(tid);
  return true;
}

void DescriptorCache::forgetThread(pid_t tid) {
  for (Entry& entry : entries_)
    if (entry.tid == tid) entry = {};
  watched_.erase(std::remove(watched_.begin(), watched_.end(), tid), watched_.end());
}

void DescriptorCache::forgetSession(const Session* session) {
  generation_++;
  for (Entry& entry : entries_)
    if (entry.session == session) entry = {};
}

void DescriptorCache::forgetAll() {
  generation_++;
  entries_.fill({});
}

const std::vector<pid_t>& DescriptorCache::reapThreads() {
  ended_.clear();
  if (watched_.empty()) return ended_;
  epoll_event events[kEndedMax];
  const int count = epoll_wait(threads_.get(), events, kEndedMax, 0);
  for (int i = 0; i < count; i++) ended_.push_back(static_cast<pid_t>(events[i].data.u64));
  for (pid_t tid : ended_) {
    forgetThread(tid);
    threadReturned(tid);
  }
  // There may be more; and what can't be asked is not believed.
  if (count == kEndedMax || count < 0) forgetAll();
  return ended_;
}

void DescriptorCache::beginChange(pid_t tid, int call) {
  forgetAll();
  changes_.push_back({tid, call});
}

void DescriptorCache::threadReturned(pid_t tid) {
  if (changes_.empty()) return;
  changes_.erase(std::remove_if(changes_.begin(), changes_.end(), [&](const Change& change) { return change.tid == tid; }), changes_.end());
}

bool DescriptorCache::isSettled() {
  if (changes_.empty()) return true;
  const auto now = std::chrono::steady_clock::now();
  if (now - lastLook_ < kLookInterval) return false;
  lastLook_ = now;
  changes_.erase(std::remove_if(changes_.begin(), changes_.end(), [](const Change& change) { return !mayBeIn(change.tid, change.call); }),
                 changes_.end());
  return changes_.empty();
}

}  // namespace postern
