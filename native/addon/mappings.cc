// Driver pages in guests: claimed for one guest, mapped by injection, given back when no process of the guest has them any more.
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <unordered_set>

#include "injector.h"
#include "mediator.h"
#include "process_view.h"
#include "window.h"

namespace postern {
namespace {

// Page runs that follow each other in the RAM file become one mapping.
std::vector<MapRun> runsOf(const std::vector<uint64_t>& pages) {
  std::vector<MapRun> runs;
  for (uint64_t page : pages) {
    if (!runs.empty() && runs.back().offset + runs.back().bytes == page)
      runs.back().bytes += POSTERN_PAGE_BYTES;
    else
      runs.push_back({page, POSTERN_PAGE_BYTES});
  }
  return runs;
}

}  // namespace

uint32_t Mediator::mappedPages() const {
  uint32_t pages = 0;
  for (auto& [id, mapping] : mappings_) pages += static_cast<uint32_t>(mapping->pages.size());
  return pages;
}

// The least mapping number that neither a mapping nor an operation under way has; POSTERN_MAPPINGS_MAX when there is none.
uint32_t Mediator::freeMapping() const {
  for (uint32_t id = 0; id < POSTERN_MAPPINGS_MAX; id++) {
    const bool isTaken = mappings_.count(id) != 0 || std::any_of(running_.begin(), running_.end(), [&](auto& entry) {
                           return entry.second->operation == Operation::kMmap && entry.second->mapping == id && entry.second->phase != Phase::kJudging;
                         });
    if (!isTaken) return id;
  }
  return POSTERN_MAPPINGS_MAX;
}

// The backend has mapped the driver's pages and named them. Answers the guest's mmap, whatever comes.
int Mediator::finishMmap(Op& op) {
  const size_t count = op.regions[0].bytes / sizeof(uint64_t);
  auto mapping = std::make_unique<Mapping>();
  mapping->id = op.mapping;
  mapping->backend = op.backend;
  mapping->pages.resize(count);
  std::memcpy(mapping->pages.data(), op.backend->channel->at(op.regions[0].arena), count * sizeof(uint64_t));
  const bool isCounted = op.outcome == static_cast<int64_t>(count);
  const bool isClaimed = isCounted && op.backend->domain->claimPages(options_.guest, mapping->pages);
  Mapping& kept = *mapping;
  op.backend->mappings++;
  mappings_[kept.id] = std::move(mapping);
  if (!isClaimed) {
    note(Note::kPageRefused, 0, &op, EIO);
    kept.pages.clear();  // Not ours to give back.
    releaseMapping(kept);
    counters_.failed++;
    answer(op, 0, EIO);
    return EIO;
  }
  if (vm_) {
    std::vector<RemoteRun> runs;
    for (const MapRun& run : runsOf(kept.pages)) runs.push_back({0, run.bytes, run.offset});
    return showMapping(op, kept, runs);
  }
  Injection injection;
  injection.tgid = op.tgid;
  injection.tid = op.tid;
  injection.pidNamespace = pidNamespace_;
  injection.userNamespace = userNamespace_;
  injection.notification = op.notification;
  injection.protection = static_cast<int>(op.call.command);
  // mprotect can't add what the file was not opened for.
  injection.memory = (op.call.command & PROT_WRITE) != 0 ? op.backend->domain->memoryReadWrite() : op.backend->domain->memoryReadOnly();
  injection.address = nextMapAddress_;
  injection.runs = runsOf(kept.pages);
  // A page is left out between two mappings, so that running over the end of one faults.
  nextMapAddress_ += (count + 1) * POSTERN_PAGE_BYTES;
  if (nextMapAddress_ >= POSTERN_MAP_LAST) nextMapAddress_ = POSTERN_MAP_FIRST;
  op.borrowed.reset();
  InjectionHooks hooks;
  hooks.isWaiting = [this](pid_t tid) {
    return std::any_of(running_.begin(), running_.end(), [&](auto& entry) { return entry.second->tid == tid; });
  };
  hooks.postpone = [this](const seccomp_notif& notification) { postponed_.push_back(notification); };
  hooks.killed = [&] { note(Note::kMemoryKept, 0, &op, EPERM); };
  const int error = inject(listener_, injection, hooks);
  if (error != 0) {
    counters_.failed++;
    note(Note::kInjectionFailed, static_cast<uint32_t>(error), &op, error);
    mappingRounds_ = std::max(mappingRounds_, 1u);
    return error;
  }
  counters_.pagesMapped += count;
  counters_.mappings++;
  return 0;
}

void Mediator::releaseMapping(Mapping& mapping) {
  postern_op unmap{};
  unmap.kind = POSTERN_OP_MUNMAP;
  unmap.argument = mapping.id;
  mapping.releasing = submitInternal(*mapping.backend, unmap, Internal::kMunmap, mapping.id);
}

// A process that has inherited a mapping need not have opened anything: its end is looked at all the same.
void Mediator::watchHolder(pid_t pid) {
  Descriptor& pidfd = holders_[pid];
  if (pidfd.valid()) return;
  pidfd.reset(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  if (pidfd.valid()) poll(pidfd.get(), kProcessTag | static_cast<uint32_t>(pid), EPOLLIN);
}

// Gives back what no process of the guest maps any more. /proc tells it exactly, whichever way a mapping went: munmap, exec, exit.
void Mediator::settleMappings() {
  if (mappingRounds_ == 0) return;
  mappingRounds_--;
  // A guest VM's frontend tells when a mapping goes.
  if (mappings_.empty() || vm_) {
    mappingRounds_ = 0;
    return;
  }
  std::unordered_set<uint64_t> mapped;
  const bool isWhole = takeCensus(pidNamespace_, [&](pid_t pid) {
    const std::vector<MappedRange> ranges = mappingsOfFile(pid, memoryDevice_, memoryInode_);
    if (!ranges.empty()) watchHolder(pid);
    for (const MappedRange& range : ranges)
      for (uint64_t offset = range.offset; offset < range.offset + range.bytes; offset += POSTERN_PAGE_BYTES) mapped.insert(offset);
  });
  // While processes come and go, a mapping may be handed on unseen: what is not seen is taken for gone only when nobody can have it.
  if (!isWhole) {
    mappingRounds_ = std::max(mappingRounds_, 1u);
    return;
  }
  for (auto& [id, mapping] : mappings_) {
    const bool isMapped = std::any_of(mapping->pages.begin(), mapping->pages.end(), [&](uint64_t page) { return mapped.count(page) != 0; });
    if (!isMapped && !mapping->releasing && !mapping->backend->lost) releaseMapping(*mapping);
  }
}

}  // namespace postern
