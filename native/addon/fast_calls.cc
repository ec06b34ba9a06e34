// Operations that a guest's process posts in shared memory instead of being trapped: found, judged and executed like the others. What only a
// trapped call can give (the memory that pointers lead to, the signals of its thread, mappings) sends the guest back to the system call.
#include <fcntl.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <stdexcept>

#include "mediator.h"

namespace postern {
namespace {

// Processes of one guest that post; each has 132 KiB. The others are trapped.
constexpr size_t kRingsMax = 128;
// How long the next post is looked for: it begins so, is doubled by each success and halved by each failure.
constexpr uint32_t kPostSpinFirstUs = 50, kPostSpinMostUs = 100, kPostSpinLeastUs = 5;
// A process that does not post in time is given another chance after so many trapped calls.
constexpr uint32_t kPostSpinRetry = 64;
// Between so many posts, everything else is looked at too: hang-ups, trapped calls, the main thread.
constexpr uint32_t kPostsUntilPoll = 16;

// A sleep takes 50 us at least, and a move about as long.
constexpr auto kAsideInterval = std::chrono::milliseconds(2);

// Moves this thread to another one of its processors, and leaves it free to be moved again.
void leaveProcessor(uint32_t processor) {
  cpu_set_t all, others;
  if (processor >= CPU_SETSIZE || sched_getaffinity(0, sizeof all, &all) != 0) return;
  others = all;
  CPU_CLR(processor, &others);
  if (CPU_COUNT(&others) == 0 || sched_setaffinity(0, sizeof others, &others) != 0) return;
  (void)sched_setaffinity(0, sizeof all, &all);
}

}  // namespace

// Answers the call that asks for a ring by the ring's memory file.
void Mediator::registerFast(const seccomp_notif& notification) {
  Thread* thread = threadOf(static_cast<pid_t>(notification.pid));
  const pid_t tgid = thread != nullptr ? thread->tgid : 0;
  Descriptor pidfd(tgid != 0 ? static_cast<int>(syscall(SYS_pidfd_open, tgid, 0)) : -1);
  // Its number was its own when the pidfd was made only if it still waits.
  if (!pidfd.valid() || !listener_.isValid(notification.id)) {
    listener_.answer(notification.id, 0, ESRCH);
    return;
  }
  endRing(tgid);
  if (rings_.size() >= kRingsMax) {
    listener_.answer(notification.id, 0, ENFILE);
    return;
  }
  try {
    const int watched = pidfd.get();
    rings_.push_back(std::make_unique<FastRing>(tgid, std::move(pidfd)));
    poll(watched, kProcessTag | static_cast<uint32_t>(tgid), EPOLLIN);
  } catch (const std::runtime_error&) {
    listener_.answer(notification.id, 0, ENOMEM);
    return;
  }
  constexpr int kAnyNumber = -1;
  const int placed = listener_.addDescriptor(notification.id, rings_.back()->memory(), kAnyNumber, true, true);
  if (placed < 0) {
    rings_.pop_back();
    listener_.answer(notification.id, 0, -placed);
  }
  postSpinUs_ = kPostSpinFirstUs;
}

// The commands that the kernel's VFS layer answers itself, before any driver: on the placeholder they do what they should.
bool Mediator::isVfsCommand(uint32_t command) {
  return command == FIOCLEX || command == FIONCLEX || command == FIONBIO || command == FIOASYNC;
}

FastRing* Mediator::ringOf(pid_t tgid) {
  for (auto& ring : rings_)
    if (ring->process() == tgid && !ring->hasEnded()) return ring.get();
  return nullptr;
}

// The process has gone, begins anew, or has threads with descriptor tables of their own, of which the ring could not tell whose is meant.
// What is under way still ends in the ring.
void Mediator::endRing(pid_t tgid) {
  for (auto& ring : rings_)
    if (ring->process() == tgid) ring->end();
  rings_.erase(std::remove_if(rings_.begin(), rings_.end(), [](auto& ring) { return ring->hasEnded() && ring->busy() == 0; }), rings_.end());
}

// A trapped call of a process that can post is answered: its next operation may come that way.
void Mediator::wakeRing(pid_t tgid) {
  if (rings_.empty()) return;
  FastRing* ring = ringOf(tgid);
  if (ring == nullptr || ring->isAwake() || ring->prefersCalls()) return;
  if (postSpinUs_ < kPostSpinLeastUs && ++idleSpins_ % kPostSpinRetry == 0) postSpinUs_ = kPostSpinLeastUs;
  if (postSpinUs_ >= kPostSpinLeastUs) ring->wakeUp();
}

// The same of a guest VM that has made a request: the next one may follow soon.
void Mediator::expectRequests() {
  if (postSpinUs_ < kPostSpinLeastUs && idleSpins_++ % kPostSpinRetry == 0) postSpinUs_ = kPostSpinFirstUs;
  vmIsAwake_ = postSpinUs_ >= kPostSpinLeastUs;
}

void Mediator::notePostSpin(bool isFruitful) {
  if (isFruitful) postSpinUs_ = std::min(kPostSpinMostUs, postSpinUs_ * 2);
  else postSpinUs_ /= 2;
}

bool Mediator::hasPosts() const {
  if (vmIsAwake_ && vm_->hasRequest()) return true;
  return std::any_of(rings_.begin(), rings_.end(), [](auto& ring) { return ring->isAwake() && ring->hasPosts(); });
}

bool Mediator::awaitsPosts() const {
  return vmIsAwake_ || std::any_of(rings_.begin(), rings_.end(), [](auto& ring) { return ring->isExpected(); });
}

// Who posts and who looks for posts must not wait for the same processor, but a thread that only looks stays for a long time where a trapped
// call has taken it. Waking up from a sleep, it is put on an idle one, if there is any; else it goes to any other one, where it may have to share,
// too: whether it pays then, the guest's library measures.
void Mediator::stepAside() {
  const uint32_t own = static_cast<uint32_t>(sched_getcpu());
  if (std::none_of(rings_.begin(), rings_.end(), [&](auto& ring) { return ring->isExpected() && ring->processor() == own; })) return;
  const auto now = Clock::now();
  if (now - lastAside_ < kAsideInterval) return;
  lastAside_ = now;
  const timespec moment{0, 1};
  (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, nullptr);
  if (static_cast<uint32_t>(sched_getcpu()) == own) leaveProcessor(own);
}

std::optional<Event> Mediator::receivePosted() {
  if (rings_.empty() || !hasPosts()) return std::nullopt;
  // A close that has been made is finished before what comes after it: its hang-up is looked for.
  if (postsUntilPoll_-- == 0 || !cache_.isSettled()) {
    postsUntilPoll_ = kPostsUntilPoll;
    pollEvents(0);
    if (isHolding() || listenerReady_) return std::nullopt;
  }
  for (auto& ring : rings_) {
    if (!ring->isAwake()) continue;
    // No more than the ring has slots: a guest that posts nonsense without an end must not keep the host from everything else.
    for (uint32_t i = 0; i < POSTERN_FAST_SLOTS; i++) {
      auto posted = ring->take();
      if (!posted) break;
      counters_.posted++;
      if (auto event = handlePosted(*ring, *posted)) return event;
    }
  }
  return std::nullopt;
}

std::optional<Event> Mediator::handlePosted(FastRing& ring, const FastRing::Posted& posted) {
  const postern_fast_call& call = posted.call;
  FastRing::Known* known = ring.known(call.descriptor);
  if (known != nullptr && known->generation != cache_.generation()) {
    // Asked before the look, as in lookUp.
    const bool isSettled = cache_.isSettled();
    Descriptor copy = ring.borrow(call.descriptor);
    Session* session = copy.valid() ? sessionOf(copy.get()) : nullptr;
    *known = {0, session, session != nullptr ? fcntl(copy.get(), F_GETFL) : 0};
    if (session == nullptr) known = nullptr;
    else if (isSettled) known->generation = cache_.generation();
  }
  const bool isKind = call.kind == POSTERN_FAST_IOCTL || call.kind == POSTERN_FAST_READ || call.kind == POSTERN_FAST_WRITE;
  const bool fits = call.bytes <= POSTERN_FAST_PAYLOAD_BYTES && (call.kind != POSTERN_FAST_READ || call.length <= POSTERN_FAST_PAYLOAD_BYTES);
  const bool isVfs = call.kind == POSTERN_FAST_IOCTL && isVfsCommand(call.command);
  const bool canStart = known != nullptr && isKind && !isVfs && fits && !known->session->backend->lost && !ring.hasEnded() &&
                        running_.size() < options_.classes[known->session->node->classIndex].envelope.operationsInFlightMax;
  if (!canStart) {
    counters_.fallenBack++;
    ring.answer(posted.slot, 0, 0, POSTERN_FAST_SYSCALL);
    return std::nullopt;
  }
  settleMappings();
  seccomp_notif likeTrapped{};
  likeTrapped.pid = static_cast<uint32_t>(ring.process());
  likeTrapped.data.nr = SYS_ioctl;
  likeTrapped.data.args[1] = call.command;
  likeTrapped.data.args[2] = call.argument;
  Op& op = begin(likeTrapped, known->session, call.descriptor);
  op.tgid = ring.process();
  op.ring = &ring;
  op.slot = posted.slot;
  op.call.fileFlags = (static_cast<uint32_t>(known->flags) & ~uint32_t(O_ACCMODE)) | known->session->accessMode;
  op.nonblocking = (known->flags & O_NONBLOCK) != 0;
  if (call.kind != POSTERN_FAST_IOCTL) return handlePostedTransfer(op, call);
  op.postedBytes = call.bytes;
  return handleIoctl(op, likeTrapped.data);
}

// The argument's head was posted with the operation: as many bytes as its row has, or none where none go in.
std::optional<Event> Mediator::handlePostedHead(Op& op, bool goesIn) {
  const size_t bytes = op.head.size();
  if (op.nested || bytes > POSTERN_FAST_PAYLOAD_BYTES || (goesIn && op.postedBytes != bytes)) return fallBack(op);
  if (goesIn) op.ring->copyPayload(op.slot, op.head.data(), static_cast<uint32_t>(bytes));
  return judge(op);
}

std::optional<Event> Mediator::handlePostedTransfer(Op& op, const postern_fast_call& call) {
  const bool isRead = call.kind == POSTERN_FAST_READ;
  op.operation = isRead ? Operation::kRead : Operation::kWrite;
  op.call.operation = static_cast<uint32_t>(op.operation);
  op.rowAccess = isRead ? kFromDriver : kToDriver;
  const Envelope& envelope = options_.classes[op.session->node->classIndex].envelope;
  const bool isJudged = !isRead && envelope.writesJudged;
  const uint64_t total = isRead ? call.length : call.bytes;
  const uint64_t bytesMax = isJudged ? std::min(envelope.transferBytesMax, envelope.argumentBytesMax) : envelope.transferBytesMax;
  // One that may sleep needs a thread that signals interrupt.
  if (!op.nonblocking || total > bytesMax) return fallBack(op);
  if (op.session->accessMode == (isRead ? uint32_t(O_WRONLY) : uint32_t(O_RDONLY))) return finishNow(op, 0, EBADF);
  op.call.argument = call.argument;
  op.call.length = total;
  if (isJudged) {
    op.head.resize(total);
    op.ring->copyPayload(op.slot, op.head.data(), static_cast<uint32_t>(total));
  }
  return judge(op);
}

// Whether the plan moves nothing but what was posted, and the driver answers at once.
bool Mediator::fitsRing(const Op& op) const {
  const bool isTransfer = op.operation == Operation::kRead || op.operation == Operation::kWrite;
  return op.plan.grants.empty() && op.plan.relocations.empty() && op.plan.descriptors.empty() && (isTransfer || !op.plan.blocking);
}

// Nothing has happened: the guest makes the system call, and is judged anew.
std::optional<Event> Mediator::fallBack(Op& op) {
  counters_.fallenBack++;
  op.ring->answer(op.slot, 0, 0, POSTERN_FAST_SYSCALL);
  release(op);
  return std::nullopt;
}

void Mediator::putReply(Op& op) {
  if (!hasCopyOut(op)) return;
  const uint8_t* from = op.operation == Operation::kRead ? op.backend->channel->at(op.regions[0].arena) : op.head.data();
  const uint32_t bytes = op.operation == Operation::kRead ? static_cast<uint32_t>(op.outcome) : static_cast<uint32_t>(op.head.size());
  if (op.operation == Operation::kRead && (op.plan.headAccess & kFromDriver) == 0) return;
  counters_.bytesOut += bytes;
  op.ring->putReply(op.slot, from, bytes);
}

}  // namespace postern
