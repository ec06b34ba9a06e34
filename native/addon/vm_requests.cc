// A guest VM's requests become operations here: this is where an ioctl of a program in a guest VM enters. From then on it is an operation
// like any other: judged, moved and answered by the same code.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>

#include "mediator.h"

namespace postern {
namespace {

// The system call that a request stands for, with the file's number in place of a descriptor.
seccomp_notif callOf(uint64_t id, const postern_vm_request& request) {
  seccomp_notif call{};
  call.id = id;
  call.pid = request.thread;
  seccomp_data& data = call.data;
  data.args[0] = request.file;
  data.args[1] = request.argument;
  data.args[2] = request.length;
  switch (request.kind) {
    case POSTERN_VM_IOCTL:
      data.nr = SYS_ioctl;
      data.args[1] = request.command;
      data.args[2] = request.argument;
      break;
    case POSTERN_VM_READ:
      data.nr = SYS_read;
      break;
    case POSTERN_VM_WRITE:
      data.nr = SYS_write;
      break;
    case POSTERN_VM_MMAP:
      data.nr = SYS_mmap;
      data.args[0] = 0;
      data.args[1] = request.length;
      data.args[2] = request.command;
      data.args[3] = MAP_SHARED;
      data.args[4] = request.file;
      data.args[5] = request.offset;
      break;
    case POSTERN_VM_SEEK:
      data.nr = SYS_lseek;
      data.args[1] = request.offset;
      data.args[2] = request.command;
      break;
    default:
      data.nr = SYS_openat;
  }
  return call;
}

}  // namespace

std::optional<Event> Mediator::receiveRequest() {
  if (vm_->hasLeft()) forgetFrontend();
  auto received = vm_->receive();
  if (vm_->isRingRefused()) noteBreach(VmBreach::kRing);
  if (vm_->hasEndlessRounds()) noteBreach(VmBreach::kRounds);
  if (!received) return std::nullopt;
  counters_.notifications++;
  expectRequests();
  const postern_vm_request& request = received->request;
  switch (request.kind) {
    case POSTERN_VM_OPEN:
      return openByRequest(received->id, request);
    case POSTERN_VM_RELEASE:
      releaseByRequest(request.file);
      break;
    case POSTERN_VM_MUNMAP:
      unmapByRequest(request.argument);
      break;
    case POSTERN_VM_CANCEL:
      cancelByRequest(request.argument);
      break;
    case POSTERN_VM_IOCTL:
    case POSTERN_VM_READ:
    case POSTERN_VM_WRITE:
    case POSTERN_VM_MMAP:
    case POSTERN_VM_SEEK:
      return operateByRequest(received->id, request);
    default:
      noteBreach(VmBreach::kKind);
      (void)listener_.answer(received->id, 0, EINVAL);
      return std::nullopt;
  }
  (void)listener_.answer(received->id, 0, 0);
  return std::nullopt;
}

std::optional<Event> Mediator::openByRequest(uint64_t id, const postern_vm_request& request) {
  Node* node = view_.at(request.device);
  const bool isFree = request.file < POSTERN_VM_FILES_MADE && vmFiles_.count(request.file) == 0;
  if (node == nullptr || !isFree) {
    noteBreach(node == nullptr ? VmBreach::kDevice : VmBreach::kFileTaken);
    (void)listener_.answer(id, 0, node == nullptr ? ENXIO : EINVAL);
    return std::nullopt;
  }
  return openNode(callOf(id, request), *node, request.flags, static_cast<pid_t>(request.process));
}

std::optional<Event> Mediator::operateByRequest(uint64_t id, const postern_vm_request& request) {
  auto found = vmFiles_.find(request.file);
  if (found == vmFiles_.end()) {
    noteBreach(VmBreach::kFile);
    (void)listener_.answer(id, 0, EBADF);
    return std::nullopt;
  }
  if (request.kind == POSTERN_VM_SEEK && !isSought(*found->second)) {
    (void)listener_.answer(id, 0, ESPIPE);
    return std::nullopt;
  }
  Holding holding;
  holding.session = found->second;
  holding.flags = static_cast<int>(request.flags);
  return operate(callOf(id, request), std::move(holding), static_cast<pid_t>(request.process));
}

// The guest's kernel has closed the file; its number may come again at once.
void Mediator::releaseByRequest(uint32_t file) {
  auto found = vmFiles_.find(file);
  if (found == vmFiles_.end()) return;
  Session* session = found->second;
  vmFiles_.erase(found);
  session->hungUp = true;
  if (session->operations == 0) releaseSession(session);
}

void Mediator::unmapByRequest(uint64_t offset) {
  for (auto& [id, mapping] : mappings_) {
    if (mapping->apertureOffset != offset || mapping->releasing || offset == 0) continue;
    // What could not be taken from the guest stays claimed for it.
    if (!vm_->hide(offset)) return;
    mapping->apertureOffset = 0;
    return releaseMapping(*mapping);
  }
  // Of a domain that has ended.
  if (vm_->isBlank(offset)) return (void)vm_->hide(offset);
  noteBreach(VmBreach::kMapping);
}

// The frontend has been unloaded, or its kernel begins anew: whatever it had is released. What its drivers still do for it finds nobody.
void Mediator::forgetFrontend() {
  vm_->letGo();
  while (!vmFiles_.empty()) releaseByRequest(vmFiles_.begin()->first);
  for (auto& [id, mapping] : mappings_) {
    if (mapping->apertureOffset == 0 || mapping->releasing || !vm_->hide(mapping->apertureOffset)) continue;
    mapping->apertureOffset = 0;
    releaseMapping(*mapping);
  }
  vm_->hideBlank();
}

// Told once of each kind: a guest that is hostile would fill the log otherwise.
void Mediator::noteBreach(VmBreach breach) {
  const uint32_t bit = 1u << static_cast<uint32_t>(breach);
  if ((vmBreaches_ & bit) != 0) return;
  vmBreaches_ |= bit;
  note(Note::kFrontendBroken, static_cast<uint32_t>(breach));
}

// A signal waits for the caller: its driver is interrupted, if it sleeps.
void Mediator::cancelByRequest(uint64_t sequence) {
  for (auto& [id, op] : running_) {
    if (vm_->sequenceOf(op->notification) != sequence || op->phase != Phase::kDriving || op->cancelled || !op->plan.blocking) continue;
    op->interruption = kErestartsys;
    counters_.interrupted++;
    cancel(*op);
  }
}

// The guest must hold every page that the reply will be written to, before the driver does what can't be done again.
bool Mediator::holdsReplies(Op& op) {
  if (op.space == nullptr) return true;
  bool holds = true;
  const bool isRead = op.operation == Operation::kRead;
  for (const iovec& vector : op.vectors)
    if (isRead) holds &= op.space->prepareWrite(reinterpret_cast<uint64_t>(vector.iov_base), vector.iov_len) == 0;
  if (op.operation != Operation::kIoctl) return holds;
  for (const Region& region : op.regions)
    if ((region.access & kFromDriver) != 0) holds &= op.space->prepareWrite(region.address, region.bytes) == 0;
  return holds;
}

// The driver's pages appear in the aperture; the answer says where. 0 or an errno.
int Mediator::showMapping(Op& op, Mapping& mapping, const std::vector<RemoteRun>& runs) {
  // The frontend may have left meanwhile.
  const int64_t offset = !listener_.isValid(op.notification) ? -ESRCH : vm_->show(runs, (op.call.command & PROT_WRITE) != 0);
  if (offset < 0) {
    counters_.failed++;
    note(Note::kInjectionFailed, static_cast<uint32_t>(-offset), &op, ENOMEM);
    // What show() could not take back either stays claimed for this guest.
    if (offset != -EADDRINUSE) releaseMapping(mapping);
    answer(op, 0, ENOMEM);
    return ENOMEM;
  }
  mapping.apertureOffset = static_cast<uint64_t>(offset);
  counters_.pagesMapped += mapping.pages.size();
  counters_.mappings++;
  answer(op, offset, 0);
  return 0;
}

}  // namespace postern
