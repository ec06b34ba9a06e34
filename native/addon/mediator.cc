#include "mediator.h"

#include <sched.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "descriptor_reserve.h"
#include "injector.h"
#include "process_view.h"
#include "slice.h"
#include "window.h"

namespace postern {
namespace {

// WAIT_KILLABLE_RECV delays handled signals until the answer, so long operations are looked at: often enough that a signal
// handler is not noticeably late, seldom enough to cost nothing.
constexpr auto kWatchInterval = std::chrono::milliseconds(4);
// A signal to the whole process is this operation's only if no other thread takes it within this many looks.
constexpr uint32_t kProcessSignalRounds = 3;
// A driver's release may take its time: a stream stops, a card draws on, on a machine that is busy. A close that has not ended yet must not be seen by
// what the guest does next, but calls don't wait longer than this for it.
constexpr auto kHoldBudget = std::chrono::seconds(3);
// While munmap may still be under way, and no operation asks.
constexpr int kMappingIntervalMs = 20;
// After the guest's end its backends are killed; they have this long.
constexpr auto kExitBudget = std::chrono::seconds(2);

// While posts are looked for, everything else is looked at about every 10 us.
constexpr uint32_t kRoundsUntilPoll = 8;
// A backend that has not answered in time so often in a row is not spun for any more, but each so manyth time.
constexpr uint32_t kFruitlessSpinsMax = 3, kDriveSpinRetry = 64;
// Events taken at once; what is beyond comes with the next look.
constexpr int kEventsMax = 64;
// A guest whose notifications are all that happens, so often in a row, is waited for in the receiving call. Changing over takes two system calls.
constexpr uint32_t kQuietWaitsUntilDirect = 8;

}  // namespace

Mediator::Mediator(MediatorOptions options, Exchange* exchange)
    : options_(std::move(options)),
      exchange_(exchange),
      vm_(options_.vm ? std::make_unique<VmGuest>(*options_.vm) : nullptr),
      listener_(vm_ ? Listener(vm_.get()) : Listener(options_.listener)),
      view_(std::move(options_.nodes)),
      epoll_(epoll_create1(EPOLL_CLOEXEC)) {
  postern_take_short_turns();
  isFront_ = options_.isFront;
  pidNamespace_ = vm_ ? 0 : pidNamespaceOf(options_.process);
  userNamespace_ = vm_ ? 0 : userNamespaceOf(options_.process);
  std::string missing = vm_ ? "" : view_.attach(options_.process);
  if (!missing.empty()) throw std::runtime_error("the guest's view lacks the guarded device file " + missing);
  noteMemory();
  for (const DeviceClass& deviceClass : options_.classes) handles_.emplace_back(deviceClass.envelope.handlesMax);
  nextMapAddress_ = POSTERN_MAP_FIRST;
  if (vm_)
    watchVm();
  else
    poll(listener_.fd(), kListenerTag, EPOLLIN);
  poll(options_.control, kControlTag, EPOLLIN);
  poll(cache_.threads(), kThreadsTag, EPOLLIN);
}

void Mediator::noteMemory() {
  struct stat st;
  if (fstat(options_.domain->memoryReadWrite(), &st) != 0) throw std::runtime_error("the driver domain's memory can't be looked at");
  memoryDevice_ = st.st_dev;
  memoryInode_ = st.st_ino;
}

// A guest VM rings when it has something, and has ended when QEMU has.
void Mediator::watchVm() {
  poll(vm_->doorbell(), kDoorbellTag, EPOLLIN);
  vmProcess_.reset(static_cast<int>(syscall(SYS_pidfd_open, options_.vm->process, 0)));
  if (!vmProcess_.valid()) throw std::runtime_error("the guest VM has ended");
  poll(vmProcess_.get(), kDoorbellTag | 1, EPOLLIN);
}

Mediator::~Mediator() {
  // A VM that runs on must have lost the driver's pages before anybody else may get them.
  const bool hasPages = vm_ && !guestGone_ && !vm_->hideAll();
  for (auto& backend : backends_) backend->domain->releaseChannel(backend->channel);
  // Pages go back only when the process that pinned them has gone; what does not end keeps them, and no one else gets them.
  const auto deadline = Clock::now() + kExitBudget;
  for (auto& backend : backends_)
    while (backend->channel->state() != POSTERN_CHANNEL_FREE && !backend->domain->isLost() && Clock::now() < deadline) usleep(200);
  for (auto& [id, mapping] : mappings_)
    if (!hasPages && mapping->backend->channel->state() == POSTERN_CHANNEL_FREE) mapping->backend->domain->releasePages(options_.guest, mapping->pages);
  for (auto& backend : backends_)
    if (backend->channel->state() == POSTERN_CHANNEL_FREE) releaseClaims(*backend);
}

void Mediator::poll(int fd, uint64_t tag, uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = tag;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0 && errno == EEXIST) (void)epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event);
}

void Mediator::unpoll(int fd) { (void)epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr); }

Event Mediator::step() {
  std::optional<Event> event = takeAnswer();
  for (;;) {
    if (!event) event = nextEvent();
    if (!event) {
      if (!spin()) wait();
      continue;
    }
    lastEvent_ = *event;
    exchange_->event = static_cast<uint32_t>(*event);
    return *event;
  }
}

std::optional<Event> Mediator::takeAnswer() {
  Op* op = std::exchange(current_, nullptr);
  if (op == nullptr) return std::nullopt;
  if (lastEvent_ == Event::kAdmit || lastEvent_ == Event::kRefused) return admit(*op);
  if (lastEvent_ == Event::kComplete) settle(*op);
  return std::nullopt;
}

// Everything that can be done now, in the order of urgency: what has ended, what waits for room, and only then new calls.
std::optional<Event> Mediator::nextEvent() {
  if (auto event = takeNote()) return event;
  failLostOperations();
  if (retireWanted_) retireBackends();
  if (auto event = drainCompletions()) return event;
  submitDeferred();
  retryQueued();
  if (auto event = takeNote()) return event;
  if (frontWanted_ && frontPending_ == 0 && undrained_.empty()) {
    frontWanted_ = false;
    return Event::kFront;
  }
  if (controlPending_) {
    controlPending_ = false;
    return Event::kControl;
  }
  if (!isHolding()) {
    if (auto event = receiveNotification()) return event;
    if (auto event = receivePosted()) return event;
  }
  if (isFinished()) return Event::kExit;
  return std::nullopt;
}

std::optional<Event> Mediator::takeNote() {
  if (notes_.empty()) return std::nullopt;
  const PendingNote& pending = notes_.front();
  exchange_->note = static_cast<uint32_t>(pending.kind);
  exchange_->noteDetail = pending.detail;
  exchange_->process = pending.process;
  exchange_->noteErrno = pending.errnum;
  exchange_->call = pending.call;
  exchange_->classIndex = pending.classIndex;
  notes_.pop_front();
  return Event::kNote;
}

void Mediator::note(Note kind, uint32_t detail, const Op* op, int errnum) {
  // A flood of the same complaint must not grow the host: what is beyond this is counted, not told.
  constexpr size_t kNotesMax = 256;
  if (notes_.size() >= kNotesMax) return;
  PendingNote pending{kind, detail, 0, static_cast<uint32_t>(errnum), {}, 0};
  if (op != nullptr) {
    pending.process = static_cast<uint32_t>(op->tgid);
    pending.call = op->call;
    if (op->session != nullptr) pending.classIndex = op->session->node->classIndex;
  }
  notes_.push_back(pending);
}

std::optional<Event> Mediator::drainCompletions() {
  for (auto& backend : backends_) {
    postern_completion completion;
    // A ring's worth at a time: a driver domain that never stops telling must not keep the host from its calls and its end.
    for (uint32_t taken = 0; taken < POSTERN_RING_ENTRIES && !backend->lost && backend->channel->take(completion); taken++) {
      if (completion.kind == POSTERN_COMPLETION_READY) {
        for (auto& [id, session] : sessions_) {
          if (session->backend != backend.get() || session->file != completion.file) continue;
          session->ready = completion.ready;
          present(*session, -1);
        }
        continue;
      }
      auto internal = internal_.find(completion.id);
      if (internal != internal_.end() && internal->second.backend == backend.get()) {
        InternalOp finished = internal->second;
        internal_.erase(internal);
        backend->channel->operationEnded();
        finishInternal(finished, completion);
        continue;
      }
      auto running = running_.find(completion.id);
      const bool isKnown = running != running_.end() && running->second->backend == backend.get() && running->second->phase == Phase::kDriving;
      if (completion.kind != POSTERN_COMPLETION_DONE || !isKnown) {
        note(Note::kBackendConfused, completion.kind);
        loseBackend(*backend);
        return std::nullopt;
      }
      backend->channel->operationEnded();
      if (auto event = complete(*running->second, completion)) return event;
    }
    if (backend->channel->isConfused() && !backend->lost) {
      note(Note::kBackendConfused, 0);
      loseBackend(*backend);
    }
  }
  return std::nullopt;
}

void Mediator::retryQueued() {
  if (queued_.empty() && undrained_.empty()) return;
  std::deque<Op*> waiting;
  waiting.swap(queued_);  // What has to wait once more queues up again, in the same order.
  for (Op* op : waiting) {
    // What it names may have been forgotten meanwhile; it itself has forgotten what it ends.
    const int error = op->plan.forgettings.empty() ? checkRequirements(*op) : 0;
    if (error == 0)
      start(*op);
    else
      finishNow(*op, 0, error);
  }
  if (!undrained_.empty()) drainOthers();
}

// A close that has been made is finished before the next call is looked at, and so is an operation whose thread has been killed: to the
// guest, the driver's release is part of the close, and what comes after the kill is not the dead thread's to read.
bool Mediator::isHolding() const {
  if (releasesPending_ == 0 && orphans_ == 0) return false;
  return Clock::now() < holdDeadline_;
}

void Mediator::holdCalls() { holdDeadline_ = Clock::now() + kHoldBudget; }

// Cancels what the driver still does for threads that have gone. Whether there is any.
bool Mediator::cancelOrphans() {
  for (auto& [id, op] : running_)
    if (op->phase == Phase::kDriving && op->plan.blocking && !op->abandoned && op->ring == nullptr && !listener_.isValid(op->notification)) abandon(*op);
  return orphans_ > 0 && Clock::now() < holdDeadline_;
}

void Mediator::abandon(Op& op) {
  op.abandoned = true;
  orphans_++;
  holdCalls();
  if (!op.cancelled) cancel(op);
}

void Mediator::cancel(Op& op) {
  postern_op cancel{};
  cancel.kind = POSTERN_OP_CANCEL;
  cancel.argument = op.id;
  op.cancelled = submitInternal(*op.backend, cancel, Internal::kCancel, 0);
}

std::optional<Event> Mediator::receiveNotification() {
  if (vm_) return receiveRequest();
  while (!postponed_.empty()) {
    seccomp_notif notification = postponed_.front();
    postponed_.pop_front();
    threadsLookedAt_ = false;
    if (auto event = handle(notification)) return event;
  }
  seccomp_notif notification;
  if (received_) {
    notification = *received_;
    received_.reset();
  } else {
    threadsLookedAt_ = false;
    if (!listenerReady_) return std::nullopt;
    listenerReady_ = false;
    if (listener_.receive(notification) != 0) return std::nullopt;
  }
  counters_.notifications++;
  if (cancelOrphans()) {
    postponed_.push_back(notification);
    return std::nullopt;
  }
  return handle(notification);
}

bool Mediator::isFinished() const { return guestGone_; }

bool Mediator::hasCompletion() const {
  return std::any_of(backends_.begin(), backends_.end(), [](auto& backend) { return !backend->lost && backend->channel->hasCompletion(); });
}

// A driver in a VM answers within microseconds when its processor is awake, and a process that posts its operations posts the next one
// soon: then sleeping and being woken costs more than the wait. Whether there is something to do.
bool Mediator::spin() {
  if (options_.spinUs == 0) return false;
  bool isDriving = false;
  for (auto& [id, op] : running_) isDriving |= op->phase == Phase::kDriving && !op->plan.blocking;
  const bool awaitsPosts = vmIsAwake_ || std::any_of(rings_.begin(), rings_.end(), [](auto& ring) { return ring->isAwake(); });
  if (!isDriving && !awaitsPosts) return false;
  if (awaitsPosts) leaveDirectly();
  if (isDriving && !awaitsPosts && !mayDriveSpin()) return false;
  const auto began = Clock::now(), deadline = began + std::chrono::microseconds(isDriving ? options_.spinUs : postSpinUs_);
  uint32_t rounds = 0;
  do {
    for (int i = 0; i < 64; i++) {
      if (isDriving && hasCompletion()) {
        // What took so long has cost the processor more than sleeping would have.
        if (Clock::now() - began < std::chrono::microseconds(options_.spinUs / 2)) fruitlessSpins_ = 0;
        else fruitlessSpins_++;
        return true;
      }
      if (awaitsPosts && hasPosts()) {
        if (!isDriving) notePostSpin(true);
        return true;
      }
      __builtin_ia32_pause();
    }
    // Whoever shall answer or post may be waiting for this processor.
    (void)sched_yield();
    if (!awaitsPosts) continue;
    // Or has made a system call instead.
    if (++rounds % kRoundsUntilPoll == 0) pollEvents(0);
    if (listenerReady_ || controlPending_) return true;
  } while (Clock::now() < deadline);
  if (isDriving) fruitlessSpins_++;
  else notePostSpin(false);
  return false;
}

// A local backend that does not answer in time waits for a processor, perhaps for this one, which is better given away: so it is where many
// guests work at once. Every so often it is tried again. A driver VM has a processor of its own, and must be looked at for as long: once both
// sides sleep, being woken takes longer than either looks, and neither would find out that it pays again.
bool Mediator::mayDriveSpin() {
  if (!options_.domain->isLocal() || fruitlessSpins_ < kFruitlessSpinsMax) return true;
  fruitlessSpins_++;
  return fruitlessSpins_ % kDriveSpinRetry == 0;
}

void Mediator::wait() {
  DescriptorReserve::ofThread().fill();
  const bool isReady = prepareToSleep() || !notes_.empty();
  const int timeoutMs = isReady ? 0 : waitTimeoutMs();
  if (timeoutMs < 0 && mayReceiveDirectly()) return receiveDirectly();
  leaveDirectly();
  if (!vm_ && listenerArmed_ == isHolding()) armListener(!listenerArmed_);
  const int count = pollEvents(timeoutMs);
  const bool isQuiet = timeoutMs < 0 && count == 1 && listenerReady_;
  quietWaits_ = isQuiet ? quietWaits_ + 1 : 0;
}

// Tells everybody who could have something that this thread must be woken for it. Whether there is something already.
bool Mediator::prepareToSleep() {
  bool isReady = vm_ && !isHolding() && !vm_->prepareToSleep();
  vmIsAwake_ = false;
  for (auto& ring : rings_) isReady |= ring->isAwake() && !ring->sleep();
  for (auto& backend : backends_) isReady |= !backend->lost && !backend->channel->prepareToSleep();
  return isReady;
}

// Negative: until something happens.
int Mediator::waitTimeoutMs() {
  const int watchMs = static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(kWatchInterval).count());
  if (!polls_.empty()) return pollTimeoutMs(watchMs);
  if (!running_.empty() || releasesPending_ > 0 || hasLateStops() || !queued_.empty()) return watchMs;
  return mappingRounds_ > 0 ? kMappingIntervalMs : -1;
}

bool Mediator::mayReceiveDirectly() {
  if (isDirect_) return true;
  if (vm_ || isHolding() || quietWaits_ < kQuietWaitsUntilDirect) return false;
  try {
    if (waker_ == nullptr) waker_ = std::make_unique<Waker>(epoll_.get());
  } catch (const std::exception&) {
    quietWaits_ = 0;
    return false;
  }
  // A listener that nobody is to be woken for costs each notification less; its end is told all the same.
  armListener(false);
  waker_->turnOn();
  isDirect_ = true;
  return true;
}

// One system call instead of two; then everything else is looked at, so that what came before the notification is seen before it.
void Mediator::receiveDirectly() {
  seccomp_notif notification;
  if (waker_->beginWait() && listener_.receive(notification) == 0) received_ = notification;
  waker_->endWait();
  const int count = pollEvents(0);
  threadsLookedAt_ = count >= 0 && count < kEventsMax;
  if (count != 0 && !received_) leaveDirectly();
}

void Mediator::leaveDirectly() {
  if (!isDirect_) return;
  isDirect_ = false;
  quietWaits_ = 0;
  waker_->turnOff();
  armListener(true);
}

void Mediator::armListener(bool isArmed) {
  epoll_event event{};
  event.events = isArmed ? uint32_t(EPOLLIN) : 0u;
  event.data.u64 = kListenerTag;
  (void)epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, listener_.fd(), &event);
  listenerArmed_ = isArmed;
}

// Takes notice of what has happened; how much that was.
int Mediator::pollEvents(int timeoutMs) {
  epoll_event events[kEventsMax];
  int count = epoll_wait(epoll_.get(), events, kEventsMax, timeoutMs);
  for (auto& backend : backends_) backend->channel->wakeUp();
  if (vm_) vm_->wakeUp();
  for (int i = 0; i < count; i++) handleReady(events[i].data.u64, events[i].events);
  watchOperations();
  if (!polls_.empty()) watchPolls();
  if (count == 0 && mappingRounds_ > 0) settleMappings();
  if (hasLateStops()) reapLateStops();
  return count;
}

void Mediator::handleReady(uint64_t tag, uint32_t events) {
  const uint32_t number = static_cast<uint32_t>(tag);
  switch (tag & kTagMask) {
    case kListenerTag:
      listenerReady_ = (events & EPOLLIN) != 0;
      if ((events & (EPOLLHUP | EPOLLERR)) != 0 && !listenerReady_) guestGone_ = true;
      break;
    case kControlTag: {
      uint64_t value;
      (void)!read(options_.control, &value, sizeof value);
      controlPending_ = true;
      break;
    }
    case kDoorbellTag:
      if (number == 0) vm_->drainDoorbell();
      guestGone_ |= number == 1;
      break;
    case kChannelTag:
      for (auto& backend : backends_)
        if (!backend->lost && backend->channel->index() == number) backend->channel->drainEvent();
      break;
    case kSessionTag:
      noteHangUp(number);
      break;
    case kThreadsTag:
      reapThreads();
      break;
    case kPollTag:
      pollReady(number);
      break;
    case kProcessTag:
      if (holders_.erase(static_cast<pid_t>(number)) != 0) mappingRounds_ = std::max(mappingRounds_, 1u);
      endRing(static_cast<pid_t>(number));
      for (auto& backend : backends_) {
        if (static_cast<uint32_t>(backend->tgid) != number || backend->guestEnded) continue;
        backend->guestEnded = true;
        unpoll(backend->guestProcess.get());
        mappingRounds_ = std::max(mappingRounds_, 1u);
      }
      settleMappings();
      retireWanted_ = true;
      break;
  }
}

// Long operations: has their thread gone, does a signal wait for it?
void Mediator::watchOperations() {
  if (running_.empty()) return;
  const auto now = Clock::now();
  if (now - lastWatch_ < kWatchInterval) return;
  lastWatch_ = now;
  for (auto& op : operations_)
    if (op->phase == Phase::kDriving && !op->abandoned && op->ring == nullptr && now - op->since >= kWatchInterval) watchOperation(*op);
  loseOverdue(now);
  if (!held_.empty()) watchHeld();
  queued_.erase(std::remove_if(queued_.begin(), queued_.end(),
                               [&](Op* op) {
                                 if (op->ring != nullptr || listener_.isValid(op->notification)) return false;
                                 release(*op);
                                 return true;
                               }),
                queued_.end());
}

// What does not say that it may sleep must end: a driver that hangs in it takes its backend process's other operations with it. The process
// is given up: its files hang up, and the supervisor beside the driver kills it.
void Mediator::loseOverdue(Clock::time_point now) {
  const auto deadline = std::chrono::milliseconds(options_.operationDeadlineMs);
  for (auto& op : operations_) {
    if (op->phase != Phase::kDriving || op->plan.blocking || now - op->since < deadline) continue;
    // This process may have been stopped meanwhile: an answer that has come counts.
    if (op->backend->lost || op->backend->channel->hasCompletion()) continue;
    note(Note::kOperationOverdue, 0, op.get(), ENODEV);
    loseBackend(*op->backend);
  }
}

void Mediator::watchOperation(Op& op) {
  if (!listener_.isValid(op.notification)) {
    abandon(op);
    return;
  }
  // A guest VM's frontend tells of signals by itself.
  const int interruption = op.cancelled || vm_ ? 0 : interruptionOf(op);
  if (interruption == 0) return;
  op.interruption = interruption;
  counters_.interrupted++;
  cancel(op);
}

// What the operation is to end with because of a signal; 0: nothing.
int Mediator::interruptionOf(Op& op) {
  auto pending = pendingSignals(op.tgid, op.tid);
  if (!pending) return 0;
  op.signalRounds = pending->forProcess ? op.signalRounds + 1 : 0;
  // This thread is flagged for it: the kernel restarts or ends the call as the handler says.
  if (pending->forThread || (pending->forProcess && pending->threads == 1)) return kErestartsys;
  return op.signalRounds >= kProcessSignalRounds ? EINTR : 0;
}

}  // namespace postern
