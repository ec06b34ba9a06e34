// The host's end of a channel, with the test as a hostile other side.
#include <linux/futex.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <random>
#include <thread>

#include "check.h"
#include "hostile_domain.h"

using namespace postern;

namespace {

postern_op operation(uint64_t id) {
  postern_op op{};
  op.id = id;
  op.kind = POSTERN_OP_IOCTL;
  return op;
}

// The other side, behaving: takes what was submitted and completes it.
void complete(postern_channel& shared, uint64_t id) {
  shared.completions[shared.complete_tail % POSTERN_RING_ENTRIES].id = id;
  shared.complete_tail++;
}

struct Fixture {
  explicit Fixture(uint32_t firstIndex = 0) : other(Kind::kLocal) {
    shared().submit_tail = shared().submit_head = shared().complete_tail = shared().complete_head = firstIndex;
    channel = other.domain().acquireChannel();
    CHECK(channel != nullptr);
  }
  postern_channel& shared() { return other.shared(); }
  HostileDomain other;
  Channel* channel;
};

}  // namespace

TEST("a channel starts, runs and stops") {
  Fixture f;
  CHECK_EQ(f.shared().state, POSTERN_CHANNEL_START);
  f.shared().state = POSTERN_CHANNEL_RUNNING;
  CHECK_EQ(f.channel->state(), POSTERN_CHANNEL_RUNNING);
  CHECK(!f.channel->isLost());
  f.other.domain().releaseChannel(f.channel);
  CHECK_EQ(f.shared().state, POSTERN_CHANNEL_STOP);
}

TEST("submissions lie in the ring before their index says so") {
  Fixture f;
  for (uint64_t id = 1; id <= 3; id++) CHECK(f.channel->submit(operation(id)));
  CHECK_EQ(f.shared().submit_tail, 3);
  for (uint64_t id = 1; id <= 3; id++) CHECK_EQ(f.shared().submissions[id - 1].id, id);
  CHECK_EQ(f.channel->outstanding(), 3);
}

TEST("the ring is full at its size, and has room when an operation has ended") {
  Fixture f;
  for (uint64_t id = 1; id <= POSTERN_RING_ENTRIES; id++) CHECK(f.channel->submit(operation(id)));
  CHECK(!f.channel->submit(operation(99)));
  CHECK_EQ(f.shared().submit_tail, POSTERN_RING_ENTRIES);
  CHECK_EQ(f.shared().submissions[0].id, 1);
  f.channel->operationEnded();
  CHECK(f.channel->submit(operation(100)));
  CHECK_EQ(f.shared().submissions[0].id, 100);
  CHECK(!f.channel->submit(operation(101)));
}

TEST("indices wrap around at 2^32") {
  Fixture f(0xffffffffu - 70);
  postern_completion completion;
  for (uint64_t id = 1; id <= 200; id++) {
    CHECK(f.channel->submit(operation(id)));
    CHECK_EQ(f.shared().submissions[(f.shared().submit_tail - 1) % POSTERN_RING_ENTRIES].id, id);
    CHECK(!f.channel->take(completion));
    complete(f.shared(), id);
    CHECK(f.channel->hasCompletion());
    CHECK(f.channel->take(completion));
    CHECK_EQ(completion.id, id);
    CHECK_EQ(f.shared().complete_head, f.shared().complete_tail);
    f.channel->operationEnded();
  }
  CHECK(f.shared().complete_tail < 200);  // It has wrapped.
}

TEST("a whole ring of completions is taken, across the wrap too") {
  for (uint32_t first : {0u, 5u, 0xfffffff0u, 0xffffffffu}) {
    Fixture f(first);
    for (uint64_t id = 1; id <= POSTERN_RING_ENTRIES; id++) complete(f.shared(), id);
    postern_completion completion;
    for (uint64_t id = 1; id <= POSTERN_RING_ENTRIES; id++) {
      CHECK(f.channel->take(completion));
      CHECK_EQ(completion.id, id);
    }
    CHECK(!f.channel->take(completion));
    CHECK(!f.channel->isConfused());
  }
}

TEST("an absurd tail is seen, and believed never again") {
  for (uint32_t first : {0u, 0xfffffff0u}) {
    for (uint32_t beyond : {POSTERN_RING_ENTRIES + 1, 1u << 16, 1u << 31, 0xfffffffeu, 0xffffffffu}) {
      Fixture f(first);
      f.shared().complete_tail = first + beyond;
      postern_completion completion;
      CHECK(!f.channel->take(completion));
      CHECK(f.channel->isConfused());
      CHECK(f.channel->isLost());
      CHECK_EQ(f.shared().complete_head, first);
      f.shared().complete_tail = first + 1;
      CHECK(!f.channel->take(completion));
      CHECK(f.channel->isLost());
      CHECK(f.channel->prepareToSleep());  // A confused channel must not keep its host awake.
    }
  }
}

TEST("a channel that was confused starts anew") {
  Fixture f;
  f.shared().complete_tail = 1000;
  postern_completion completion;
  CHECK(!f.channel->take(completion));
  CHECK(f.channel->arena().allocate(POSTERN_ARENA_BYTES) == 0);
  f.other.domain().releaseChannel(f.channel);
  f.shared().complete_head = 1000;
  f.shared().state = POSTERN_CHANNEL_FREE;
  CHECK(f.other.domain().acquireChannel() == f.channel);
  CHECK(!f.channel->isConfused());
  CHECK_EQ(f.channel->outstanding(), 0);
  CHECK(f.channel->arena().allocate(POSTERN_ARENA_BYTES) == 0);
  CHECK(!f.channel->take(completion));
  complete(f.shared(), 7);
  CHECK(f.channel->take(completion));
  CHECK_EQ(completion.id, 7);
}

TEST("the host's own indices are its own: what is written over them changes nothing") {
  Fixture f;
  postern_completion completion;
  for (uint64_t id = 1; id <= 3; id++) CHECK(f.channel->submit(operation(id)));
  complete(f.shared(), 1);
  f.shared().complete_head = 40;
  f.shared().submit_tail = 0xdeadbeef;
  f.shared().submit_head = 0xdeadbeef;
  CHECK(f.channel->take(completion));
  CHECK_EQ(completion.id, 1);
  CHECK_EQ(f.shared().complete_head, 1);
  CHECK(f.channel->submit(operation(4)));
  CHECK_EQ(f.shared().submissions[3].id, 4);
  CHECK_EQ(f.shared().submit_tail, 4);
}

TEST("a completion that was taken is the host's copy") {
  Fixture f;
  f.shared().completions[0].result = 17;
  complete(f.shared(), 1);
  postern_completion completion;
  CHECK(f.channel->take(completion));
  std::memset(f.shared().completions, 0xff, sizeof f.shared().completions);
  CHECK_EQ(completion.result, 17);
  CHECK_EQ(completion.id, 1);
}

TEST("only the state DEAD means that the backend has died; others are not states of loss") {
  Fixture f;
  for (uint32_t state : {0u, 1u, 2u, 3u, 5u, 77u, 0xffffffffu}) {
    f.shared().state = state;
    CHECK(!f.channel->isLost());
  }
  f.shared().state = POSTERN_CHANNEL_DEAD;
  CHECK(f.channel->isLost());
}

TEST("a channel in any state but FREE is not given to a guest") {
  HostileDomain other(Kind::kLocal);
  for (uint32_t state : {1u, 2u, 3u, 4u, 5u, 77u, 0xffffffffu}) {
    other.shared().state = state;
    CHECK(other.domain().acquireChannel() == nullptr);
  }
  other.shared().state = POSTERN_CHANNEL_FREE;
  CHECK(other.domain().acquireChannel() != nullptr);
}

TEST("a channel in use is not given to a second guest, whatever state the other side writes") {
  HostileDomain other(Kind::kLocal, 2);
  Channel* first = other.domain().acquireChannel();
  other.shared(0).state = POSTERN_CHANNEL_FREE;
  Channel* second = other.domain().acquireChannel();
  CHECK(second != nullptr && second != first);
  other.shared(1).state = POSTERN_CHANNEL_FREE;
  CHECK(other.domain().acquireChannel() == nullptr);
  other.domain().releaseChannel(first);
  CHECK(other.domain().acquireChannel() == nullptr);  // It has been told to stop, and has not answered yet.
  other.shared(0).state = POSTERN_CHANNEL_FREE;
  CHECK(other.domain().acquireChannel() == first);
}

TEST("before sleeping the host looks once more") {
  Fixture f;
  CHECK(f.channel->prepareToSleep());
  CHECK_EQ(f.shared().host_sleeping, 1);
  f.channel->wakeUp();
  CHECK_EQ(f.shared().host_sleeping, 0);
  complete(f.shared(), 1);
  CHECK(!f.channel->prepareToSleep());
  CHECK_EQ(f.shared().host_sleeping, 0);
}

TEST("the event that woke the host is drained") {
  Fixture f;
  const uint64_t one = 1;
  pollfd event{f.channel->event(), POLLIN, 0};
  CHECK_EQ(poll(&event, 1, 0), 0);
  for (int i = 0; i < 3; i++) CHECK_EQ(write(f.channel->event(), &one, sizeof one), sizeof one);
  CHECK_EQ(poll(&event, 1, 0), 1);
  f.channel->drainEvent();
  CHECK_EQ(poll(&event, 1, 0), 0);
  f.channel->drainEvent();  // Nothing to drain does not block.
}

TEST("a sleeping agent of a local domain is woken by its futex, an awake one is not") {
  Fixture f;
  std::atomic<bool> woken{false};
  f.shared().agent_sleeping = 1;
  std::thread agent([&] {
    while (__atomic_load_n(&f.shared().submit_tail, __ATOMIC_SEQ_CST) == 0)
      syscall(SYS_futex, &f.shared().submit_tail, FUTEX_WAIT, 0, nullptr, nullptr, 0);
    woken = true;
  });
  CHECK(f.channel->submit(operation(1)));
  agent.join();
  CHECK(woken);
  CHECK_EQ(f.shared().agent_sleeping, 0);
}

TEST("a sleeping agent of a VM is woken by the doorbell, once; an absurd word of sleep wakes nobody") {
  HostileDomain other(Kind::kVm, 2);
  Channel* channel = other.domain().acquireChannel();
  // The first page of channel 0 is its header; the VM's pages are scattered.
  auto* header = reinterpret_cast<postern_channel*>(other.ram() + other.pages()[0]);
  CHECK_EQ(header->state, POSTERN_CHANNEL_START);
  CHECK_EQ(other.rings().size(), 1);
  CHECK(channel->submit(operation(1)));
  CHECK_EQ(other.rings().size(), 0);
  header->agent_sleeping = 1;
  CHECK(channel->submit(operation(2)));
  CHECK(channel->submit(operation(3)));
  const std::vector<uint32_t> rings = other.rings();
  CHECK_EQ(rings.size(), 1);
  CHECK_EQ(rings[0], 0);
  header->agent_sleeping = 5;
  CHECK(channel->submit(operation(4)));
  CHECK_EQ(other.rings().size(), 0);
}

TEST("arena offsets mean the same bytes to both sides") {
  HostileDomain other(Kind::kLocal, 2);
  CHECK(other.domain().acquireChannel() != nullptr);
  Channel* channel = other.domain().acquireChannel();
  std::memcpy(channel->at(4096), "here", 4);
  CHECK(std::memcmp(other.ram() + POSTERN_CHANNEL_BYTES + POSTERN_CHANNEL_HEAD_BYTES + 4096, "here", 4) == 0);
  CHECK_EQ(channel->agentAddressOf(4096), other.options().channelsAddress + POSTERN_CHANNEL_BYTES + POSTERN_CHANNEL_HEAD_BYTES + 4096);
}

TEST("scribbling over the whole head while it works does no harm") {
  Fixture f;
  std::atomic<bool> isDone{false};
  std::thread scribbler([&] {
    std::mt19937 random(1);
    auto* words = reinterpret_cast<uint32_t*>(&f.shared());
    while (!isDone) __atomic_store_n(&words[random() % (sizeof(postern_channel) / 4)], random() % 4 == 0 ? random() : random() % 70, __ATOMIC_RELAXED);
  });
  for (int round = 0; round < 20000; round++) {
    if (f.channel->submit(operation(1))) f.channel->operationEnded();
    postern_completion completion;
    for (uint32_t i = 0; i <= POSTERN_RING_ENTRIES && f.channel->take(completion); i++) {
    }
    (void)f.channel->prepareToSleep();
    if (f.channel->isConfused()) f.channel->start();
  }
  isDone = true;
  scribbler.join();
  CHECK_EQ(f.channel->outstanding(), 0);
}
