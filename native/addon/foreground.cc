// The guest in front: of a class that is shared so, only its files are read, and only its commands reach the driver that need the
// foreground. What other guests ask for meanwhile waits, as a program of another virtual terminal does; nothing fails, and nothing that
// came for the guest in front is ever seen by another.
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "mediator.h"

namespace postern {
namespace {

// What a read would find.
constexpr uint32_t kReadable = POLLIN | POLLRDNORM | POLLPRI | POLLRDBAND;
// Of one read that empties a driver's queue: more than any driver here keeps for one file.
constexpr uint32_t kDrainBytes = 16384;

}  // namespace

const Foreground* Mediator::foregroundOf(const Session& session) const {
  const DeviceClass& deviceClass = options_.classes[session.node->classIndex];
  return deviceClass.foreground && !session.taken ? &*deviceClass.foreground : nullptr;
}

bool Mediator::isBehind(const Session& session) const { return !isFront_ || session.isDraining; }

bool Mediator::waitsForFront(const Op& op) const {
  const Foreground* foreground = op.session != nullptr ? foregroundOf(*op.session) : nullptr;
  if (foreground == nullptr || !isBehind(*op.session)) return false;
  if (op.operation == Operation::kRead) return foreground->reads;
  return op.operation == Operation::kIoctl && op.commandRow < foreground->rows.size() && foreground->rows[op.commandRow];
}

// The operation goes on when its guest comes to the front; one that does not wait by itself finds nothing.
void Mediator::hold(Op& op) {
  if (op.operation == Operation::kRead && op.nonblocking) {
    finishNow(op, 0, EAGAIN);
    return;
  }
  op.phase = Phase::kHeld;
  held_.push_back(&op);
}

// Has its thread gone, does a signal wait for it? As for an operation that the driver has in hand, but nothing has to be cancelled.
void Mediator::watchHeld() {
  const std::deque<Op*> held = std::exchange(held_, {});
  for (Op* op : held) {
    if (!stillWaits(*op)) {
      release(*op);
    } else if (const int interruption = op->ring == nullptr ? interruptionOf(*op) : 0) {
      counters_.interrupted++;
      finishNow(*op, 0, interruption);
    } else {
      held_.push_back(op);
    }
  }
}

// A read that was under way when its guest left the front: whatever it has brought may have come for another, and is nobody's.
std::optional<Event> Mediator::recall(Op& op) {
  op.isRecalled = op.cancelled = false;
  op.signalRounds = 0;
  releaseRegions(op);
  if (op.abandoned || !stillWaits(op)) return finishNow(op, 0, EINTR);
  start(op);
  return std::nullopt;
}

uint32_t Mediator::shownReadiness(const Session& session) const {
  // Poll always tells of these, asked or not.
  constexpr uint32_t kAlways = POLLERR | POLLHUP;
  if (session.backend->lost) return POLLIN | POLLHUP | POLLERR;
  const uint32_t ready = (session.ready & (session.watch | kAlways)) | session.idle;
  const Foreground* foreground = foregroundOf(session);
  return foreground != nullptr && foreground->reads && isBehind(session) ? ready & ~kReadable : ready;
}

// The guest comes to the front or leaves it. kFront tells when everything has been handed over.
void Mediator::setFront(bool isFront) {
  frontWanted_ = true;
  if (isFront == isFront_) return;
  isFront_ = isFront;
  std::vector<Session*> sessions;
  for (auto& [id, session] : sessions_)
    if (foregroundOf(*session) != nullptr && !session->backend->lost) sessions.push_back(session.get());
  // Who held something gets it before those who could have it, and of those the oldest.
  std::sort(sessions.begin(), sessions.end(), [](const Session* a, const Session* b) {
    return (a->handedOver != 0) != (b->handedOver != 0) ? a->handedOver != 0 : a->id < b->id;
  });
  for (Session* session : sessions) isFront ? enter(*session) : leave(*session);
}

void Mediator::leave(Session& session) {
  if (foregroundOf(session)->reads)
    for (auto& [id, op] : running_) {
      if (op->session != &session || op->operation != Operation::kRead || op->phase != Phase::kDriving || op->isRecalled) continue;
      op->isRecalled = true;
      if (!op->cancelled) cancel(*op);
    }
  giveBack(session);
  present(session, -1);
}

// What the file holds against all others of its device goes back to the driver; what it had is remembered.
void Mediator::giveBack(Session& session) {
  const auto& handovers = foregroundOf(session)->handovers;
  for (uint32_t i = 0; i < handovers.size(); i++) submitHandover(session, handovers[i].give, handovers[i].giveArgument, Internal::kGive, i);
}

void Mediator::enter(Session& session) {
  const Foreground& foreground = *foregroundOf(session);
  if (foreground.reads) drain(session);
  for (uint32_t i = 0; i < foreground.handovers.size(); i++) {
    const Handover& handover = foreground.handovers[i];
    if (handover.always || (session.handedOver & (1u << i)) != 0)
      submitHandover(session, handover.take, handover.takeArgument, Internal::kTake, i);
  }
  session.handedOver = 0;
  for (const Replay& replay : session.replays) submitReplay(session, replay);
  if (!session.isDraining) releaseHeld(session);
}

void Mediator::submitHandover(Session& session, uint32_t command, uint64_t argument, Internal kind, uint32_t index) {
  postern_op op{};
  op.kind = POSTERN_OP_IOCTL;
  op.file = session.file;
  op.command = command;
  op.argument = argument;
  if (submitInternal(*session.backend, op, kind, session.id, index)) frontPending_++;
}

// Empties the driver's queue of what came while others were in front.
void Mediator::drain(Session& session) {
  const uint32_t region = session.backend->channel->arena().allocate(kDrainBytes);
  session.isDraining = true;
  if (region == Arena::kNone) {
    undrained_.push_back(session.id);
    return;
  }
  postern_op op{};
  op.kind = POSTERN_OP_READ;
  op.file = session.file;
  op.flags = POSTERN_OP_NONBLOCK;
  op.head_offset = region;
  op.length = kDrainBytes;
  submitWithRegions(session, op, Internal::kDrain, {{region, kDrainBytes}});
}

// For those the arena had no room.
void Mediator::drainOthers() {
  for (const uint32_t id : std::exchange(undrained_, {}))
    if (auto session = sessions_.find(id); session != sessions_.end() && isFront_) drain(*session->second);
}

void Mediator::finishDrain(Session& session, const postern_completion& completion) {
  if (completion.ready != POSTERN_READY_UNKNOWN) session.ready = completion.ready;
  if (completion.result > 0 && isFront_) {
    drain(session);
    return;
  }
  session.isDraining = false;
  present(session, -1);
  if (isFront_) releaseHeld(session);
}

void Mediator::releaseHeld(const Session& session) {
  const std::deque<Op*> held = std::exchange(held_, {});
  for (Op* op : held) {
    if (op->session != &session)
      held_.push_back(op);
    else
      start(*op);
  }
}

// An ioctl that shows something, as the driver got it: it is done again when its guest comes back, for others have shown theirs meanwhile.
void Mediator::keepForReplay(Op& op) {
  constexpr size_t kReplaysMax = 16;
  constexpr size_t kReplayBytesMax = 65536;
  const Foreground* foreground = foregroundOf(*op.session);
  if (foreground == nullptr || op.operation != Operation::kIoctl || op.outcome < 0) return;
  auto rule = foreground->replays.find(op.commandRow);
  if (rule == foreground->replays.end() || op.sent.empty() || rule->second + sizeof(uint32_t) > op.sent[0].size()) return;
  Replay replay;
  replay.command = op.call.command;
  std::memcpy(&replay.key, op.sent[0].data() + rule->second, sizeof replay.key);
  size_t bytes = 0;
  for (const auto& region : op.sent) bytes += region.size();
  if (bytes > kReplayBytesMax) return;
  replay.regions = std::move(op.sent);
  replay.relocations = op.plan.relocations;
  auto& replays = op.session->replays;
  replays.erase(std::remove_if(replays.begin(), replays.end(),
                               [&](const Replay& old) { return old.command == replay.command && old.key == replay.key; }),
                replays.end());
  if (replays.size() < kReplaysMax) replays.push_back(std::move(replay));
}

// What the driver is about to get, where it may have to be done again.
void Mediator::noteSent(Op& op) {
  op.sent.clear();
  const Foreground* foreground = foregroundOf(*op.session);
  if (foreground == nullptr || op.operation != Operation::kIoctl || foreground->replays.count(op.commandRow) == 0) return;
  for (const Region& region : op.regions) {
    const uint8_t* from = region.bytes > 0 ? op.backend->channel->at(region.arena) : nullptr;
    op.sent.emplace_back(from, from + region.bytes);
  }
}

void Mediator::submitReplay(Session& session, const Replay& replay) {
  Channel& channel = *session.backend->channel;
  FrontRegions regions;
  for (const auto& bytes : replay.regions) {
    const uint32_t at = bytes.empty() ? Arena::kNone : channel.arena().allocate(static_cast<uint32_t>(bytes.size()));
    if (at == Arena::kNone && !bytes.empty()) return releaseFrontRegions(channel, regions);
    regions.push_back({at, static_cast<uint32_t>(bytes.size())});
    if (!bytes.empty()) std::memcpy(channel.at(at), bytes.data(), bytes.size());
  }
  for (const ExchangeRelocation& relocation : replay.relocations) {
    if (relocation.region >= regions.size() || relocation.target >= regions.size()) continue;
    const uint64_t pointer = channel.agentAddressOf(regions[relocation.target].at);
    std::memcpy(channel.at(regions[relocation.region].at) + relocation.offset, &pointer, sizeof pointer);
  }
  postern_op op{};
  op.kind = POSTERN_OP_IOCTL;
  op.file = session.file;
  op.flags = POSTERN_OP_BLOCKING;
  op.command = replay.command;
  op.argument = channel.agentAddressOf(regions[0].at);
  submitWithRegions(session, op, Internal::kReplay, regions);
}

// The regions are free again when the operation has ended.
void Mediator::submitWithRegions(Session& session, const postern_op& op, Internal kind, const FrontRegions& regions) {
  const uint64_t id = nextId_;
  if (!submitInternal(*session.backend, op, kind, session.id)) return releaseFrontRegions(*session.backend->channel, regions);
  frontRegions_[id] = regions;
  frontPending_++;
}

void Mediator::releaseFrontRegions(Channel& channel, const FrontRegions& regions) {
  for (const FrontRegion& region : regions)
    if (region.at != Arena::kNone) channel.arena().release(region.at, region.bytes);
}

bool Mediator::isForegroundKind(Internal kind) {
  return kind == Internal::kGive || kind == Internal::kTake || kind == Internal::kDrain || kind == Internal::kReplay;
}

void Mediator::finishForeground(const InternalOp& internal, const postern_completion& completion) {
  frontPending_--;
  if (auto regions = frontRegions_.find(completion.id); regions != frontRegions_.end()) {
    releaseFrontRegions(*internal.backend->channel, regions->second);
    frontRegions_.erase(regions);
  }
  auto found = sessions_.find(internal.subject);
  if (found == sessions_.end()) return;
  Session& session = *found->second;
  if (internal.kind == Internal::kGive && completion.result == 0 && !isFront_) session.handedOver |= 1u << internal.waiter;
  if (internal.kind == Internal::kDrain) finishDrain(session, completion);
}

}  // namespace postern
