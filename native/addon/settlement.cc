// What the driver has done is shown to the policy, and what the policy says of it is applied: state, handles, masks, poll events.
#include <algorithm>
#include <cstring>

#include "mediator.h"

namespace postern {

std::optional<Event> Mediator::complete(Op& op, const postern_completion& completion) {
  if (op.isRecalled) return recall(op);
  op.outcome = completion.result;
  const bool isTransfer = op.operation == Operation::kRead || op.operation == Operation::kWrite;
  const bool isTooLong = isTransfer && op.outcome > static_cast<int64_t>(op.call.length);
  if (op.outcome < -static_cast<int64_t>(kErrnoMax) || isTooLong) {
    note(Note::kBackendConfused, completion.kind, &op, EIO);
    op.outcome = -EIO;
  }
  op.hasReady = completion.ready != POSTERN_READY_UNKNOWN;
  op.ready = completion.ready;
  Channel& channel = *op.backend->channel;
  // The head's reply is taken into the host's own memory once; what the policy sees is what the guest gets.
  if (op.operation == Operation::kIoctl && hasReply(op, op.regions[0])) {
    std::memcpy(op.head.data(), channel.at(op.regions[0].arena), op.head.size());
    for (size_t i = 0; i < op.plan.relocations.size(); i++)
      if (op.plan.relocations[i].region == 0)
        std::memcpy(op.head.data() + op.plan.relocations[i].offset, &op.originals[i], sizeof(uint64_t));
  }
  if (!op.passed.empty()) receiveDescriptors(op);
  op.phase = Phase::kSettling;
  if (isUnsettled(op)) {
    if (op.hasReady) op.session->ready = op.ready;
    keepForReplay(op);
    conclude(op);
    return std::nullopt;
  }
  current_ = &op;
  exchange_->classIndex = op.session->node->classIndex;
  exchange_->commandRow = op.commandRow;
  exchange_->process = static_cast<uint32_t>(op.tgid);
  op.call.state = op.session->state;
  exchange_->call = op.call;
  exchange_->outcome = op.outcome;
  exchange_->headBytes = static_cast<uint32_t>(op.head.size());
  std::memcpy(exchange_->head, op.head.data(), op.head.size());
  return Event::kComplete;
}

// Whether the module that is in force says so of the operation, which it has judged, and what it said of the session before still holds.
bool Mediator::isUnsettled(const Op& op) const {
  const DeviceClass& deviceClass = options_.classes[op.session->node->classIndex];
  if (op.isObserved || op.call.generation != deviceClass.generation || op.session->settledBy != deviceClass.generation) return false;
  if (op.operation == Operation::kRead || op.operation == Operation::kWrite) return deviceClass.areTransfersUnsettled;
  return op.operation == Operation::kIoctl && op.passed.empty() && deviceClass.rows[op.commandRow].isUnsettled;
}

bool Mediator::isSteady(const Op& op) const {
  const DeviceClass& deviceClass = options_.classes[op.session->node->classIndex];
  return op.operation == Operation::kIoctl && op.call.generation == deviceClass.generation && deviceClass.rows[op.commandRow].isSteady;
}

void Mediator::settle(Op& op) {
  if (exchange_->settlementFault != 0) {
    counters_.faults++;
    if (op.operation == Operation::kOpen && op.outcome >= 0) releaseSession(std::exchange(op.session, nullptr));
    finishNow(op, 0, EIO);
    return;
  }
  applySettlement(op);
  keepForReplay(op);
  const bool hasSession = op.operation != Operation::kOpen || op.outcome >= 0;
  // The guest sees the driver's readiness as of this operation, so a new watch must have answered first.
  op.watchesAwaited = hasSession && setWatch(*op.session, exchange_->watch, op.id) ? 1 : 0;
  if (!op.passed.empty()) watchDescriptors(op);
  if (op.watchesAwaited == 0) conclude(op);
}

// The bytes of a reply, in the host's memory for the head, in the arena for the rest; null when out of range or not the driver's.
uint8_t* Mediator::regionBytes(Op& op, uint32_t region, uint32_t offset, uint32_t width) {
  if (region >= op.regions.size() || !hasReply(op, op.regions[region])) return nullptr;
  const uint32_t bytes = op.regions[region].bytes;
  if (width > bytes || offset > bytes - width || (width != 4 && width != 8)) return nullptr;
  return (region == 0 ? op.head.data() : op.backend->channel->at(op.regions[region].arena)) + offset;
}

void Mediator::applySettlement(Op& op) {
  Session& session = *op.session;
  session.state = exchange_->state;
  session.settledBy = op.call.generation;
  HandleTables& tables = handles_[session.node->classIndex];
  const uint32_t lessons = std::min(exchange_->lessons, kLessonsMax);
  for (uint32_t i = 0; i < lessons; i++) {
    const ExchangeLesson& lesson = exchange_->lesson[i];
    uint64_t value = 0;
    // A lesson of the read or write buffer has no meaning: only structures carry handles.
    const uint8_t* from = op.operation == Operation::kIoctl ? regionBytes(op, lesson.region, lesson.offset, lesson.width) : nullptr;
    if (from == nullptr) {
      if (op.outcome >= 0) note(Note::kPlanRefused, static_cast<uint32_t>(PlanError::kRequirement), &op);
      continue;
    }
    std::memcpy(&value, from, lesson.width);
    // The driver may have ended it since, for an operation that has emptied the table.
    if (op.admission < session.emptied[lesson.table % kTablesApart]) continue;
    if (!tables.learn(lesson.table, value, holderOf(session))) note(Note::kLimit, ENOMEM, &op);
  }
  applyMasks(op);
  if (op.hasReady) session.ready = op.ready;
  session.idle = exchange_->idle;
}

void Mediator::applyMasks(Op& op) {
  const uint32_t masks = std::min(exchange_->masks, kMasksMax);
  for (uint32_t i = 0; i < masks; i++) {
    const ExchangeMask& mask = exchange_->mask[i];
    uint8_t* at = op.operation == Operation::kIoctl ? regionBytes(op, mask.region, mask.offset, mask.width) : nullptr;
    if (at == nullptr) continue;
    uint64_t value = 0;
    std::memcpy(&value, at, mask.width);
    value &= mask.keep;
    std::memcpy(at, &value, mask.width);
  }
}

}  // namespace postern
