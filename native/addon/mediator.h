// One guest's mediator: a single thread that takes the guest's trapped file operations, has them judged, moves the granted bytes, and
// answers. The policy runs in JavaScript between two calls of step().
//
//   mediator.cc       the loop: what happens next, and waiting for it
//   notifications.cc  trapped system calls -> operations (where an ioctl enters)
//   vm_requests.cc    a guest VM's requests -> operations (where an ioctl of a VM enters)
//   holdings.cc       whose a descriptor is
//   fast_calls.cc     operations that processes post in shared memory
//   foreground.cc     what only the guest in front may do
//   reload.cc         another module for a class, between two operations
//   execution.cc      verdict -> plan -> backend -> guest (where its bytes are copied)
//   sessions.cc       open files, backends, readiness, release
//   stand_ins.cc      names that the guest's kernel does not have
//   polls.cc          poll, where it is an operation of the driver's
//   mappings.cc       driver pages in guests
//   typed_descriptors.cc  descriptors in arguments, both ways
#pragma once

#include <array>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <unordered_map>

#include "descriptor_cache.h"
#include "domain.h"
#include "exchange.h"
#include "flat_map.h"
#include "guest_view.h"
#include "handle_tables.h"
#include "listener.h"
#include "plan.h"
#include "session.h"
#include "vm_guest.h"
#include "waker.h"
#include "window.h"

struct open_how;
struct pollfd;

namespace postern {

// What an epoll event is about: the kind in the high half, a number in the low half.
enum EpollTag : uint64_t {
  kListenerTag = 1ull << 32,
  kControlTag = 2ull << 32,
  kChannelTag = 3ull << 32,
  kSessionTag = 4ull << 32,
  kProcessTag = 5ull << 32,
  kDoorbellTag = 6ull << 32,
  kThreadsTag = 7ull << 32,
  kPollTag = 15ull << 32,
};
constexpr uint64_t kTagMask = 0xffffffff00000000ull;

// A row of the class's table, as the policy describes it.
struct CommandRow {
  uint32_t number = 0, mask = 0, headBytes = 0, access = 0;
  bool nested = false;
  bool isUnsettled = false;  // its end means nothing for the session: the policy is not asked
  bool isSteady = false;     // what the file is ready for stays as it was: the driver is not polled
  bool isRefused = false;  // on purpose, so that a verdict that allows it is a fault of the module's
};

// By which a file takes something from all others of its device: given back when its guest leaves the front.
struct Handover {
  uint32_t take = 0, give = 0;  // commands whose arguments are plain words
  uint64_t takeArgument = 0, giveArgument = 0;
  bool always = false;  // taken by every file when its guest comes to the front, not only by one that had it
};

// What only the guest in front may do, of a class that is shared so.
struct Foreground {
  bool reads = false;
  std::vector<bool> rows;  // commands that wait for the front
  std::vector<Handover> handovers;
  std::map<uint32_t, uint32_t> replays;  // rows of commands that show something -> where in the head they say on what
};

struct DeviceClass {
  Envelope envelope;
  bool isExclusive = false;  // a device of it is open in one guest at a time
  bool areTransfersUnsettled = false;  // as a row's isUnsettled, of reads and writes
  bool isOnTrial = false;    // another module was in force before it, and is at hand
  std::optional<Foreground> foreground;
  uint32_t generation = 0;   // counts the modules of the class that this guest has had
  std::unordered_map<uint32_t, uint32_t> exact;  // command -> row
  std::vector<uint32_t> masked;
  std::vector<CommandRow> rows;

  const CommandRow* find(uint32_t command) const {
    auto found = exact.find(command);
    if (found != exact.end()) return &rows[found->second];
    for (uint32_t row : masked)
      if ((command & rows[row].mask) == rows[row].number) return &rows[row];
    return nullptr;
  }
};

struct MediatorOptions {
  std::optional<VmGuestOptions> vm;  // the guest is a VM: there is no listener then
  int listener = -1;
  int control = -1;    // eventfd
  pid_t process = 0;   // any process in the guest's namespaces, alive now
  uint64_t guest = 0;  // number of the guest, unique in the host
  uint32_t operationDeadlineMs = 0;  // of operations that don't say that they may sleep
  uint32_t spinUs = 0;  // how long to spin for a completion before sleeping
  std::shared_ptr<Domain> domain;
  std::vector<DeviceClass> classes;
  std::vector<Node> nodes;
  bool isFront = true;
  // By kind of descriptor: which class judges it, as which of its nodes. Null: nobody does, and no guest gets one.
  std::array<std::unique_ptr<Node>, kDescriptorKinds> descriptorNodes;
};

struct Counters {
  uint64_t notifications = 0, opensNative = 0, allowed = 0, denied = 0, failed = 0, faults = 0;
  uint64_t bytesIn = 0, bytesOut = 0, pagesMapped = 0, mappings = 0, sessions = 0, interrupted = 0;
  uint64_t posted = 0, fallenBack = 0;  // by the fast frontend; of those, made as system calls
};

class Mediator {
 public:
  Mediator(MediatorOptions options, Exchange* exchange);
  ~Mediator();

  // Takes the answer to the last event out of the exchange, goes on, and returns when JavaScript is needed again.
  Event step();
  // The policy's guest-memory.read, for the operation that is being judged. 0 or an errno.
  int readForPolicy(uint64_t address, uint8_t* to, uint32_t bytes);
  // reload.cc: another module for a class, between two operations. Returns its generation.
  uint32_t configure(uint32_t classIndex, DeviceClass deviceClass, const std::vector<uint32_t>& kinds);
  void loseDomain();
  bool replaceDomain(std::shared_ptr<Domain> next);
  // Whether an operation that this generation's module has judged is not finished.
  bool isInFlight(uint32_t classIndex, uint32_t generation) const;
  uint32_t openFiles(uint32_t classIndex) const;
  uint32_t classCount() const { return static_cast<uint32_t>(options_.classes.size()); }
  // foreground.cc: whether the guest is the one in front. kFront tells when it has been done.
  void setFront(bool isFront);
  const Counters& counters() const { return counters_; }
  const Domain& domain() const { return *options_.domain; }

 private:
  using Op = OperationRecord;

  // mediator.cc
  std::optional<Event> takeAnswer();
  std::optional<Event> nextEvent();
  std::optional<Event> drainCompletions();
  void retryQueued();
  std::optional<Event> receiveNotification();
  std::optional<Event> takeNote();
  bool spin();
  bool mayDriveSpin();
  void notePostSpin(bool isFruitful);
  bool hasCompletion() const;
  bool hasPosts() const;
  void wait();
  bool prepareToSleep();
  int waitTimeoutMs();
  bool mayReceiveDirectly();
  void receiveDirectly();
  void leaveDirectly();
  void armListener(bool isArmed);
  int pollEvents(int timeoutMs);
  void handleReady(uint64_t tag, uint32_t events);
  void watchOperations();
  void watchOperation(Op& op);
  void loseOverdue(Clock::time_point now);
  int interruptionOf(Op& op);
  bool isHolding() const;
  void holdCalls();
  bool cancelOrphans();
  void abandon(Op& op);
  void cancel(Op& op);
  bool isFinished() const;
  void watchVm();
  void noteMemory();
  void note(Note kind, uint32_t detail = 0, const Op* op = nullptr, int errnum = 0);
  void poll(int fd, uint64_t tag, uint32_t events);
  void unpoll(int fd);

  // What a guest's descriptor leads to. `copy` is there only when it was needed to find out, or asked for.
  struct Holding {
    Session* session = nullptr;
    int flags = 0;
    Descriptor copy;
  };

  // notifications.cc
  std::optional<Event> handle(const seccomp_notif& notification);
  std::optional<Event> operate(const seccomp_notif& notification, Holding holding, std::optional<pid_t> tgid);
  std::optional<Event> handleOpen(const seccomp_notif& notification);
  std::optional<Event> openNode(const seccomp_notif& notification, Node& node, uint64_t flags, std::optional<pid_t> tgid);
  static bool isVfsCommand(uint32_t command);
  bool readOpenHow(const seccomp_notif& notification, open_how& how);
  std::optional<Event> handleIoctl(Op& op, const seccomp_data& data);
  std::optional<Event> handleTransfer(Op& op, const seccomp_data& data);
  bool isSought(const Session& session) const;
  std::optional<Event> handleSeek(Op& op, const seccomp_data& data);
  std::optional<Event> handleMmap(Op& op, const seccomp_data& data);
  void handleMunmap(const seccomp_notif& notification);
  void handleStat(const seccomp_notif& notification, Session& session);
  void handleStatx(const seccomp_notif& notification, Session& session);
  void handleStatByName(const seccomp_notif& notification);
  void answerStat(const seccomp_notif& notification, int error, const struct stat& st, uint64_t address);
  void answerStatx(const seccomp_notif& notification, int error, const struct statx& st);
  void handleFcntl(const seccomp_notif& notification, const Holding& holding);
  void duplicate(const seccomp_notif& notification, int borrowed, std::optional<int> number, uint64_t least, int flags);
  int readVectors(pid_t tid, uint64_t address, uint64_t count, std::vector<iovec>& vectors);
  Op& begin(const seccomp_notif& notification, Session* session, int number);
  bool stillWaits(Op& op);
  std::optional<Event> finishNow(Op& op, int64_t value, int error);
  Event judge(Op& op);

  // holdings.cc
  struct Thread {
    Descriptor pidfd;
    pid_t tgid = 0;
  };
  Thread* threadOf(pid_t tid);
  pid_t tgidOf(pid_t tid);
  void reapThreads();
  void forgetThread(pid_t tid);
  Descriptor borrow(pid_t tid, int number);
  Holding lookUp(const seccomp_notif& notification, int number, bool needsCopy);
  int freeWindowSlot(pid_t tid, int least);

  // fast_calls.cc
  void registerFast(const seccomp_notif& notification);
  FastRing* ringOf(pid_t tgid);
  void endRing(pid_t tgid);
  void wakeRing(pid_t tgid);
  std::optional<Event> receivePosted();
  std::optional<Event> handlePosted(FastRing& ring, const FastRing::Posted& posted);
  std::optional<Event> handlePostedHead(Op& op, bool goesIn);
  std::optional<Event> handlePostedTransfer(Op& op, const postern_fast_call& call);
  bool fitsRing(const Op& op) const;
  std::optional<Event> fallBack(Op& op);
  void putReply(Op& op);

  // vm_requests.cc
  std::optional<Event> receiveRequest();
  std::optional<Event> openByRequest(uint64_t id, const postern_vm_request& request);
  std::optional<Event> operateByRequest(uint64_t id, const postern_vm_request& request);
  void releaseByRequest(uint32_t file);
  void unmapByRequest(uint64_t offset);
  void forgetFrontend();
  void noteBreach(VmBreach breach);
  void expectRequests();
  void cancelByRequest(uint64_t sequence);
  bool holdsReplies(Op& op);
  int showMapping(Op& op, Mapping& mapping, const std::vector<RemoteRun>& runs);

  // foreground.cc
  const Foreground* foregroundOf(const Session& session) const;
  bool isBehind(const Session& session) const;
  bool waitsForFront(const Op& op) const;
  void hold(Op& op);
  void watchHeld();
  std::optional<Event> recall(Op& op);
  uint32_t shownReadiness(const Session& session) const;
  void leave(Session& session);
  void giveBack(Session& session);
  void enter(Session& session);
  void drain(Session& session);
  void drainOthers();
  void finishDrain(Session& session, const postern_completion& completion);
  void releaseHeld(const Session& session);
  void noteSent(Op& op);
  void keepForReplay(Op& op);
  void submitReplay(Session& session, const Replay& replay);

  // reload.cc
  Event refuseOnTrial(Op& op, PlanError refused);
  std::optional<Event> judgeAgain(Op& op);

  // execution.cc
  std::optional<Event> admit(Op& op);
  std::optional<Event> refusePlan(Op& op, PlanError refused);
  void planRegions(Op& op);
  int placeRegions(Op& op);
  int fillRegion(Op& op, Region& region, uint32_t index);
  int readBuffers(Op& op, uint8_t* to);
  int writeOut(Op& op, uint64_t address, const void* from, uint64_t bytes);
  int relocate(Op& op);
  void start(Op& op);
  uint64_t argumentOf(const Op& op) const;
  postern_op submissionOf(const Op& op) const;
  int checkRequirements(Op& op);
  int checkCompany(Op& op);
  bool reliesOn(const Op& other, const Session& session, const ExchangeForgetting& forgetting, uint64_t value) const;
  static HandleHolder holderOf(const Session& session);
  void forgetHandles(Op& op);
  int valueAt(Op& op, uint32_t source, uint32_t offset, uint32_t width, uint64_t& value);
  int extendHead(Op& op);
  std::optional<Event> complete(Op& op, const postern_completion& completion);
  bool isUnsettled(const Op& op) const;
  bool isSteady(const Op& op) const;
  void settle(Op& op);
  void conclude(Op& op);
  void applySettlement(Op& op);
  void applyMasks(Op& op);
  uint8_t* regionBytes(Op& op, uint32_t region, uint32_t offset, uint32_t width);
  bool hasCopyOut(const Op& op) const;
  int copyOut(Op& op);
  int copyOutVectors(Op& op, uint64_t bytes);
  void answer(Op& op, int64_t value, int error);
  void releaseRegions(Op& op);
  void release(Op& op);
  bool hasReply(const Op& op, const Region& region) const;

  // typed_descriptors.cc
  uint32_t sessionsOf(uint32_t classIndex) const;
  int prepareDescriptors(Op& op);
  int lendDescriptor(Op& op, PassedDescriptor& passed);
  int lendFromVm(Op& op, PassedDescriptor& passed, int number);
  int lend(Op& op, PassedDescriptor& passed, Session* session);
  std::optional<uint32_t> freeVmFile() const;
  int giveToVm(Op& op, const PassedDescriptor& passed);
  int expectDescriptor(Op& op, PassedDescriptor& passed);
  uint32_t fileIn(Backend& backend, Session& session);
  bool placeDescriptors(Op& op);
  void fillDescriptors(Op& op);
  void receiveDescriptors(Op& op);
  void acceptDescriptor(Op& op, PassedDescriptor& passed, const postern_descriptor& reply);
  void repeatNumber(Op& op, const PassedDescriptor& passed, int32_t seen);
  uint8_t* placeOf(Op& op, const PassedDescriptor& passed);
  void watchDescriptors(Op& op);
  int returnDescriptors(Op& op);
  void releaseDescriptors(Op& op);
  void forgetCopiesIn(Backend& backend);
  void releaseCopies(Session& session);

  // sessions.cc
  Backend* backendFor(pid_t tgid);
  Session* sessionOf(int borrowed);
  Session* createSession(Op& op, Node* node);
  int finishOpen(Op& op);
  int placeSession(Op& op, Session& session, bool closeOnExec, bool answers);
  void placeInVm(Session& session, uint32_t file);
  void discardSession(Session* session);
  void freeFile(Backend& backend, uint32_t file);
  void releaseClaims(Backend& backend);
  void releaseSession(Session* session);
  bool reapHungUp();
  bool refuseUnseen(const seccomp_notif& notification);
  void noteHangUp(uint32_t sessionId);
  void endOperation(Session& session);
  bool setWatch(Session& session, uint32_t watch, uint64_t waiter);
  void present(Session& session, int borrowed);
  void retireBackends();
  void loseBackend(Backend& backend);
  void failLostOperations();

  // stand_ins.cc
  void handleByName(const seccomp_notif& notification);
  void answerLink(const seccomp_notif& notification, int file, uint64_t address, uint64_t room);

  // polls.cc
  void handlePoll(const seccomp_notif& notification);
  bool readPollTime(Poll& poll);
  bool readPolled(const Poll& poll, std::vector<pollfd>& list);
  void addPolled(Poll& poll, const pollfd& entry);
  bool isSynchronized(const Session& session) const;
  void armPoll(Poll& poll);
  void pollAnswered(Poll& poll);
  void pollReady(uint32_t number);
  void endPoll(Poll& poll, PollEnd end);
  void finishPoll(Poll& poll);
  void answerTimeout(Poll& poll);
  void watchPolls();
  int pollTimeoutMs(int most) const;
  void loseBackendsPolls(const Backend& backend);

  // mappings.cc
  int finishMmap(Op& op);
  void settleMappings();
  void releaseMapping(Mapping& mapping);
  void watchHolder(pid_t pid);
  uint32_t mappedPages() const;
  uint32_t freeMapping() const;

  // An operation of the host's own, answered to whoever is named in `internal_`.
  enum class Internal { kRelease, kWatch, kDisarm, kMunmap, kCancel, kGive, kTake, kDrain, kReplay };
  struct InternalOp {
    Internal kind;
    Backend* backend;
    uint32_t subject;       // session or mapping
    uint64_t waiter;        // an operation that goes on when this has ended; 0: none
  };
  bool submitInternal(Backend& backend, postern_op op, Internal kind, uint32_t subject, uint64_t waiter = 0);
  void submitDeferred();
  void answerWaiter(uint64_t id);
  void finishInternal(const InternalOp& internal, const postern_completion& completion);
  // Of those, the foreground's: their regions are free again when they have ended.
  struct FrontRegion {
    uint32_t at, bytes;
  };
  using FrontRegions = std::vector<FrontRegion>;
  static bool isForegroundKind(Internal kind);
  void submitHandover(Session& session, uint32_t command, uint64_t argument, Internal kind, uint32_t index);
  void submitWithRegions(Session& session, const postern_op& op, Internal kind, const FrontRegions& regions);
  static void releaseFrontRegions(Channel& channel, const FrontRegions& regions);
  void finishForeground(const InternalOp& internal, const postern_completion& completion);

  MediatorOptions options_;
  Exchange* exchange_;
  std::unique_ptr<VmGuest> vm_;
  Descriptor vmProcess_;
  bool vmIsAwake_ = false;   // its ring is looked at before sleeping
  uint32_t vmBreaches_ = 0;  // those that have been told, by VmBreach
  std::unordered_map<uint32_t, Session*> vmFiles_;  // by the guest VM's numbers
  Listener listener_;
  GuestView view_;
  Counters counters_;
  Descriptor epoll_;
  std::unique_ptr<Waker> waker_;  // of `epoll_`, where the mediator has waited in the receiving call
  uint64_t pidNamespace_ = 0, userNamespace_ = 0;
  dev_t memoryDevice_ = 0;
  ino_t memoryInode_ = 0;

  std::unordered_map<pid_t, Thread> threads_;
  DescriptorCache cache_;
  std::deque<std::unique_ptr<Op>> operations_;
  std::vector<Op*> freeOperations_;
  FlatMap<Op*> running_;  // by id
  std::deque<Op*> queued_;
  std::deque<Op*> held_;  // until the guest comes to the front
  bool isFront_ = true;
  bool frontWanted_ = false;   // kFront has not been told yet
  uint32_t frontPending_ = 0;  // operations of the host's own for it
  std::vector<uint32_t> undrained_;  // sessions
  std::unordered_map<uint64_t, FrontRegions> frontRegions_;  // by id
  std::deque<seccomp_notif> postponed_;
  struct PendingNote {
    Note kind;
    uint32_t detail, process, errnum;
    ExchangeCall call;
    uint32_t classIndex;
  };
  std::deque<PendingNote> notes_;
  Op* current_ = nullptr;   // the operation of the last event
  Event lastEvent_ = Event::kControl;
  uint64_t nextId_ = 1;
  uint64_t admissions_ = 0;

  std::unordered_map<uint32_t, std::unique_ptr<Session>> sessions_;
  std::unordered_map<uint64_t, Session*> sessionByCookie_;
  std::vector<std::unique_ptr<Backend>> backends_;
  std::vector<std::unique_ptr<FastRing>> rings_;
  uint32_t fruitlessSpins_ = 0;  // times in a row that the backend had not answered in time
  uint32_t postSpinUs_ = 0;      // how long it pays to look for the next post
  uint32_t idleSpins_ = 0;       // times in a row that it did not
  uint32_t postsUntilPoll_ = 0;  // other events are looked at too
  std::map<uint32_t, std::unique_ptr<Mapping>> mappings_;
  std::unordered_map<pid_t, Descriptor> holders_;  // pidfds of processes that map driver pages
  std::vector<HandleTables> handles_;  // by class
  FlatMap<InternalOp> internal_;  // by id
  struct Deferred {
    Backend* backend;
    postern_op op;
  };
  std::map<uint64_t, std::unique_ptr<Poll>> polls_;
  std::deque<Deferred> deferred_;  // of those, what waits for room in a ring
  uint32_t releasesPending_ = 0;
  uint32_t orphans_ = 0;  // operations that the driver still has in hand for threads that have gone
  Clock::time_point holdDeadline_{};
  uint32_t nextSession_ = 1;
  uint64_t nextMapAddress_ = 0;
  uint32_t mappingRounds_ = 0;  // how often still to look whether mappings have gone
  bool retireWanted_ = false;  // some backend may have nothing left to do
  bool guestGone_ = false;
  bool controlPending_ = false;
  bool listenerReady_ = false;
  bool listenerArmed_ = true;
  bool isDirect_ = false;       // the mediator waits in the receiving call, and the waker for everything else
  uint32_t quietWaits_ = 0;     // waits in a row that a notification has ended, and nothing else
  std::optional<seccomp_notif> received_;  // directly, and not handled yet
  bool threadsLookedAt_ = false;  // since the notification in hand was received
  Clock::time_point lastWatch_{};
};

}  // namespace postern
