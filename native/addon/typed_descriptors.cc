// Descriptors in the arguments of commands. A guest holds placeholders: where it names one, the driver sees the file that it stands
// for; where the driver makes a file, the guest gets a placeholder that remembers what it is, an open file of the class that
// judges such files. Neither side ever sees a number of the other's that means anything there.
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "mediator.h"

namespace postern {
namespace {

// The poll of shared memory and of fences has no side effects: it is mirrored from the first moment.
constexpr uint32_t kDescriptorWatch = POLLIN | POLLOUT;

DescriptorFlow flowOf(const PassedDescriptor& passed) { return static_cast<DescriptorFlow>(passed.place.flow); }

int64_t numberAt(const uint8_t* from, uint32_t width) {
  int64_t wide;
  int32_t narrow;
  if (width == sizeof wide) {
    std::memcpy(&wide, from, sizeof wide);
    return wide;
  }
  std::memcpy(&narrow, from, sizeof narrow);
  return narrow;
}

}  // namespace

uint32_t Mediator::sessionsOf(uint32_t classIndex) const {
  return static_cast<uint32_t>(
      std::count_if(sessions_.begin(), sessions_.end(), [&](auto& entry) { return entry.second->node->classIndex == classIndex; }));
}

// Finds what the plan's descriptors are, before anything reaches the driver. 0 or an errno.
int Mediator::prepareDescriptors(Op& op) {
  for (const ExchangeDescriptor& place : op.plan.descriptors) {
    PassedDescriptor& passed = op.passed.emplace_back();
    passed.place = place;
    int error = 0;
    if (flowOf(passed) == DescriptorFlow::kToDriver) error = lendDescriptor(op, passed);
    if (flowOf(passed) == DescriptorFlow::kFromDriver) error = expectDescriptor(op, passed);
    if (error != 0) return error;
  }
  return 0;
}

// What the guest's number means: a placeholder of this guest and of that kind, something else, or nothing. The driver is shown which of
// them, and says itself what is wrong; it is the kernel's own test of the file, in the order of its other tests.
int Mediator::lendDescriptor(Op& op, PassedDescriptor& passed) {
  const ExchangeDescriptor& place = passed.place;
  uint8_t bytes[sizeof(int64_t)];
  if (place.region == 0)
    std::memcpy(bytes, op.head.data() + place.offset, place.width);
  else if (op.snapshot.fetch(op.plan.grants[place.region - 1].address + place.offset, bytes, place.width) != 0)
    return EFAULT;
  passed.original = numberAt(bytes, place.width);
  const int number = static_cast<int>(passed.original);
  // No descriptor at all, as the guest says itself.
  if (number < 0 && number == passed.original) return 0;
  passed.isSubmitted = true;
  passed.file = POSTERN_FILE_NONE;
  if (vm_) return lendFromVm(op, passed, number);
  Descriptor borrowed = number < 0 ? Descriptor() : borrow(op.tid, number);
  if (!borrowed.valid() || (fcntl(borrowed.get(), F_GETFL) & O_PATH) != 0) return 0;
  return lend(op, passed, sessionOf(borrowed.get()));
}

// A guest VM's frontend says what the caller's descriptor is; that it is the guest's own, and of the kind, is looked at here.
int Mediator::lendFromVm(Op& op, PassedDescriptor& passed, int number) {
  if (number < 0) return 0;
  const auto file = op.space->fileOf(number);
  if (!file) return VmAddressSpace::kPagesNeeded;
  if (*file == POSTERN_VM_FILE_NONE) return 0;
  auto found = vmFiles_.find(*file);
  return lend(op, passed, found == vmFiles_.end() ? nullptr : found->second);
}

int Mediator::lend(Op& op, PassedDescriptor& passed, Session* session) {
  const ExchangeDescriptor& place = passed.place;
  passed.file = POSTERN_FILE_STRANGE;
  if (session == nullptr || !session->taken || session->taken->kind != place.kind || session->backend->lost) return 0;
  session->operations++;
  passed.session = session;
  passed.channel = session->backend->channel->index();
  passed.file = session->backend == op.backend ? session->file : fileIn(*op.backend, *session);
  return passed.file == POSTERN_FILES_MAX ? ENFILE : 0;
}

// The number of a descriptor in a backend process that did not get it from its driver; POSTERN_FILES_MAX when there is none left.
uint32_t Mediator::fileIn(Backend& backend, Session& session) {
  auto known = session.copies.find(&backend);
  if (known != session.copies.end()) return known->second;
  bool* slot = std::find(backend.files, backend.files + POSTERN_FILES_MAX, false);
  const uint32_t file = static_cast<uint32_t>(slot - backend.files);
  if (file == POSTERN_FILES_MAX) return file;
  *slot = true;
  session.copies[&backend] = file;
  return file;
}

// The driver is about to make a descriptor: there must be room for it in every table, as the kernel makes sure first.
int Mediator::expectDescriptor(Op& op, PassedDescriptor& passed) {
  Node* node = options_.descriptorNodes[passed.place.kind].get();
  if (node == nullptr) {
    note(Note::kDescriptorUnserved, passed.place.kind, &op, EOPNOTSUPP);
    return EOPNOTSUPP;
  }
  if (sessionsOf(node->classIndex) >= options_.classes[node->classIndex].envelope.sessionsMax) {
    note(Note::kLimit, EMFILE, &op, EMFILE);
    return EMFILE;
  }
  if (vm_ ? !freeVmFile() : freeWindowSlot(op.tid, 0) < 0) {
    note(Note::kWindowFull, 0, &op, EMFILE);
    return EMFILE;
  }
  passed.session = createSession(op, node);
  if (passed.session == nullptr) return ENFILE;
  passed.file = passed.session->file;
  passed.isSubmitted = true;
  return 0;
}

// Room in the arena for what the backend is told of the descriptors. False when there is none now.
bool Mediator::placeDescriptors(Op& op) {
  const auto count = std::count_if(op.passed.begin(), op.passed.end(), [](const PassedDescriptor& passed) { return passed.isSubmitted; });
  op.descriptorBytes = static_cast<uint32_t>(static_cast<size_t>(count) * sizeof(postern_descriptor));
  if (op.descriptorBytes == 0) return true;
  op.descriptorArena = op.backend->channel->arena().allocate(op.descriptorBytes);
  return op.descriptorArena != Arena::kNone;
}

// Tells the backend which numbers of the regions, which have their places now, are descriptors.
void Mediator::fillDescriptors(Op& op) {
  uint32_t at = op.descriptorArena;
  for (const PassedDescriptor& passed : op.passed) {
    if (!passed.isSubmitted) continue;
    postern_descriptor entry{};
    entry.place = op.regions[passed.place.region].arena + passed.place.offset;
    entry.width = passed.place.width;
    entry.kind = passed.place.kind;
    entry.flow = flowOf(passed) == DescriptorFlow::kToDriver ? POSTERN_LEND : POSTERN_TAKE;
    entry.file = passed.file;
    entry.channel = passed.channel;
    entry.source = passed.session != nullptr ? passed.session->file : 0;
    std::memcpy(op.backend->channel->at(at), &entry, sizeof entry);
    at += sizeof entry;
  }
  op.mayHaveTaken = true;
}

// The backend has answered: what it took belongs to the sessions that were made for it, and where the driver repeats a number of its own,
// the guest's is there again before the policy or the guest sees the reply.
void Mediator::receiveDescriptors(Op& op) {
  Channel& channel = *op.backend->channel;
  uint32_t at = op.descriptorArena;
  for (PassedDescriptor& passed : op.passed) {
    postern_descriptor reply{};
    if (passed.isSubmitted) {
      std::memcpy(&reply, channel.at(at), sizeof reply);
      at += sizeof reply;
    }
    if (flowOf(passed) == DescriptorFlow::kFromDriver)
      acceptDescriptor(op, passed, reply);
    else
      repeatNumber(op, passed, reply.result);
  }
}

void Mediator::acceptDescriptor(Op& op, PassedDescriptor& passed, const postern_descriptor& reply) {
  if (passed.session == nullptr || op.outcome < 0) return;
  if (reply.result < 0) {
    note(Note::kDescriptorStrange, passed.place.kind, &op, EIO);
    op.outcome = -EIO;
    return;
  }
  if (reply.result != 0) return;  // The driver made none.
  passed.session->taken = TakenFile{passed.place.kind, reply.mode, reply.device, reply.inode, reply.bytes};
  const uint32_t mode = reply.open_flags & O_ACCMODE;
  passed.session->accessMode = mode > O_RDWR ? uint32_t(O_RDWR) : mode;
}

// `seen` is the number that the driver was shown in this operation; others it may have from earlier ones.
void Mediator::repeatNumber(Op& op, const PassedDescriptor& passed, int32_t seen) {
  std::map<int32_t, int32_t>& given = op.session->given;
  if (passed.session != nullptr && op.outcome >= 0)
    given[static_cast<int32_t>(POSTERN_TAKEN_FIRST + passed.file)] = static_cast<int32_t>(passed.original);
  uint8_t* place = placeOf(op, passed);
  if (place == nullptr || passed.place.width != sizeof(int32_t) || !hasReply(op, op.regions[passed.place.region])) return;
  const int32_t number = static_cast<int32_t>(numberAt(place, sizeof(int32_t)));
  const auto known = given.find(number);
  int32_t guests = known != given.end() ? known->second : number;
  if (passed.isSubmitted && number == seen) guests = static_cast<int32_t>(passed.original);
  std::memcpy(place, &guests, sizeof guests);
}

// Where a descriptor's number is in the reply, as it will be copied out.
uint8_t* Mediator::placeOf(Op& op, const PassedDescriptor& passed) {
  const Region& region = op.regions[passed.place.region];
  if (passed.place.region == 0) return op.head.data() + passed.place.offset;
  return region.arena == Arena::kNone ? nullptr : op.backend->channel->at(region.arena) + passed.place.offset;
}

// From now on the guest sees their readiness; the operation ends when it is known.
void Mediator::watchDescriptors(Op& op) {
  for (const PassedDescriptor& passed : op.passed) {
    const bool isTaken = flowOf(passed) == DescriptorFlow::kFromDriver && passed.session != nullptr && passed.session->taken;
    if (isTaken && setWatch(*passed.session, kDescriptorWatch, op.id)) op.watchesAwaited++;
  }
}

// The guest gets its descriptors, and their numbers. 0 or an errno.
int Mediator::returnDescriptors(Op& op) {
  for (PassedDescriptor& passed : op.passed) {
    if (flowOf(passed) != DescriptorFlow::kFromDriver || passed.session == nullptr || !passed.session->taken) continue;
    const int32_t number = vm_ ? giveToVm(op, passed) : placeSession(op, *passed.session, passed.place.closeOnExec != 0, false);
    if (number < 0) return -number;
    passed.session = nullptr;  // The guest's from here on: its placeholder says when it is released.
    if (uint8_t* place = placeOf(op, passed)) std::memcpy(place, &number, sizeof number);
  }
  return 0;
}

// The number of a file that a driver made; nothing when there is none left.
std::optional<uint32_t> Mediator::freeVmFile() const {
  for (uint32_t file = POSTERN_VM_FILES_MADE; file < POSTERN_VM_FILES_MAX; file++)
    if (vmFiles_.count(file) == 0) return file;
  return std::nullopt;
}

// The frontend makes the descriptor, and writes its number over what is returned here. Or -errno.
int Mediator::giveToVm(Op& op, const PassedDescriptor& passed) {
  const auto file = freeVmFile();
  if (!file) return -EMFILE;
  if (!listener_.isValid(op.notification)) return -ESRCH;
  placeInVm(*passed.session, *file);
  const uint64_t region = passed.place.region == 0 ? op.call.argument : op.regions[passed.place.region].address;
  vm_->give(op.notification, region + passed.place.offset, *file, passed.place.closeOnExec != 0);
  return static_cast<int>(POSTERN_VM_FILES_MAX);
}

// What was lent may be released again; what was taken and has not reached the guest is.
void Mediator::releaseDescriptors(Op& op) {
  for (PassedDescriptor& passed : op.passed) {
    Session* session = std::exchange(passed.session, nullptr);
    if (session == nullptr) continue;
    if (flowOf(passed) == DescriptorFlow::kToDriver) {
      endOperation(*session);
    } else if (op.mayHaveTaken) {
      releaseSession(session);
    } else {
      discardSession(session);
    }
  }
  op.passed.clear();
  op.mayHaveTaken = false;
}

// A backend process that is no more had these too.
void Mediator::forgetCopiesIn(Backend& backend) {
  for (auto& [id, session] : sessions_) session->copies.erase(&backend);
}

// The other backend processes of the guest close what they got of it.
void Mediator::releaseCopies(Session& session) {
  for (auto& [backend, file] : session.copies) {
    postern_op release{};
    release.kind = POSTERN_OP_RELEASE;
    release.file = file;
    if (submitInternal(*backend, release, Internal::kRelease, file)) releasesPending_++;
  }
  session.copies.clear();
}

// fstat of a descriptor says what it says beside the driver: programs tell buffers apart by it.
void TakenFile::describe(struct stat& st) const {
  st = {};
  st.st_mode = mode;
  st.st_dev = device;
  st.st_ino = inode;
  st.st_nlink = 1;
  st.st_size = static_cast<off_t>(bytes);
  st.st_blksize = POSTERN_PAGE_BYTES;
  st.st_blocks = static_cast<blkcnt_t>(bytes / 512);
}

void TakenFile::describe(struct statx& st) const {
  st = {};
  st.stx_mask = STATX_TYPE | STATX_MODE | STATX_NLINK | STATX_INO | STATX_SIZE | STATX_BLOCKS;
  st.stx_mode = static_cast<uint16_t>(mode);
  st.stx_dev_major = major(device);
  st.stx_dev_minor = minor(device);
  st.stx_ino = inode;
  st.stx_nlink = 1;
  st.stx_size = bytes;
  st.stx_blksize = POSTERN_PAGE_BYTES;
  st.stx_blocks = bytes / 512;
}

}  // namespace postern
