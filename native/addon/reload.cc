// A class's module is exchanged between two operations: its table and envelope change together with it. What is in flight stays with
// the module that admitted it, by the generation in its call; sessions and handles are the host's and stay.
#include <cerrno>

#include "mediator.h"

namespace postern {

// Takes effect for every operation from the next one on. `kinds`: by node, what the new manifest calls it.
uint32_t Mediator::configure(uint32_t classIndex, DeviceClass deviceClass, const std::vector<uint32_t>& kinds) {
  const uint32_t generation = options_.classes[classIndex].generation + 1;
  handles_[classIndex].setLimit(deviceClass.envelope.handlesMax);
  options_.classes[classIndex] = std::move(deviceClass);
  options_.classes[classIndex].generation = generation;
  view_.setKinds(classIndex, kinds);
  return generation;
}

bool Mediator::isInFlight(uint32_t classIndex, uint32_t generation) const {
  for (auto& [id, op] : running_)
    if (op->session != nullptr && op->session->node->classIndex == classIndex && op->call.generation == generation) return true;
  return false;
}

uint32_t Mediator::openFiles(uint32_t classIndex) const {
  uint32_t files = 0;
  for (auto& [id, session] : sessions_) files += session->node->classIndex == classIndex;
  return files;
}

// A module on trial has asked for what it may not: JavaScript puts the one before it in force, and has the operation judged again.
Event Mediator::refuseOnTrial(Op& op, PlanError refused) {
  current_ = &op;
  exchange_->classIndex = op.session->node->classIndex;
  exchange_->noteDetail = static_cast<uint32_t>(refused);
  exchange_->process = static_cast<uint32_t>(op.tgid);
  exchange_->call = op.call;
  return Event::kRefused;
}

// The operation from its beginning, by the module that is in force now. What was read of the guest's arguments stays in the snapshot.
std::optional<Event> Mediator::judgeAgain(Op& op) {
  // What was posted in shared memory is not read twice.
  if (op.ring != nullptr) return fallBack(op);
  const seccomp_data data = op.data;
  op.call.node = op.session->node->kind;
  op.vectors.clear();
  switch (op.operation) {
    case Operation::kOpen:
      return judge(op);
    case Operation::kIoctl:
      return handleIoctl(op, data);
    case Operation::kMmap:
      return handleMmap(op, data);
    case Operation::kSeek:
      return handleSeek(op, data);
    case Operation::kRead:
    case Operation::kWrite:
      op.head.clear();
      return handleTransfer(op, data);
  }
  return finishNow(op, 0, EIO);
}

// The driver domain has ended: what the guest has open of it ends with ENODEV and stays dead, and nothing of it is touched any more, so
// that its descriptors can be closed. What was only its own is forgotten: handles, and whose its pages were, which no driver writes any
// more. A guest VM has fresh pages in their place.
void Mediator::loseDomain() {
  options_.domain->setLost();
  for (auto& backend : backends_) {
    loseBackend(*backend);
    if (std::exchange(backend->detached, true)) continue;
    unpoll(backend->channel->event());
    backend->mappings = 0;
  }
  mappings_.clear();
  if (vm_) vm_->blankAll();
  for (size_t i = 0; i < handles_.size(); i++) handles_[i] = HandleTables(options_.classes[i].envelope.handlesMax);
}

// Another domain has taken its place: what the guest opens from now on is of this one. False when a guest VM's QEMU can't be given its memory.
bool Mediator::replaceDomain(std::shared_ptr<Domain> next) {
  if (next == options_.domain) return true;
  loseDomain();
  if (vm_ && vm_->takeMemory() != 0) return false;
  options_.domain = std::move(next);
  noteMemory();
  return true;
}

}  // namespace postern
