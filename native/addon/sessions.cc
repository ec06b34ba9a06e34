// Open files of a guest: made by an open, served by a backend process, mirrored in their readiness, released when the last copy goes.
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "descriptor_reserve.h"
#include "mediator.h"

namespace postern {
Backend* Mediator::backendFor(pid_t tgid) {
  for (auto& backend : backends_)
    if (backend->tgid == tgid && !backend->guestEnded && !backend->lost) return backend.get();
  retireBackends();
  // A guest VM's processes are not this machine's.
  Descriptor process(vm_ ? -1 : static_cast<int>(syscall(SYS_pidfd_open, tgid, 0)));
  // Without it, nobody would see that the process has ended, and what is held for it would stay.
  if (!vm_ && !process.valid() && isDescriptorShortage(errno)) return nullptr;
  Channel* channel = options_.domain->isLost() ? nullptr : options_.domain->acquireChannel(static_cast<uint32_t>(backends_.size()));
  if (channel == nullptr) return nullptr;
  auto backend = std::make_unique<Backend>();
  backend->domain = options_.domain;
  backend->channel = channel;
  backend->tgid = tgid;
  backend->guestProcess = std::move(process);
  // It has ended already.
  backend->guestEnded = !vm_ && !backend->guestProcess.valid();
  poll(channel->event(), kChannelTag | channel->index(), EPOLLIN);
  if (backend->guestProcess.valid())
    poll(backend->guestProcess.get(), kProcessTag | static_cast<uint32_t>(tgid), EPOLLIN);
  backends_.push_back(std::move(backend));
  return backends_.back().get();
}

Session* Mediator::sessionOf(int borrowed) {
  const uint64_t cookie = Placeholder::cookieOf(borrowed);
  if (cookie == 0) return nullptr;
  auto found = sessionByCookie_.find(cookie);
  return found == sessionByCookie_.end() ? nullptr : found->second;
}

Session* Mediator::createSession(Op& op, Node* node) {
  bool* slot = std::find(op.backend->files, op.backend->files + POSTERN_FILES_MAX, false);
  if (slot == op.backend->files + POSTERN_FILES_MAX) return nullptr;
  *slot = true;
  auto session = std::make_unique<Session>();
  session->id = nextSession_++;
  session->node = node;
  session->backend = op.backend;
  session->file = static_cast<uint32_t>(slot - op.backend->files);
  op.backend->sessions++;
  if (options_.classes[node->classIndex].isExclusive) op.backend->claims[session->file] = node->name;
  Session* made = session.get();
  sessions_[made->id] = std::move(session);
  return made;
}

// The driver has opened its file: the guest gets its placeholder. 0, or an errno with nothing placed.
int Mediator::finishOpen(Op& op) {
  const int placed = placeSession(op, *op.session, op.closeOnExec, true);
  if (placed >= 0) {
    // What a driver gives to whoever opens first is not for a guest behind.
    if (!isFront_ && foregroundOf(*op.session) != nullptr) giveBack(*op.session);
    return 0;
  }
  releaseSession(std::exchange(op.session, nullptr));
  return -placed;
}

// Puts a session's placeholder into the guest, in the window; with `answers`, its number is the call's answer. The number, or -errno with
// nothing placed.
int Mediator::placeSession(Op& op, Session& session, bool closeOnExec, bool answers) {
  if (op.abandoned) return -ESRCH;
  if (vm_ && !listener_.isValid(op.notification)) return -ESRCH;
  if (vm_) {
    // A guest VM's frontend has made the file, under a number of its own.
    placeInVm(session, static_cast<uint32_t>(op.data.args[0]));
    (void)listener_.answer(op.notification, 0, 0);
    return 0;
  }
  const int slot = freeWindowSlot(op.tid, 0);
  if (slot < 0) {
    note(Note::kWindowFull, 0, &op);
    return -EMFILE;
  }
  Descriptor guestEnd;
  // What is kept is for the files that there are.
  DescriptorReserve::ofThread().fill();
  int error = session.placeholder.create(guestEnd);
  // What the guest has closed, and nobody has looked at yet, has descriptors of this process.
  if (isDescriptorShortage(error) && reapHungUp()) error = session.placeholder.create(guestEnd);
  if (error != 0) return -error;
  const bool isNonblocking = op.operation == Operation::kOpen && (op.call.fileFlags & O_NONBLOCK) != 0;
  if (isNonblocking) (void)fcntl(guestEnd.get(), F_SETFL, O_RDWR | O_NONBLOCK);
  session.holder = op.tid;
  session.holderNumber = slot;
  sessionByCookie_[session.placeholder.cookie()] = &session;
  (void)session.placeholder.present(shownReadiness(session), guestEnd.get());
  poll(session.placeholder.hostEnd(), kSessionTag | session.id, EPOLLRDHUP | EPOLLET);
  const int placed = listener_.addDescriptor(op.notification, guestEnd.get(), slot, closeOnExec, answers);
  if (placed < 0) return placed;
  session.placed = true;
  counters_.sessions++;
  return placed;
}

void Mediator::placeInVm(Session& session, uint32_t file) {
  session.guestFile = file;
  vmFiles_[file] = &session;
  session.placed = true;
  counters_.sessions++;
  present(session, -1);
}

// Forgets a session that the driver never opened.
void Mediator::discardSession(Session* session) {
  freeFile(*session->backend, session->file);
  session->backend->sessions--;
  sessions_.erase(session->id);
}

// The driver has closed the file, or never opened it: its number, and the device if it is an exclusive one, may be used again.
void Mediator::freeFile(Backend& backend, uint32_t file) {
  backend.files[file] = false;
  auto claim = backend.claims.find(file);
  if (claim == backend.claims.end()) return;
  backend.domain->releaseDevice(options_.guest, claim->second);
  backend.claims.erase(claim);
}

// With the backend process all its files have gone.
void Mediator::releaseClaims(Backend& backend) {
  for (auto& [file, device] : backend.claims) backend.domain->releaseDevice(options_.guest, device);
  backend.claims.clear();
}

void Mediator::endOperation(Session& session) {
  session.operations--;
  if (session.hungUp && session.operations == 0) releaseSession(&session);
}

// The last copy has gone: the driver's file is closed, the guest's handles of it are void.
void Mediator::releaseSession(Session* session) {
  handles_[session->node->classIndex].forgetSession(session->id);
  sessionByCookie_.erase(session->placeholder.cookie());
  cache_.forgetSession(session);
  if (session->placeholder.hostEnd() >= 0) unpoll(session->placeholder.hostEnd());
  releaseCopies(*session);
  Backend* backend = session->backend;
  backend->sessions--;
  const uint32_t file = session->file;
  sessions_.erase(session->id);
  if (mappings_.size() > 0) mappingRounds_ = std::max(mappingRounds_, 2u);
  postern_op release{};
  release.kind = POSTERN_OP_RELEASE;
  release.file = file;
  retireWanted_ = true;
  if (!submitInternal(*backend, release, Internal::kRelease, file)) return;
  releasesPending_++;
  holdCalls();
}

// Looks at once for files whose last copy has gone, which would else be told of by the next look at all events. Whether there were any.
bool Mediator::reapHungUp() {
  std::vector<pollfd> ends;
  std::vector<uint32_t> ids;
  for (auto& [id, session] : sessions_) {
    if (session->placeholder.hostEnd() < 0 || session->hungUp) continue;
    ends.push_back({session->placeholder.hostEnd(), POLLRDHUP, 0});
    ids.push_back(id);
  }
  if (::poll(ends.data(), ends.size(), 0) <= 0) return false;
  for (size_t i = 0; i < ends.size(); i++)
    if ((ends[i].revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0) noteHangUp(ids[i]);
  return true;
}

void Mediator::noteHangUp(uint32_t sessionId) {
  auto session = sessions_.find(sessionId);
  if (session == sessions_.end()) return;
  session->second->hungUp = true;
  if (session->second->operations == 0) releaseSession(session->second.get());
}

bool Mediator::submitInternal(Backend& backend, postern_op op, Internal kind, uint32_t subject, uint64_t waiter) {
  if (backend.lost) return false;
  op.id = nextId_++;
  internal_.add(op.id, {kind, &backend, subject, waiter});
  // What the host itself must tell a backend is never lost, only late: a close that found the ring full would leave the driver's file open.
  if (!backend.channel->submit(op)) deferred_.push_back({&backend, op});
  return true;
}

void Mediator::submitDeferred() {
  while (!deferred_.empty() && deferred_.front().backend->channel->submit(deferred_.front().op)) deferred_.pop_front();
}

// An operation, or a poll, has waited for a backend's answer.
void Mediator::answerWaiter(uint64_t id) {
  if (auto operation = running_.find(id); operation != running_.end()) {
    if (--operation->second->watchesAwaited == 0) conclude(*operation->second);
  } else if (auto poll = polls_.find(id); poll != polls_.end()) {
    if (--poll->second->awaited == 0) pollAnswered(*poll->second);
  }
}

void Mediator::finishInternal(const InternalOp& internal, const postern_completion& completion) {
  switch (internal.kind) {
    case Internal::kRelease:
      freeFile(*internal.backend, internal.subject);
      releasesPending_--;
      retireWanted_ = true;
      break;
    case Internal::kWatch:
      if (auto session = sessions_.find(internal.subject); session != sessions_.end() && completion.ready != POSTERN_READY_UNKNOWN) {
        session->second->ready = completion.ready;
        if (internal.waiter == 0) present(*session->second, -1);
      }
      answerWaiter(internal.waiter);
      break;
    case Internal::kDisarm:
      answerWaiter(internal.waiter);
      break;
    case Internal::kMunmap:
      if (auto mapping = mappings_.find(internal.subject); mapping != mappings_.end()) {
        internal.backend->domain->releasePages(options_.guest, mapping->second->pages);
        internal.backend->mappings--;
        mappings_.erase(mapping);
        retireWanted_ = true;
      }
      break;
    case Internal::kCancel:
      break;
    case Internal::kGive:
    case Internal::kTake:
    case Internal::kDrain:
    case Internal::kReplay:
      finishForeground(internal, completion);
      break;
  }
}

// Whether a change is under way, which `waiter` then waits for.
bool Mediator::setWatch(Session& session, uint32_t watch, uint64_t waiter) {
  if (watch == session.watch || isSynchronized(session)) return false;
  session.watch = watch;
  session.ready = 0;
  postern_op op{};
  op.kind = POSTERN_OP_WATCH;
  op.file = session.file;
  op.command = watch;
  return submitInternal(*session.backend, op, Internal::kWatch, session.id, waiter);
}

// Makes the guest's poll state what it should be. What must be taken back needs a copy of the guest's end, from whoever had it last.
void Mediator::present(Session& session, int borrowed) {
  const bool isInVm = vm_ && session.placed && !session.hungUp;
  if (session.placeholder.hostEnd() < 0 && !isInVm) return;
  const uint32_t mask = shownReadiness(session);
  if (isInVm) return vm_->present(session.guestFile, mask);
  Descriptor copy;
  if (borrowed < 0 && session.placeholder.needsGuestEnd(mask)) {
    copy = borrow(session.holder, session.holderNumber);
    if (copy.valid() && Placeholder::cookieOf(copy.get()) == session.placeholder.cookie()) borrowed = copy.get();
  }
  (void)session.placeholder.present(mask, borrowed);
}

// Backends whose guest process has ended and that hold nothing any more.
void Mediator::retireBackends() {
  retireWanted_ = false;
  for (auto it = backends_.begin(); it != backends_.end();) {
    Backend& backend = **it;
    const bool isBusy = backend.sessions > 0 || backend.mappings > 0 || (!backend.lost && backend.channel->outstanding() > 0);
    bool isUsed = false;
    for (auto& [id, op] : running_) isUsed |= op->backend == &backend;
    for (auto& [id, op] : internal_) isUsed |= op.backend == &backend;
    if (isBusy || isUsed || !(backend.guestEnded || backend.lost || vm_)) {
      ++it;
      continue;
    }
    if (!backend.detached) unpoll(backend.channel->event());
    backend.domain->releaseChannel(backend.channel);
    forgetCopiesIn(backend);
    it = backends_.erase(it);
  }
}

// The backend process, or the whole driver domain, has gone: everything that it had in hand ends with ENODEV, and its files hang up.
void Mediator::loseBackend(Backend& backend) {
  if (backend.lost) return;
  backend.lost = true;
  retireWanted_ = true;
  note(Note::kBackendLost, backend.channel->index(), nullptr, ENODEV);
  releaseClaims(backend);
  for (auto it = internal_.begin(); it != internal_.end();) {
    if (it->second.backend != &backend) {
      ++it;
      continue;
    }
    if (it->second.kind == Internal::kRelease) releasesPending_--;
    if (isForegroundKind(it->second.kind)) frontPending_--;
    it = internal_.erase(it);
  }
  deferred_.erase(std::remove_if(deferred_.begin(), deferred_.end(), [&](const Deferred& entry) { return entry.backend == &backend; }),
                  deferred_.end());
  std::vector<Op*> lost;
  for (auto& [id, op] : running_)
    if (op->backend == &backend && (op->phase == Phase::kDriving || op->phase == Phase::kHeld || op->watchesAwaited > 0)) lost.push_back(op);
  held_.erase(std::remove_if(held_.begin(), held_.end(), [&](Op* op) { return op->backend == &backend; }), held_.end());
  loseBackendsPolls(backend);
  for (Op* op : lost) {
    counters_.failed++;
    finishNow(*op, 0, ENODEV);
  }
  for (auto& [id, session] : sessions_)
    if (session->backend == &backend) present(*session, -1);
}

void Mediator::failLostOperations() {
  for (auto& backend : backends_)
    if (!backend->lost && (backend->domain->isLost() || backend->channel->state() == POSTERN_CHANNEL_DEAD)) loseBackend(*backend);
}

}  // namespace postern
