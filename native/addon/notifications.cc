// Trapped system calls become operations here: this is where a guest's ioctl enters.
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

#include "descriptor_reserve.h"
#include "mediator.h"
#include "process_view.h"
#include "window.h"

namespace postern {
namespace {

// Linux's own bound of one read or write (MAX_RW_COUNT).
constexpr uint64_t kTransferBytesMax = 0x7ffff000;

// Calls that free or replace a descriptor of the window, or change its flags: nothing of it may be remembered over them.
bool changesDescriptors(const seccomp_data& data) {
  const uint32_t second = static_cast<uint32_t>(data.args[1]);
  switch (data.nr) {
    case SYS_close:
    case SYS_close_range:
    case SYS_execve:
    case SYS_execveat:
      return true;
    case SYS_dup2:
    case SYS_dup3:
      return isInWindow(static_cast<int>(data.args[1]));
    case SYS_fcntl:
      return second == F_SETFL;
    case SYS_ioctl:
      return second == FIONBIO || second == FIOASYNC;
    default:
      return false;
  }
}

}  // namespace

Mediator::Op& Mediator::begin(const seccomp_notif& notification, Session* session, int number) {
  if (freeOperations_.empty()) {
    operations_.push_back(std::make_unique<Op>());
    freeOperations_.push_back(operations_.back().get());
  }
  Op& op = *freeOperations_.back();
  freeOperations_.pop_back();
  op.phase = Phase::kJudging;
  op.id = nextId_++;
  op.notification = notification.id;
  op.tid = static_cast<pid_t>(notification.pid);
  op.ring = nullptr;
  op.needsCall = false;
  op.session = session;
  op.backend = session != nullptr ? session->backend : nullptr;
  op.call = ExchangeCall{};
  op.data = notification.data;
  op.commandRow = op.rowAccess = 0;
  op.nested = op.positional = op.nonblocking = op.closeOnExec = op.abandoned = op.cancelled = op.hasReady = false;
  op.watchesAwaited = 0;
  op.isRecalled = op.isObserved = false;
  op.interruption = 0;
  op.admission = 0;
  op.signalRounds = 0;
  op.outcome = 0;
  op.vectors.clear();
  op.head.clear();
  op.regions.clear();
  op.originals.clear();
  op.space = vm_ ? &vm_->spaceOf(op.notification) : nullptr;
  op.snapshot.reset(op.tid, op.space);
  op.operation = Operation::kIoctl;
  running_.add(op.id, &op);
  if (session != nullptr) {
    session->operations++;
    op.call.session = session->id;
    op.call.node = session->node->kind;
    op.call.state = session->state;
    session->holder = op.tid;
    session->holderNumber = number;
  }
  return op;
}

// Whether the thread still waits for its answer: what has been read by its number was its own memory then. The kernel is asked only where
// something has been read since the last time.
bool Mediator::stillWaits(Op& op) {
  if (op.ring != nullptr || !op.snapshot.isUnverified()) return true;
  if (!listener_.isValid(op.notification)) return false;
  op.snapshot.verify();
  return true;
}

std::optional<Event> Mediator::finishNow(Op& op, int64_t value, int error) {
  answer(op, value, error);
  release(op);
  return std::nullopt;
}

// Hands the operation to the policy, in JavaScript.
Event Mediator::judge(Op& op) {
  current_ = &op;
  op.call.generation = options_.classes[op.session->node->classIndex].generation;
  exchange_->classIndex = op.session->node->classIndex;
  exchange_->commandRow = op.commandRow;
  exchange_->process = static_cast<uint32_t>(op.tgid);
  exchange_->call = op.call;
  exchange_->headBytes = static_cast<uint32_t>(op.head.size());
  std::memcpy(exchange_->head, op.head.data(), op.head.size());
  return Event::kAdmit;
}

std::optional<Event> Mediator::handle(const seccomp_notif& notification) {
  const seccomp_data& data = notification.data;
  const pid_t tid = static_cast<pid_t>(notification.pid);
  DescriptorReserve::ofThread().forgetExhaustion();
  cache_.threadReturned(tid);
  if (changesDescriptors(data)) cache_.beginChange(tid, data.nr);
  switch (data.nr) {
    case SYS_unshare:
    case SYS_clone:
      endRing(tgidOf(tid));
      listener_.proceed(notification.id);
      return std::nullopt;
    case SYS_close_range:
      if ((data.args[2] & CLOSE_RANGE_UNSHARE) != 0) endRing(tgidOf(tid));
      listener_.proceed(notification.id);
      return std::nullopt;
    case SYS_close:
    case SYS_execve:
    case SYS_execveat:
      listener_.proceed(notification.id);
      return std::nullopt;
    case SYS_open:
    case SYS_openat:
    case SYS_openat2:
    case SYS_creat:
      return handleOpen(notification);
    case SYS_readlink:
    case SYS_readlinkat:
    case SYS_access:
    case SYS_faccessat:
    case SYS_faccessat2:
    case SYS_getxattr:
    case SYS_lgetxattr:
      handleByName(notification);
      return std::nullopt;
    case SYS_poll:
    case SYS_ppoll:
    case SYS_select:
    case SYS_pselect6:
    case SYS_epoll_wait:
    case SYS_epoll_pwait:
    case SYS_epoll_pwait2:
      handlePoll(notification);
      return std::nullopt;
    case SYS_munmap:
      handleMunmap(notification);
      return std::nullopt;
    case SYS_stat:
    case SYS_lstat:
      handleStatByName(notification);
      return std::nullopt;
    case SYS_newfstatat:
    case SYS_statx:
      if (isInWindow(static_cast<int>(data.args[0]))) break;
      handleStatByName(notification);
      return std::nullopt;
  }
  const int number = static_cast<int>(data.args[data.nr == SYS_mmap ? 4 : 0]);
  const bool isDup = data.nr == SYS_dup || data.nr == SYS_dup2 || data.nr == SYS_dup3 || data.nr == SYS_fcntl;
  Holding holding = lookUp(notification, number, isDup);
  Session* session = holding.session;
  // Not a placeholder: an ordinary file that the guest put in the window, or nothing. The kernel does what it would do anyway.
  if (session == nullptr) {
    if (!refuseUnseen(notification)) listener_.proceed(notification.id);
    return std::nullopt;
  }
  switch (data.nr) {
    case SYS_fstat:
    case SYS_newfstatat:
      handleStat(notification, *session);
      return std::nullopt;
    case SYS_statx:
      handleStatx(notification, *session);
      return std::nullopt;
    case SYS_fcntl:
      handleFcntl(notification, holding);
      return std::nullopt;
    case SYS_dup:
      duplicate(notification, holding.copy.get(), std::nullopt, 0, 0);
      return std::nullopt;
    case SYS_dup2:
    case SYS_dup3:
      duplicate(notification, holding.copy.get(), static_cast<int>(data.args[1]), 0, data.nr == SYS_dup3 ? static_cast<int>(data.args[2]) : 0);
      return std::nullopt;
  }
  if (data.nr == SYS_ioctl && isVfsCommand(static_cast<uint32_t>(data.args[1]))) {
    listener_.proceed(notification.id);
    return std::nullopt;
  }
  // What can't be sought, can't as a socket either (ESPIPE).
  if (data.nr == SYS_lseek && !isSought(*session)) {
    listener_.proceed(notification.id);
    return std::nullopt;
  }
  return operate(notification, std::move(holding), std::nullopt);
}

// The call is an operation on a file of the driver's. The thread group is looked up when it isn't given.
std::optional<Event> Mediator::operate(const seccomp_notif& notification, Holding holding, std::optional<pid_t> tgid) {
  const seccomp_data& data = notification.data;
  const pid_t tid = static_cast<pid_t>(notification.pid);
  const int number = static_cast<int>(data.args[data.nr == SYS_mmap ? 4 : 0]);
  Session* session = holding.session;
  if (session->backend->lost) {
    listener_.answer(notification.id, 0, ENODEV);
    return std::nullopt;
  }
  const Envelope& envelope = options_.classes[session->node->classIndex].envelope;
  if (running_.size() >= envelope.operationsInFlightMax) {
    note(Note::kLimit, ENOMEM);
    listener_.answer(notification.id, 0, ENOMEM);
    return std::nullopt;
  }
  settleMappings();
  Op& op = begin(notification, session, number);
  op.tgid = tgid ? *tgid : tgidOf(tid);
  op.call.fileFlags = (static_cast<uint32_t>(holding.flags) & ~uint32_t(O_ACCMODE)) | session->accessMode;
  op.nonblocking = (holding.flags & O_NONBLOCK) != 0;
  op.borrowed = std::move(holding.copy);
  if (data.nr == SYS_ioctl) return handleIoctl(op, data);
  if (data.nr == SYS_mmap) return handleMmap(op, data);
  if (data.nr == SYS_lseek) return handleSeek(op, data);
  return handleTransfer(op, data);
}

std::optional<Event> Mediator::handleIoctl(Op& op, const seccomp_data& data) {
  const DeviceClass& deviceClass = options_.classes[op.session->node->classIndex];
  const uint32_t command = static_cast<uint32_t>(data.args[1]);
  op.operation = Operation::kIoctl;
  op.call.operation = static_cast<uint32_t>(op.operation);
  op.call.command = command;
  op.call.argument = data.args[2];
  const CommandRow* row = deviceClass.find(command);
  if (row == nullptr || !deviceClass.envelope.ioctlTypes[_IOC_TYPE(command)]) {
    counters_.denied++;
    note(Note::kUnknownCommand, command, &op, ENOTTY);
    return finishNow(op, 0, ENOTTY);
  }
  op.commandRow = static_cast<uint32_t>(row - deviceClass.rows.data());
  op.rowAccess = row->access;
  op.nested = row->nested;
  uint32_t bytes = row->headBytes;
  // Where the table's mask leaves the size open, the command itself carries it.
  if ((row->mask & (uint32_t(_IOC_SIZEMASK) << _IOC_SIZESHIFT)) == 0 && _IOC_SIZE(command) != 0)
    bytes = std::min<uint32_t>(bytes, _IOC_SIZE(command));
  bytes = std::min<uint64_t>(bytes, std::min<uint64_t>(deviceClass.envelope.argumentBytesMax, kHeadBytesMax));
  op.head.assign(bytes, 0);
  if (op.ring != nullptr) return handlePostedHead(op, (row->access & kToDriver) != 0);
  if (bytes > 0 && (row->access & kToDriver) != 0) {
    if (!isGuestRange(op.call.argument, bytes)) return finishNow(op, 0, EFAULT);
    if (int error = op.snapshot.fetch(op.call.argument, op.head.data(), bytes)) return finishNow(op, 0, error);
    if (!stillWaits(op)) return finishNow(op, 0, EFAULT);
  }
  return judge(op);
}

bool Mediator::isSought(const Session& session) const {
  return (options_.classes[session.node->classIndex].envelope.operations & (1u << static_cast<uint32_t>(Operation::kSeek))) != 0;
}

std::optional<Event> Mediator::handleSeek(Op& op, const seccomp_data& data) {
  op.operation = Operation::kSeek;
  op.call.operation = static_cast<uint32_t>(op.operation);
  op.call.offset = data.args[1];
  op.call.command = static_cast<uint32_t>(data.args[2]);
  return judge(op);
}

int Mediator::readVectors(pid_t tid, uint64_t address, uint64_t count, std::vector<iovec>& vectors) {
  if (count > IOV_MAX) return EINVAL;
  vectors.resize(count);
  return count == 0 ? 0 : readGuest(tid, address, vectors.data(), count * sizeof(iovec));
}

std::optional<Event> Mediator::handleTransfer(Op& op, const seccomp_data& data) {
  const bool isRead = data.nr == SYS_read || data.nr == SYS_pread64 || data.nr == SYS_readv || data.nr == SYS_preadv || data.nr == SYS_preadv2;
  const bool isVector = data.nr != SYS_read && data.nr != SYS_write && data.nr != SYS_pread64 && data.nr != SYS_pwrite64;
  op.operation = isRead ? Operation::kRead : Operation::kWrite;
  op.call.operation = static_cast<uint32_t>(op.operation);
  op.rowAccess = isRead ? kFromDriver : kToDriver;
  op.positional = data.nr != SYS_read && data.nr != SYS_write && data.nr != SYS_readv && data.nr != SYS_writev;
  if (op.positional) op.call.offset = data.args[3];
  const uint32_t forbidden = isRead ? O_WRONLY : O_RDONLY;
  if (op.session->accessMode == forbidden) return finishNow(op, 0, EBADF);
  if (isVector) {
    if (int error = readVectors(op.tid, data.args[1], data.args[2], op.vectors)) return finishNow(op, 0, error);
    op.snapshot.markRead();
  } else {
    // As access_ok has it, before the length is looked at.
    if (data.args[2] > 0 && !isGuestRange(data.args[1], data.args[2])) return finishNow(op, 0, EFAULT);
    op.vectors.push_back({reinterpret_cast<void*>(data.args[1]), data.args[2]});
  }
  const Envelope& envelope = options_.classes[op.session->node->classIndex].envelope;
  const bool isJudged = !isRead && envelope.writesJudged;
  uint64_t bytesMax = std::min(envelope.transferBytesMax, kTransferBytesMax);
  if (isJudged) bytesMax = std::min({bytesMax, envelope.argumentBytesMax, uint64_t(kHeadBytesMax)});
  uint64_t total = 0;
  for (iovec& vector : op.vectors) {
    if (vector.iov_len > uint64_t(SSIZE_MAX)) return finishNow(op, 0, EINVAL);
    // What is beyond the envelope is left out, as a short read or write: programs go on where it ended.
    vector.iov_len = std::min<uint64_t>(vector.iov_len, bytesMax - total);
    if (vector.iov_len > 0 && !isGuestRange(reinterpret_cast<uint64_t>(vector.iov_base), vector.iov_len)) return finishNow(op, 0, EFAULT);
    total += vector.iov_len;
  }
  op.call.argument = op.vectors.empty() ? 0 : reinterpret_cast<uint64_t>(op.vectors[0].iov_base);
  op.call.length = total;
  if (isJudged) {
    op.head.resize(total);
    if (int error = readBuffers(op, op.head.data())) return finishNow(op, 0, error);
    op.snapshot.markRead();
    if (!stillWaits(op)) return finishNow(op, 0, EFAULT);
  }
  return judge(op);
}

std::optional<Event> Mediator::handleMmap(Op& op, const seccomp_data& data) {
  op.operation = Operation::kMmap;
  op.call.operation = static_cast<uint32_t>(op.operation);
  op.call.command = static_cast<uint32_t>(data.args[2]);
  op.call.length = data.args[1];
  op.call.offset = data.args[5];
  const uint64_t type = data.args[3] & MAP_TYPE;
  // Driver pages can only be shared, and only in the range where the filter watches over them.
  const bool isShared = type == MAP_SHARED || type == MAP_SHARED_VALIDATE;
  if (!isShared || (data.args[3] & (MAP_FIXED | MAP_FIXED_NOREPLACE)) != 0 || op.call.length == 0 || op.call.offset % POSTERN_PAGE_BYTES != 0)
    return finishNow(op, 0, EINVAL);
  const uint64_t pages = (op.call.length - 1) / POSTERN_PAGE_BYTES + 1;
  if (op.call.offset > ~uint64_t(0) - op.call.length) return finishNow(op, 0, EOVERFLOW);
  const Envelope& envelope = options_.classes[op.session->node->classIndex].envelope;
  if (pages > envelope.mappedPagesMax || mappedPages() > envelope.mappedPagesMax - pages) {
    note(Note::kLimit, ENOMEM, &op);
    return finishNow(op, 0, ENOMEM);
  }
  op.mapping = freeMapping();
  if (op.mapping == POSTERN_MAPPINGS_MAX) return finishNow(op, 0, ENOMEM);
  const bool wantsWrite = (data.args[2] & PROT_WRITE) != 0;
  if (op.session->accessMode == O_WRONLY || (wantsWrite && op.session->accessMode != O_RDWR)) return finishNow(op, 0, EACCES);
  return judge(op);
}

// The kernel unmaps natively; the backend's mapping goes when no process of the guest has the pages any more.
void Mediator::handleMunmap(const seccomp_notif& notification) {
  // Looked at again a few times: the call returns after its answer.
  constexpr uint32_t kRounds = 10;
  listener_.proceed(notification.id);
  mappingRounds_ = kRounds;
}

// openat2's argument. False where there is anything unusual about it: the kernel then says what, and opens no device by itself.
bool Mediator::readOpenHow(const seccomp_notif& notification, open_how& how) {
  constexpr uint64_t kFlags = O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_SYNC | O_ASYNC | O_DIRECT |
                              O_LARGEFILE | O_NOFOLLOW | O_NOATIME | O_CLOEXEC;
  constexpr uint64_t kResolve = RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH | RESOLVE_IN_ROOT;
  if (notification.data.args[3] != sizeof how) return false;
  if (readGuest(static_cast<pid_t>(notification.pid), notification.data.args[2], &how, sizeof how) != 0) return false;
  const bool isMode = how.mode == 0 || ((how.flags & O_CREAT) != 0 && how.mode <= 07777);
  return isMode && (how.flags & ~kFlags) == 0 && (how.resolve & ~kResolve) == 0;
}

std::optional<Event> Mediator::handleOpen(const seccomp_notif& notification) {
  const seccomp_data& data = notification.data;
  const pid_t tid = static_cast<pid_t>(notification.pid);
  const bool hasDirectory = data.nr == SYS_openat || data.nr == SYS_openat2;
  const int directory = hasDirectory ? static_cast<int>(data.args[0]) : AT_FDCWD;
  if (directory == POSTERN_FAST_DIRFD) {
    registerFast(notification);
    return std::nullopt;
  }
  const uint64_t pathAddress = data.args[hasDirectory ? 1 : 0];
  uint64_t flags = data.nr == SYS_creat ? O_CREAT | O_WRONLY | O_TRUNC : data.args[hasDirectory ? 2 : 1];
  open_how how{};
  const bool isUsual = data.nr != SYS_openat2 || readOpenHow(notification, how);
  if (data.nr == SYS_openat2) flags = how.flags;
  std::string path;
  Node* node = nullptr;
  const bool isPath = isUsual && readGuestPath(tid, pathAddress, path) == 0;
  if (isPath && (flags & (O_PATH | O_DIRECTORY)) == 0)
    node = view_.resolve(tid, directory, path, (flags & O_NOFOLLOW) == 0, how.resolve);
  if (node == nullptr && refuseUnseen(notification)) return std::nullopt;
  // An ordinary path: the kernel looks it up by itself, and would refuse a guarded node anyway (its mount allows no devices).
  if (node == nullptr) {
    Descriptor standIn = isPath ? view_.openStandIn(path, flags) : Descriptor();
    if (standIn.valid()) {
      (void)listener_.addDescriptor(notification.id, standIn.get(), -1, (flags & O_CLOEXEC) != 0, true);
      return std::nullopt;
    }
    counters_.opensNative++;
    listener_.proceed(notification.id);
    return std::nullopt;
  }
  Thread* thread = threadOf(tid);
  return openNode(notification, *node, flags, thread != nullptr ? std::optional<pid_t>(thread->tgid) : std::nullopt);
}

// The call opens a guarded node. Without a thread group, the thread has gone.
std::optional<Event> Mediator::openNode(const seccomp_notif& notification, Node& opened, uint64_t flags, std::optional<pid_t> tgid) {
  Node* node = &opened;
  settleMappings();
  int error = tgid && listener_.isValid(notification.id) ? 0 : ESRCH;
  const Envelope& envelope = options_.classes[node->classIndex].envelope;
  if ((flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL)) error = EEXIST;
  // Files that the guest has closed count no more: what hangs up may not have been looked at yet.
  if (!vm_ && sessionsOf(node->classIndex) >= envelope.sessionsMax) {
    (void)reapHungUp();
    if (isHolding()) {
      postponed_.push_back(notification);
      return std::nullopt;
    }
  }
  if (sessionsOf(node->classIndex) >= envelope.sessionsMax || running_.size() >= envelope.operationsInFlightMax) {
    note(Note::kLimit, EMFILE);
    error = EMFILE;
  }
  Backend* backend = error == 0 ? backendFor(*tgid) : nullptr;
  if (error == 0 && backend == nullptr) error = options_.domain->isLost() ? ENODEV : ENFILE;
  if (error != 0) {
    listener_.answer(notification.id, 0, error);
    return std::nullopt;
  }
  Op& op = begin(notification, nullptr, -1);
  op.tgid = *tgid;
  op.operation = Operation::kOpen;
  op.call.operation = static_cast<uint32_t>(op.operation);
  op.closeOnExec = (flags & O_CLOEXEC) != 0;
  op.backend = backend;
  if (options_.classes[node->classIndex].isExclusive && !backend->domain->claimDevice(options_.guest, node->name)) {
    note(Note::kDeviceBusy, 0, &op, EBUSY);
    return finishNow(op, 0, EBUSY);
  }
  op.session = createSession(op, node);
  if (op.session == nullptr) {
    if (options_.classes[node->classIndex].isExclusive) backend->domain->releaseDevice(options_.guest, node->name);
    return finishNow(op, 0, ENFILE);
  }
  op.session->accessMode = static_cast<uint32_t>(flags) & O_ACCMODE;
  op.call.session = op.session->id;
  op.call.node = node->kind;
  op.call.command = static_cast<uint32_t>(flags);
  op.call.fileFlags = static_cast<uint32_t>(flags) & (O_ACCMODE | O_NONBLOCK);
  op.call.argument = node->minor;
  return judge(op);
}

void Mediator::handleStat(const seccomp_notif& notification, Session& session) {
  const seccomp_data& data = notification.data;
  const pid_t tid = static_cast<pid_t>(notification.pid);
  const bool isAt = data.nr == SYS_newfstatat;
  std::string path;
  if (isAt && (readGuestPath(tid, data.args[1], path) != 0 || !path.empty())) {
    listener_.proceed(notification.id);
    return;
  }
  struct stat st;
  int error = 0;
  if (session.taken)
    session.taken->describe(st);
  else
    error = statNode(*session.node, st);
  answerStat(notification, error, st, data.args[isAt ? 2 : 1]);
}

void Mediator::answerStat(const seccomp_notif& notification, int error, const struct stat& st, uint64_t address) {
  if (error == 0 && !listener_.isValid(notification.id)) return;
  if (error == 0) error = writeGuest(static_cast<pid_t>(notification.pid), address, &st, sizeof st);
  listener_.answer(notification.id, 0, error);
}

void Mediator::answerStatx(const seccomp_notif& notification, int error, const struct statx& st) {
  if (error == 0 && !listener_.isValid(notification.id)) return;
  if (error == 0) error = writeGuest(static_cast<pid_t>(notification.pid), notification.data.args[4], &st, sizeof st);
  listener_.answer(notification.id, 0, error);
}

// Only where regular files stand in for nodes does the filter send these: the guest sees what they stand for.
void Mediator::handleStatByName(const seccomp_notif& notification) {
  const seccomp_data& data = notification.data;
  const pid_t tid = static_cast<pid_t>(notification.pid);
  const bool isAt = data.nr == SYS_newfstatat || data.nr == SYS_statx;
  const int directory = isAt ? static_cast<int>(data.args[0]) : AT_FDCWD;
  const uint64_t flags = data.nr == SYS_newfstatat ? data.args[3] : data.nr == SYS_statx ? data.args[2] : 0;
  const bool followsLast = data.nr != SYS_lstat && (flags & AT_SYMLINK_NOFOLLOW) == 0;
  std::string path;
  const bool isPath = readGuestPath(tid, data.args[isAt ? 1 : 0], path) == 0 && !path.empty();
  const Node* node = isPath ? view_.resolve(tid, directory, path, followsLast) : nullptr;
  const Descriptor standIn =
      isPath && node == nullptr ? view_.openStandIn(path, O_PATH | (followsLast ? 0u : unsigned(O_NOFOLLOW))) : Descriptor();
  if (standIn.valid() && data.nr == SYS_statx) {
    struct statx st {};
    const int error = statx(standIn.get(), "", AT_EMPTY_PATH, static_cast<unsigned>(data.args[3]), &st) == 0 ? 0 : errno;
    answerStatx(notification, error, st);
  } else if (standIn.valid()) {
    struct stat st;
    const int error = fstat(standIn.get(), &st) == 0 ? 0 : errno;
    answerStat(notification, error, st, data.args[isAt ? 2 : 1]);
  } else if (node == nullptr) {
    (void)listener_.proceed(notification.id);
  } else if (data.nr == SYS_statx) {
    struct statx st {};
    const int error = statxNode(*node, static_cast<unsigned>(data.args[3]), st);
    answerStatx(notification, error, st);
  } else {
    struct stat st;
    const int error = statNode(*node, st);
    answerStat(notification, error, st, data.args[isAt ? 2 : 1]);
  }
}

void Mediator::handleStatx(const seccomp_notif& notification, Session& session) {
  const seccomp_data& data = notification.data;
  const pid_t tid = static_cast<pid_t>(notification.pid);
  std::string path;
  if (data.args[1] != 0 && (readGuestPath(tid, data.args[1], path) != 0 || !path.empty())) {
    listener_.proceed(notification.id);
    return;
  }
  struct statx st {};
  int error = 0;
  if (session.taken)
    session.taken->describe(st);
  else
    error = statxNode(*session.node, static_cast<unsigned>(data.args[3]), st);
  answerStatx(notification, error, st);
}

void Mediator::handleFcntl(const seccomp_notif& notification, const Holding& holding) {
  const seccomp_data& data = notification.data;
  const int command = static_cast<int>(data.args[1]);
  if (command == F_SETFL) {
    listener_.proceed(notification.id);
    return;
  }
  if (command == F_GETFL) {
    listener_.answer(notification.id, (holding.flags & ~O_ACCMODE) | static_cast<int>(holding.session->accessMode), 0);
    return;
  }
  rlimit limit{};
  const uint64_t least = static_cast<uint32_t>(data.args[2]);
  if (prlimit(static_cast<pid_t>(notification.pid), RLIMIT_NOFILE, nullptr, &limit) == 0 && least >= limit.rlim_cur)
    listener_.answer(notification.id, 0, EINVAL);
  else
    duplicate(notification, holding.copy.get(), std::nullopt, least, command == F_DUPFD_CLOEXEC ? O_CLOEXEC : 0);
}

// Copies of a placeholder stay in the window: elsewhere their operations would not be seen. Without a number, the first free one from
// `least` on is taken.
void Mediator::duplicate(const seccomp_notif& notification, int borrowed, std::optional<int> number, uint64_t least, int flags) {
  const pid_t tid = static_cast<pid_t>(notification.pid);
  const int own = static_cast<int>(notification.data.args[0]);
  const bool isDup3 = notification.data.nr == SYS_dup3;
  if ((flags & ~O_CLOEXEC) != 0 || (isDup3 && number == own)) {
    listener_.answer(notification.id, 0, EINVAL);
    return;
  }
  if (number == own) {
    listener_.answer(notification.id, own, 0);
    return;
  }
  if ((number && !isInWindow(*number)) || least > POSTERN_WINDOW_LAST) {
    note(Note::kOutsideWindow, static_cast<uint32_t>(number ? *number : least));
    listener_.answer(notification.id, 0, number ? EBADF : EMFILE);
    return;
  }
  const int slot = number ? *number : freeWindowSlot(tid, static_cast<int>(least));
  if (slot < 0) {
    note(Note::kWindowFull);
    listener_.answer(notification.id, 0, EMFILE);
    return;
  }
  const int placed = listener_.addDescriptor(notification.id, borrowed, slot, (flags & O_CLOEXEC) != 0, true);
  if (placed < 0) listener_.answer(notification.id, 0, -placed);
}

}  // namespace postern
