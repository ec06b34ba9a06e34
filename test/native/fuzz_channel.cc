// libFuzzer: the other side of a channel does anything to their memory, between any two steps of the host. The host must go by its own
// indices, believe no absurd tail, and never give out more than the ring holds.
#include <cstring>

#include "fuzz_input.h"
#include "hostile_domain.h"

using namespace postern;

namespace {

// The channel with what it must know by itself.
class Checked {
 public:
  Checked(postern_channel& shared, Channel& channel) : shared_(shared), channel_(channel) {}

  void start() {
    submitted_ = shared_.submit_tail;
    taken_ = shared_.complete_head;
    outstanding_ = 0;
    isConfused_ = false;
    channel_.start();
    demand(shared_.state == POSTERN_CHANNEL_START, "a channel that was started says so");
  }

  void submit(uint64_t id) {
    postern_op op{};
    op.id = id;
    const bool hasRoom = outstanding_ < POSTERN_RING_ENTRIES;
    demand(channel_.submit(op) == hasRoom, "a submission has room exactly while fewer are outstanding than the ring holds");
    if (!hasRoom) return;
    outstanding_++;
    demand(shared_.submissions[submitted_ % POSTERN_RING_ENTRIES].id == id, "a submission lies at the host's own index");
    demand(shared_.submit_tail == ++submitted_, "the host's own index is what the other side is told");
    demand(shared_.agent_sleeping == 0, "nobody stays asleep over a submission");
  }

  void take() {
    const uint32_t available = shared_.complete_tail - taken_;
    const bool isAbsurd = available > POSTERN_RING_ENTRIES;
    const postern_completion next = shared_.completions[taken_ % POSTERN_RING_ENTRIES];
    postern_completion completion;
    const bool isTaken = channel_.take(completion);
    demand(isTaken == (available > 0 && !isAbsurd && !isConfused_), "a completion is taken exactly when a believable tail offers one");
    isConfused_ = isConfused_ || isAbsurd;
    demand(channel_.isConfused() == isConfused_, "an absurd tail is remembered, and nothing else is taken for one");
    if (!isTaken) return;
    demand(std::memcmp(&completion, &next, sizeof next) == 0, "a completion is what lay at the host's own index");
    demand(shared_.complete_head == ++taken_, "the host's own index is what the other side is told");
  }

  void end() {
    if (outstanding_ == 0) return;
    outstanding_--;
    channel_.operationEnded();
  }

  void sleep() {
    const bool isEmpty = shared_.complete_tail == taken_;
    demand(channel_.prepareToSleep() == (isEmpty || isConfused_), "the host sleeps exactly when there is nothing to take");
    channel_.wakeUp();
  }

  void checkState() {
    demand(channel_.isLost() == (isConfused_ || shared_.state == POSTERN_CHANNEL_DEAD), "a channel is lost when dead or confused");
    demand(channel_.outstanding() == outstanding_, "the operations outstanding are the host's own count");
    demand(channel_.hasCompletion() == (shared_.complete_tail != taken_), "a completion is there when the tail has moved");
  }

 private:
  postern_channel& shared_;
  Channel& channel_;
  uint32_t submitted_ = 0, taken_ = 0, outstanding_ = 0;
  bool isConfused_ = false;
};

void scribble(postern_channel& shared, Input& input) {
  const uint32_t place = input.word() % (sizeof shared - sizeof(uint32_t));
  const uint32_t value = input.word();
  std::memcpy(reinterpret_cast<uint8_t*>(&shared) + place, &value, sizeof value);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t count) {
  static HostileDomain other(Kind::kLocal);
  static Channel& channel = *other.domain().acquireChannel();
  postern_channel& shared = other.shared();
  std::memset(static_cast<void*>(&shared), 0, sizeof shared);
  Input input(bytes, count);
  Checked checked(shared, channel);
  shared.submit_tail = input.word();
  shared.complete_head = shared.complete_tail = input.word();
  checked.start();
  while (!input.isEmpty()) {
    switch (input.byte() % 10) {
      case 0: scribble(shared, input); break;
      case 1: shared.complete_tail += input.byte() % (POSTERN_RING_ENTRIES + 8); break;
      case 2: shared.complete_tail = shared.complete_head + input.word(); break;
      case 3: shared.state = input.byte() % 8; break;
      case 4: shared.agent_sleeping = input.byte() % 3; break;
      case 5: checked.submit(input.byte()); break;
      case 6: checked.end(); break;
      case 7: checked.sleep(); break;
      case 8: checked.start(); break;
      default: checked.take(); break;
    }
    checked.checkState();
  }
  return 0;
}
