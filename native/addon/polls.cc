// Poll as an operation, for classes whose driver does its work in poll (netmap synchronizes its rings there). A guest's poll, select or
// epoll_wait that is about such files waits here, not in the kernel: the driver is asked as it begins and whenever it wakes its
// waiters, and it is left alone as soon as the guest goes on, because what the driver does then is the guest's to know of.
//
//   handlePoll -> the driver of each file is asked (armed) -> all descriptors are waited for -> the drivers are let go -> the kernel
//   answers the call from what the placeholders show, which is at once.
#include <poll.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "mediator.h"
#include "process_view.h"
#include "window.h"

namespace postern {
namespace {

// Descriptors of one poll; a longer list is the kernel's alone. As many as a guest may have without asking for more.
constexpr uint64_t kPolledMax = 1024;
constexpr uint64_t kNanosecondsPerMs = 1000000, kMsPerSecond = 1000;
// Copies of a guest's descriptors that its polls hold together: the host's own descriptors are for all guests.
constexpr size_t kCopiesMax = 256;
// A wait that is longer than anybody waits for is one without an end.
constexpr uint64_t kSecondsMax = 1u << 30;

struct KernelTime {
  int64_t seconds, fraction;
};

// Rounded up: a poll never ends early.
std::optional<uint64_t> milliseconds(const KernelTime& time, uint64_t fractionsPerMs) {
  if (time.seconds < 0 || time.fraction < 0) return std::nullopt;
  if (static_cast<uint64_t>(time.seconds) > kSecondsMax) return kSecondsMax * kMsPerSecond;
  return static_cast<uint64_t>(time.seconds) * kMsPerSecond + (static_cast<uint64_t>(time.fraction) + fractionsPerMs - 1) / fractionsPerMs;
}

bool isEpoll(int call) { return call == SYS_epoll_wait || call == SYS_epoll_pwait || call == SYS_epoll_pwait2; }
bool isSelect(int call) { return call == SYS_select || call == SYS_pselect6; }

}  // namespace

// How long the call may take, and whether it brings a signal mask. False: there is something wrong with it, which the kernel says.
bool Mediator::readPollTime(Poll& poll) {
  const seccomp_data& data = poll.data;
  const bool isPselect = data.nr == SYS_pselect6;
  const int timeAt = isSelect(data.nr) ? 4 : data.nr == SYS_ppoll ? 2 : 3;
  std::optional<uint64_t> wait;
  if (data.nr == SYS_poll || data.nr == SYS_epoll_wait || data.nr == SYS_epoll_pwait) {
    const int given = static_cast<int>(data.args[data.nr == SYS_poll ? 2 : 3]);
    if (given >= 0) wait = static_cast<uint64_t>(given);
  } else if (data.args[timeAt] != 0) {
    KernelTime time;
    if (readGuest(poll.tid, data.args[timeAt], &time, sizeof time) != 0) return false;
    wait = milliseconds(time, data.nr == SYS_select ? kNanosecondsPerMs / 1000 : kNanosecondsPerMs);
    if (!wait) return false;
  }
  if (wait) poll.deadline = Clock::now() + std::chrono::milliseconds(*wait);
  poll.looksOnly = wait == uint64_t(0);
  uint64_t mask = 0;
  if (data.nr == SYS_ppoll) mask = data.args[3];
  if (data.nr == SYS_epoll_pwait || data.nr == SYS_epoll_pwait2) mask = data.args[4];
  if (isPselect && data.args[5] != 0 && readGuest(poll.tid, data.args[5], &mask, sizeof mask) != 0) return false;
  poll.kernelWaits = mask != 0;
  return true;
}

// The descriptors that the call is about, with the events. False as above.
bool Mediator::readPolled(const Poll& poll, std::vector<pollfd>& list) {
  const seccomp_data& data = poll.data;
  if (isEpoll(data.nr)) {
    list.push_back({static_cast<int>(data.args[0]), POLLIN, 0});
    return true;
  }
  const uint64_t count = data.args[isSelect(data.nr) ? 0 : 1];
  if (count > kPolledMax) return false;
  if (!isSelect(data.nr)) {
    list.resize(count);
    return count == 0 || readGuest(poll.tid, data.args[0], list.data(), count * sizeof(pollfd)) == 0;
  }
  // Three bit sets; their events are the kernel's POLLIN_SET, POLLOUT_SET and POLLEX_SET (fs/select.c).
  constexpr std::array<short, 3> kEvents = {POLLRDNORM | POLLRDBAND | POLLIN, POLLWRBAND | POLLWRNORM | POLLOUT, POLLPRI};
  std::array<std::array<uint64_t, kPolledMax / 64>, 3> sets{};
  const uint64_t bytes = (count + 63) / 64 * 8;
  for (size_t set = 0; set < sets.size(); set++)
    if (data.args[set + 1] != 0 && bytes != 0 && readGuest(poll.tid, data.args[set + 1], sets[set].data(), bytes) != 0) return false;
  for (uint64_t number = 0; number < count; number++) {
    short events = 0;
    for (size_t set = 0; set < sets.size(); set++)
      if ((sets[set][number / 64] >> (number % 64) & 1) != 0) events = static_cast<short>(events | kEvents[set]);
    if (events != 0) list.push_back({static_cast<int>(number), events, 0});
  }
  return true;
}

void Mediator::handlePoll(const seccomp_notif& notification) {
  auto made = std::make_unique<Poll>();
  Poll& poll = *made;
  poll.notification = notification.id;
  poll.data = notification.data;
  poll.tid = static_cast<pid_t>(notification.pid);
  Thread* thread = threadOf(poll.tid);
  std::vector<pollfd> list;
  const bool isSound = thread != nullptr && polls_.size() < kPolledMax && readPolled(poll, list) && readPollTime(poll);
  if (isSound) {
    poll.tgid = thread->tgid;
    const auto isGuarded = [](const pollfd& entry) { return entry.fd >= int(POSTERN_WINDOW_FIRST) && entry.fd <= int(POSTERN_WINDOW_LAST); };
    if (isEpoll(poll.data.nr) || std::any_of(list.begin(), list.end(), isGuarded))
      for (const pollfd& entry : list) addPolled(poll, entry);
    // What is in an epoll set only the kernel knows: each such file of the process may be.
    if (isEpoll(poll.data.nr))
      for (auto& [id, session] : sessions_)
        if (session->backend->tgid == poll.tgid && isSynchronized(*session)) poll.sessions.push_back({id, POLLIN | POLLOUT, -1});
  }
  if (poll.sessions.empty() || !listener_.isValid(notification.id)) {
    listener_.proceed(notification.id);
    return;
  }
  poll.id = nextId_++;
  polls_[poll.id] = std::move(made);
  armPoll(poll);
}

bool Mediator::isSynchronized(const Session& session) const {
  return options_.classes[session.node->classIndex].envelope.pollSynchronizes;
}

void Mediator::addPolled(Poll& poll, const pollfd& entry) {
  if (entry.fd < 0) return;
  size_t held = poll.copies.size();
  for (auto& [id, other] : polls_) held += other->copies.size();
  if (held >= kCopiesMax) {
    poll.kernelWaits = true;
    return;
  }
  Descriptor copy = borrow(poll.tid, entry.fd);
  Session* session = copy.valid() ? sessionOf(copy.get()) : nullptr;
  const int at = static_cast<int>(poll.copies.size());
  if (session != nullptr && isSynchronized(*session)) poll.sessions.push_back({session->id, static_cast<uint32_t>(entry.events), at});
  poll.copies.push_back({std::move(copy), static_cast<uint32_t>(entry.events)});
}

// The driver is asked now, and asked again whenever it wakes its waiters.
void Mediator::armPoll(Poll& poll) {
  for (const PolledSession& polled : poll.sessions) {
    Session& session = *sessions_.find(polled.session)->second;
    session.watch = (session.polls++ > 0 ? session.watch : 0) | polled.events | POLLERR;
    session.ready = 0;
    postern_op op{};
    op.kind = POSTERN_OP_WATCH;
    op.file = session.file;
    op.command = session.watch;
    if (submitInternal(*session.backend, op, Internal::kWatch, session.id, poll.id)) poll.awaited++;
  }
  if (poll.awaited == 0) pollAnswered(poll);
}

// Every driver has answered: what was armed is waited for, and what was let go lets the guest go on.
void Mediator::pollAnswered(Poll& poll) {
  if (poll.end != PollEnd::kNone) return finishPoll(poll);
  for (const PolledSession& polled : poll.sessions)
    if (auto session = sessions_.find(polled.session); session != sessions_.end())
      present(*session->second, polled.copy < 0 ? -1 : poll.copies[static_cast<size_t>(polled.copy)].descriptor.get());
  if (poll.looksOnly) return endPoll(poll, PollEnd::kReady);
  // What ends the wait with another signal mask is the kernel's to say, and what is too much for the host is the kernel's to wait for: the
  // drivers stay armed.
  if (poll.kernelWaits) return finishPoll(poll);
  poll.set.reset(epoll_create1(EPOLL_CLOEXEC));
  for (const PolledFile& file : poll.copies) {
    epoll_event event{};
    event.events = file.events & 0xffffu;
    // What can't be waited for, such as an ordinary file, is always ready; so is a number that is no descriptor (POLLNVAL).
    if (!file.descriptor.valid() || epoll_ctl(poll.set.get(), EPOLL_CTL_ADD, file.descriptor.get(), &event) != 0)
      return endPoll(poll, PollEnd::kReady);
  }
  this->poll(poll.set.get(), kPollTag | static_cast<uint32_t>(poll.id), EPOLLIN);
}

void Mediator::pollReady(uint32_t number) {
  for (auto& [id, poll] : polls_)
    if (static_cast<uint32_t>(id) == number && poll->end == PollEnd::kNone) return endPoll(*poll, PollEnd::kReady);
}

// The drivers are let go before the guest goes on.
void Mediator::endPoll(Poll& poll, PollEnd end) {
  poll.end = end;
  if (poll.set.valid()) unpoll(poll.set.get());
  for (const PolledSession& polled : poll.sessions) {
    auto found = sessions_.find(polled.session);
    if (found == sessions_.end() || --found->second->polls > 0) continue;
    postern_op op{};
    op.kind = POSTERN_OP_WATCH;
    op.file = found->second->file;
    if (submitInternal(*found->second->backend, op, Internal::kDisarm, polled.session, poll.id)) poll.awaited++;
  }
  if (poll.awaited == 0) finishPoll(poll);
}

void Mediator::finishPoll(Poll& poll) {
  if (poll.end == PollEnd::kNone)
    for (const PolledSession& polled : poll.sessions)
      if (auto session = sessions_.find(polled.session); session != sessions_.end()) session->second->polls--;
  auto held = polls_.extract(poll.id);
  poll.set.reset();
  poll.copies.clear();  // The guest's files must be free to close by the time the call returns.
  if (poll.end == PollEnd::kGone) return;
  if (poll.end == PollEnd::kTimeout) answerTimeout(poll);
  else listener_.proceed(poll.notification);
}

// Nothing is ready: as the kernel says it.
void Mediator::answerTimeout(Poll& poll) {
  const seccomp_data& data = poll.data;
  std::vector<pollfd> list;
  bool isWritten = true;
  if (isSelect(data.nr)) {
    const std::array<uint64_t, kPolledMax / 64> none{};
    for (int set = 1; set <= 3; set++)
      if (data.args[set] != 0) isWritten &= writeGuest(poll.tid, data.args[set], none.data(), (data.args[0] + 63) / 64 * 8) == 0;
  } else if (!isEpoll(data.nr) && readPolled(poll, list)) {
    for (pollfd& entry : list) entry.revents = 0;
    isWritten = writeGuest(poll.tid, data.args[0], list.data(), list.size() * sizeof(pollfd)) == 0;
  }
  (void)listener_.answer(poll.notification, 0, isWritten ? 0 : EFAULT);
}

// Has its thread gone, does a signal wait for it, is its time over? A signal is the kernel's to deliver: it goes on with the call, which
// then ends by it.
void Mediator::watchPolls() {
  const auto now = Clock::now();
  std::vector<Poll*> waiting;
  for (auto& [id, poll] : polls_)
    if (poll->end == PollEnd::kNone && poll->awaited == 0) waiting.push_back(poll.get());
  for (Poll* poll : waiting) {
    if (!listener_.isValid(poll->notification)) {
      endPoll(*poll, PollEnd::kGone);
    } else if (poll->deadline && now >= *poll->deadline) {
      endPoll(*poll, PollEnd::kTimeout);
    } else if (auto pending = pendingSignals(poll->tgid, poll->tid); pending && (pending->forThread || pending->forProcess)) {
      unpoll(poll->set.get());
      finishPoll(*poll);
    }
  }
}

// How long nobody has to look at the polls.
int Mediator::pollTimeoutMs(int most) const {
  const auto now = Clock::now();
  for (auto& [id, poll] : polls_) {
    if (!poll->deadline) continue;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(*poll->deadline - now).count();
    most = static_cast<int>(std::clamp<int64_t>(left, 0, most));
  }
  return most;
}

// A backend has gone: its files hang up, which the kernel shows.
void Mediator::loseBackendsPolls(const Backend& backend) {
  std::vector<Poll*> lost;
  for (auto& [id, poll] : polls_)
    for (const PolledSession& polled : poll->sessions)
      if (auto session = sessions_.find(polled.session); session != sessions_.end() && session->second->backend == &backend) {
        lost.push_back(poll.get());
        break;
      }
  for (Poll* poll : lost) {
    if (poll->set.valid()) unpoll(poll->set.get());
    poll->awaited = 0;
    finishPoll(*poll);
  }
}

}  // namespace postern
