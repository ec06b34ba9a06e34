// A verdict becomes a plan, the plan is checked, and its bytes are moved: this is where a guest's bytes are copied, in and out.
#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "mediator.h"

namespace postern {
namespace {

// What the driver may see of the guest's open flags: the mode and blocking. The rest concerns names and descriptors, which are the guest's.
constexpr uint32_t kDriverOpenFlags = O_ACCMODE | O_NONBLOCK;
// An operation whose regions need more than this would leave no room beside it for smaller ones.
constexpr uint64_t kRegionBytesMax = POSTERN_ARENA_BYTES / 4 * 3;

}  // namespace

std::optional<Event> Mediator::admit(Op& op) {
  if (op.needsCall) return fallBack(op);
  const DeviceClass& deviceClass = options_.classes[op.session->node->classIndex];
  if (exchange_->verdict == kVerdictDeny) {
    const uint32_t errnum = exchange_->errnum;
    if (errnum < 1 || errnum > kErrnoMax) return refusePlan(op, PlanError::kErrno);
    counters_.denied++;
    return finishNow(op, 0, static_cast<int>(errnum));
  }
  if (exchange_->verdict == kVerdictAgain) return judgeAgain(op);
  if (exchange_->verdict != kVerdictAllow) {
    counters_.faults++;
    return finishNow(op, 0, EIO);
  }
  if (op.operation == Operation::kIoctl && deviceClass.rows[op.commandRow].isRefused) return refusePlan(op, PlanError::kNotAllowed);
  const PlanContext context{op.operation, static_cast<uint32_t>(op.head.size()), op.rowAccess, op.nested};
  const PlanError refused = readPlan(*exchange_, deviceClass.envelope, context, op.plan);
  // Where a nested region lies is the guest's own doing: it gets what its kernel would say.
  if (refused == PlanError::kGrantAddress) {
    counters_.failed++;
    return finishNow(op, 0, EFAULT);
  }
  if (refused != PlanError::kNone) return refusePlan(op, refused);
  if (op.ring != nullptr) {
    if (!fitsRing(op)) return fallBack(op);
    op.plan.blocking = false;
  }
  if (int error = checkRequirements(op)) {
    counters_.denied++;
    note(Note::kRequirementFailed, 0, &op, error);
    return finishNow(op, 0, error);
  }
  if (int error = extendHead(op)) {
    counters_.failed++;
    return finishNow(op, 0, error);
  }
  if (int error = checkCompany(op)) {
    counters_.failed++;
    return finishNow(op, 0, error);
  }
  if (int error = prepareDescriptors(op)) {
    counters_.failed++;
    return finishNow(op, 0, error);
  }
  counters_.allowed++;
  op.isObserved = exchange_->observed != 0;
  op.admission = ++admissions_;
  op.session->admitted++;
  op.session->isAlone = op.plan.alone;
  planRegions(op);
  forgetHandles(op);
  start(op);
  return std::nullopt;
}

std::optional<Event> Mediator::refusePlan(Op& op, PlanError refused) {
  if (options_.classes[op.session->node->classIndex].isOnTrial) return refuseOnTrial(op, refused);
  counters_.faults++;
  note(Note::kPlanRefused, static_cast<uint32_t>(refused), &op, EIO);
  return finishNow(op, 0, EIO);
}

// A structure that ends in a variable-length array is one piece to the driver: a grant that begins where the head ends becomes a part
// of it. Only a plan without relocations has such a grant, as its regions would lose their numbers.
int Mediator::extendHead(Op& op) {
  Plan& plan = op.plan;
  const size_t headBytes = op.head.size();
  if (op.operation != Operation::kIoctl || headBytes == 0 || plan.grants.size() != 1 || !plan.relocations.empty() || !plan.descriptors.empty())
    return 0;
  const Grant tail = plan.grants[0];
  if (tail.address != op.call.argument + headBytes || tail.access != plan.headAccess) return 0;
  if (tail.length > kHeadBytesMax - headBytes) return ENOMEM;
  op.head.resize(headBytes + tail.length);
  plan.grants.clear();
  if ((tail.access & kToDriver) == 0) return 0;
  return op.snapshot.fetch(tail.address, op.head.data() + headBytes, tail.length);
}

// The value that a plan speaks of: a field of a region, or a word of the call.
int Mediator::valueAt(Op& op, uint32_t source, uint32_t offset, uint32_t width, uint64_t& value) {
  value = 0;
  if (source == kSourceOffset) {
    value = op.call.offset;
  } else if (source == kSourceArgument) {
    value = op.call.argument;
  } else if (source == 0) {
    std::memcpy(&value, op.head.data() + offset, width);
  } else {
    return op.snapshot.fetch(op.plan.grants[source - 1].address + offset, reinterpret_cast<uint8_t*>(&value), width) == 0 ? 0 : EFAULT;
  }
  return 0;
}

// Every handle that the plan names must be one that the driver gave to this guest.
int Mediator::checkRequirements(Op& op) {
  const Session& session = *op.session;
  const HandleTables& tables = handles_[session.node->classIndex];
  op.required.clear();
  for (const ExchangeRequirement& requirement : op.plan.requirements) {
    uint64_t value = 0;
    if (int error = valueAt(op, requirement.source, requirement.offset, requirement.width, value)) return error;
    const Scope scope = static_cast<Scope>(requirement.within);
    if (!tables.has(requirement.table, value, scope, holderOf(session))) return static_cast<int>(requirement.errnum);
    op.required.push_back({requirement.table, value});
  }
  return 0;
}

// What is judged by the session's state must not run beside what changes it, nor what relies on a handle beside what ends it.
int Mediator::checkCompany(Op& op) {
  const Session& session = *op.session;
  if (session.isAlone || (op.plan.alone && session.admitted > 0)) return EBUSY;
  for (const ExchangeForgetting& forgetting : op.plan.forgettings) {
    uint64_t value = 0;
    if (forgetting.width != 0)
      if (int error = valueAt(op, forgetting.source, forgetting.offset, forgetting.width, value)) return error;
    for (const auto& [id, other] : running_)
      if (other->admission != 0 && reliesOn(*other, session, forgetting, value)) return EBUSY;
  }
  return 0;
}

bool Mediator::reliesOn(const Op& other, const Session& session, const ExchangeForgetting& forgetting, uint64_t value) const {
  if (other.session == nullptr || other.session->node->classIndex != session.node->classIndex) return false;
  const HandleTables& tables = handles_[session.node->classIndex];
  return std::any_of(other.required.begin(), other.required.end(), [&](const RequiredHandle& required) {
    if (required.table != forgetting.table) return false;
    if (forgetting.width != 0) return required.value == value && other.session->node == session.node;
    return tables.has(required.table, required.value, Scope::kSession, holderOf(session));
  });
}

HandleHolder Mediator::holderOf(const Session& session) {
  return {session.id, session.node->major << 20 | session.node->minor};
}

// Handles end before the driver ends what they name: from then on it may give the same number to another guest.
void Mediator::forgetHandles(Op& op) {
  HandleTables& tables = handles_[op.session->node->classIndex];
  for (const ExchangeForgetting& forgetting : op.plan.forgettings) {
    uint64_t value = 0;
    if (forgetting.width == 0) {
      tables.forget(forgetting.table, op.session->id);
      op.session->emptied[forgetting.table % kTablesApart] = op.admission;
    } else if (valueAt(op, forgetting.source, forgetting.offset, forgetting.width, value) == 0) {
      tables.forgetValue(forgetting.table, value, holderOf(*op.session).device);
    }
  }
}

void Mediator::planRegions(Op& op) {
  op.regions.clear();
  Region first;
  first.access = op.plan.headAccess;
  switch (op.operation) {
    case Operation::kIoctl:
      first.address = op.call.argument;
      first.bytes = static_cast<uint32_t>(op.head.size());
      break;
    case Operation::kRead:
    case Operation::kWrite:
      first.bytes = static_cast<uint32_t>(op.call.length);
      break;
    case Operation::kOpen:
      first.bytes = static_cast<uint32_t>(op.session->node->name.size() + 1);
      break;
    case Operation::kMmap:
      first.bytes = static_cast<uint32_t>(((op.call.length - 1) / POSTERN_PAGE_BYTES + 1) * sizeof(uint64_t));
      break;
    case Operation::kSeek:
      break;
  }
  op.regions.push_back(first);
  for (const Grant& grant : op.plan.grants) op.regions.push_back({grant.address, grant.length, grant.access, Arena::kNone});
}

// Gives the operation to the backend, or keeps it until there is room.
void Mediator::start(Op& op) {
  if (waitsForFront(op)) return hold(op);
  if (op.backend->lost) {
    finishNow(op, 0, ENODEV);
    return;
  }
  if (!holdsReplies(op)) {
    finishNow(op, 0, VmAddressSpace::kPagesNeeded);
    return;
  }
  uint64_t total = 0;
  for (const Region& region : op.regions) total += region.bytes;
  if (total > kRegionBytesMax) {
    counters_.failed++;
    finishNow(op, 0, ENOMEM);
    return;
  }
  // One entry is left for a cancellation. Nothing of a session overtakes what ends handles, nor is it overtaken.
  const bool hasRoom = op.backend->channel->outstanding() + 1 < POSTERN_RING_ENTRIES;
  const bool isBehind = std::any_of(queued_.begin(), queued_.end(), [&](const Op* other) {
    return other->session == op.session && !(op.plan.forgettings.empty() && other->plan.forgettings.empty());
  });
  const int error = hasRoom && !isBehind ? placeRegions(op) : EAGAIN;
  if (error == EAGAIN) {
    op.phase = Phase::kQueued;
    queued_.push_back(&op);
    return;
  }
  if (error != 0) {
    counters_.failed++;
    finishNow(op, 0, error);
    return;
  }
  noteSent(op);
  op.phase = Phase::kDriving;
  op.since = Clock::now();
  if (!op.backend->channel->submit(submissionOf(op))) {
    releaseRegions(op);
    op.phase = Phase::kQueued;
    queued_.push_back(&op);
  }
}

int Mediator::placeRegions(Op& op) {
  Channel& channel = *op.backend->channel;
  for (Region& region : op.regions) {
    if (region.bytes == 0) continue;
    region.arena = channel.arena().allocate(region.bytes);
    if (region.arena != Arena::kNone) continue;
    releaseRegions(op);
    return EAGAIN;
  }
  if (!placeDescriptors(op)) {
    releaseRegions(op);
    return EAGAIN;
  }
  for (uint32_t i = 0; i < op.regions.size(); i++) {
    if (int error = fillRegion(op, op.regions[i], i)) {
      releaseRegions(op);
      return error;
    }
  }
  if (!stillWaits(op)) {
    releaseRegions(op);
    return EINTR;
  }
  if (op.descriptorBytes > 0) fillDescriptors(op);
  return relocate(op);
}

// The bytes that the driver may read are copied in, from the snapshot where the policy has seen them; everything else is zero, so
// that nothing of an earlier operation crosses.
int Mediator::fillRegion(Op& op, Region& region, uint32_t index) {
  if (region.bytes == 0) return 0;
  uint8_t* to = op.backend->channel->at(region.arena);
  if (op.operation == Operation::kOpen) {
    std::memcpy(to, op.session->node->name.c_str(), region.bytes);
    return 0;
  }
  if ((region.access & kToDriver) == 0) {
    std::memset(to, 0, region.bytes);
    return 0;
  }
  counters_.bytesIn += region.bytes;
  // A write that the policy has not seen comes straight from the guest.
  if (op.operation == Operation::kWrite && op.ring != nullptr && op.head.empty()) {
    op.ring->copyPayload(op.slot, to, region.bytes);
    return 0;
  }
  if (op.operation == Operation::kWrite && op.head.empty()) {
    op.snapshot.markRead();
    return readBuffers(op, to);
  }
  if (index == 0) {
    std::memcpy(to, op.head.data(), region.bytes);
    return 0;
  }
  return op.snapshot.fetch(region.address, to, region.bytes);
}

// A transfer's buffers, one after the other.
int Mediator::readBuffers(Op& op, uint8_t* to) {
  if (op.space == nullptr) return readVectored(op.tid, op.vectors, to);
  for (const iovec& vector : op.vectors) {
    if (int error = op.space->read(reinterpret_cast<uint64_t>(vector.iov_base), to, vector.iov_len)) return error;
    to += vector.iov_len;
  }
  return 0;
}

int Mediator::writeOut(Op& op, uint64_t address, const void* from, uint64_t bytes) {
  return op.space != nullptr ? op.space->write(address, from, bytes) : writeGuest(op.tid, address, from, bytes);
}

// Pointer fields lead to the arena instead of the guest. The guest's own values are kept from the snapshot, not from the arena, which the
// driver domain can write.
int Mediator::relocate(Op& op) {
  Channel& channel = *op.backend->channel;
  op.originals.clear();
  for (const ExchangeRelocation& relocation : op.plan.relocations) {
    uint64_t original = 0;
    if (relocation.region == kSourceArgument) {
      op.originals.push_back(original);  // It is in no memory: the submission has the new one.
      continue;
    }
    const Region& region = op.regions[relocation.region];
    if (relocation.region == 0)
      std::memcpy(&original, op.head.data() + relocation.offset, sizeof original);
    else if (op.snapshot.fetch(region.address + relocation.offset, reinterpret_cast<uint8_t*>(&original), sizeof original) != 0)
      return EFAULT;
    op.originals.push_back(original);
    const uint64_t pointer = channel.agentAddressOf(op.regions[relocation.target].arena);
    std::memcpy(channel.at(region.arena) + relocation.offset, &pointer, sizeof pointer);
  }
  return 0;
}

// What the driver gets as the argument of a command: an address in the arena, or the guest's own plain word.
uint64_t Mediator::argumentOf(const Op& op) const {
  const Region& first = op.regions[0];
  if (first.bytes > 0) return op.backend->channel->agentAddressOf(first.arena);
  for (const ExchangeRelocation& relocation : op.plan.relocations)
    if (relocation.region == kSourceArgument) return op.backend->channel->agentAddressOf(op.regions[relocation.target].arena);
  return op.call.argument;
}

postern_op Mediator::submissionOf(const Op& op) const {
  postern_op submission{};
  const Region& first = op.regions[0];
  submission.id = op.id;
  submission.file = op.session->file;
  submission.flags = (op.plan.blocking || op.operation == Operation::kOpen ? uint32_t(POSTERN_OP_BLOCKING) : 0u) |
                     (op.nonblocking ? uint32_t(POSTERN_OP_NONBLOCK) : 0u) | (op.positional ? uint32_t(POSTERN_OP_POSITIONAL) : 0u) |
                     (isSteady(op) ? uint32_t(POSTERN_OP_STEADY) : 0u);
  submission.command = op.call.command;
  submission.length = op.call.length;
  submission.offset = op.call.offset;
  submission.head_offset = first.bytes > 0 ? first.arena : 0;
  submission.descriptors_offset = op.descriptorBytes > 0 ? op.descriptorArena : 0;
  submission.descriptors = op.descriptorBytes / sizeof(postern_descriptor);
  switch (op.operation) {
    case Operation::kOpen:
      submission.kind = POSTERN_OP_OPEN;
      submission.command = op.call.command & kDriverOpenFlags;
      break;
    case Operation::kIoctl:
      submission.kind = POSTERN_OP_IOCTL;
      submission.argument = argumentOf(op);
      break;
    case Operation::kRead:
      submission.kind = POSTERN_OP_READ;
      break;
    case Operation::kWrite:
      submission.kind = POSTERN_OP_WRITE;
      break;
    case Operation::kMmap:
      submission.kind = POSTERN_OP_MMAP;
      submission.argument = op.mapping;
      submission.length = (op.call.length + POSTERN_PAGE_BYTES - 1) / POSTERN_PAGE_BYTES * POSTERN_PAGE_BYTES;
      break;
    case Operation::kSeek:
      submission.kind = POSTERN_OP_SEEK;
      break;
  }
  return submission;
}

bool Mediator::hasReply(const Op& op, const Region& region) const {
  if ((region.access & kFromDriver) == 0 || region.bytes == 0) return false;
  return op.outcome >= 0 || (region.access & kFromDriverOnError) != 0;
}

// The last step: the guest gets its bytes, its poll state and its answer.
void Mediator::conclude(Op& op) {
  int64_t value = op.outcome;
  if (op.operation != Operation::kOpen) present(*op.session, op.borrowed.get());
  int error = value < 0 ? static_cast<int>(-value) : 0;
  if (error == EINTR && op.interruption != 0) error = op.interruption;
  if (op.operation == Operation::kOpen) {
    if (error == 0) error = finishOpen(op);
    if (error == 0) return release(op);
  } else if (op.operation == Operation::kMmap) {
    if (error == 0) {
      finishMmap(op);
      return release(op);
    }
    if (error == EOPNOTSUPP) error = ENODEV;
  } else if (op.ring != nullptr) {
    putReply(op);
  } else if (!op.abandoned && hasCopyOut(op) && listener_.isValid(op.notification)) {
    if (error == 0 && !op.passed.empty()) error = returnDescriptors(op);
    // The reply goes out even when the driver failed, where the class says so; a bad address then is the answer.
    if (int copyError = copyOut(op)) error = copyError;
  }
  if (error != 0) counters_.failed++;
  finishNow(op, value, error);
}

bool Mediator::hasCopyOut(const Op& op) const {
  if (op.operation == Operation::kRead) return op.outcome > 0;
  if (op.operation != Operation::kIoctl) return false;
  return std::any_of(op.regions.begin(), op.regions.end(), [&](const Region& region) { return hasReply(op, region); });
}

int Mediator::copyOut(Op& op) {
  if (op.operation == Operation::kRead) return op.outcome > 0 ? copyOutVectors(op, static_cast<uint64_t>(op.outcome)) : 0;
  if (op.operation != Operation::kIoctl) return 0;
  Channel& channel = *op.backend->channel;
  for (size_t i = 0; i < op.plan.relocations.size(); i++) {
    const ExchangeRelocation& relocation = op.plan.relocations[i];
    if (relocation.region != 0 && relocation.region != kSourceArgument)
      std::memcpy(channel.at(op.regions[relocation.region].arena) + relocation.offset, &op.originals[i], sizeof(uint64_t));
  }
  // Nested regions first: as in the kernel, a bad nested address leaves the head as it was.
  for (size_t i = op.regions.size(); i-- > 0;) {
    const Region& region = op.regions[i];
    if (!hasReply(op, region)) continue;
    const uint8_t* from = i == 0 ? op.head.data() : channel.at(region.arena);
    if (int error = writeOut(op, region.address, from, region.bytes)) return error;
    counters_.bytesOut += region.bytes;
  }
  return 0;
}

int Mediator::copyOutVectors(Op& op, uint64_t bytes) {
  if ((op.plan.headAccess & kFromDriver) == 0) return EIO;
  const uint8_t* from = op.backend->channel->at(op.regions[0].arena);
  counters_.bytesOut += bytes;
  for (const iovec& vector : op.vectors) {
    const uint64_t part = std::min<uint64_t>(bytes, vector.iov_len);
    if (part == 0) continue;
    if (int error = writeOut(op, reinterpret_cast<uint64_t>(vector.iov_base), from, part)) return error;
    from += part;
    bytes -= part;
  }
  return 0;
}

void Mediator::answer(Op& op, int64_t value, int error) {
  // The guest's file must be free to close by the time the call returns: the borrowed copy goes first.
  op.borrowed.reset();
  // Nothing has happened yet that can't be done again, and a guest VM was asked for memory that it has not got there.
  const bool isBefore = op.phase == Phase::kJudging || op.phase == Phase::kQueued;
  if (isBefore && op.space != nullptr && !op.space->needs().empty()) error = VmAddressSpace::kPagesNeeded;
  if (op.ring != nullptr) {
    op.ring->answer(op.slot, value, error);
    return;
  }
  wakeRing(op.tgid);
  if (!op.abandoned) (void)listener_.answer(op.notification, value, error);
}

void Mediator::releaseRegions(Op& op) {
  if (op.descriptorBytes > 0) op.backend->channel->arena().release(op.descriptorArena, op.descriptorBytes);
  op.descriptorBytes = 0;
  for (Region& region : op.regions) {
    if (region.arena == Arena::kNone) continue;
    op.backend->channel->arena().release(region.arena, region.bytes);
    region.arena = Arena::kNone;
  }
}

void Mediator::release(Op& op) {
  if (op.backend != nullptr) releaseRegions(op);
  if (!op.passed.empty()) releaseDescriptors(op);
  Session* session = op.session;
  const bool isUnplacedOpen = op.operation == Operation::kOpen && session != nullptr && !session->placed;
  if (op.abandoned) orphans_--;
  op.phase = Phase::kFree;
  op.borrowed.reset();
  op.session = nullptr;
  op.backend = nullptr;
  op.ring = nullptr;
  running_.erase(op.id);
  freeOperations_.push_back(&op);
  if (session != nullptr && op.admission != 0) {
    session->admitted--;
    if (op.plan.alone) session->isAlone = false;
  }
  if (isUnplacedOpen) discardSession(session);
  if (session != nullptr && op.operation != Operation::kOpen) endOperation(*session);
}

}  // namespace postern
