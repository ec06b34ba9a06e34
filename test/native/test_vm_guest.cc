// A guest VM as its mediator has it: operations over their rounds, and what its aperture shows.
#include "vm_guest.h"

#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <thread>

#include "check.h"
#include "process_view.h"

using namespace postern;

namespace {

constexpr uint64_t kPageBytes = 4096, kRamBytes = 64 * kPageBytes, kRingAt = 4 * kPageBytes;
// Room for three pages, each with a free one behind it.
constexpr uint64_t kApertureBytes = POSTERN_VM_CONTROL_BYTES + 6 * kPageBytes;
constexpr uint32_t kQuery = 0x80685600;  // an ioctl that the driver writes 104 bytes for
constexpr uint32_t kQueryBytes = 104;

int file(uint64_t bytes) {
  const int made = memfd_create("test", MFD_CLOEXEC);
  CHECK(made >= 0);
  CHECK_EQ(ftruncate(made, static_cast<off_t>(bytes)), 0);
  return made;
}

uint8_t* mapped(int of, uint64_t bytes) {
  void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, of, 0);
  CHECK(at != MAP_FAILED);
  return static_cast<uint8_t*>(at);
}

// A guest's memories, and a process that has the aperture mapped as QEMU does.
struct Machine {
  int ram = file(kRamBytes), aperture = file(kApertureBytes), driver = file(8 * kPageBytes);
  int doorbell = eventfd(0, EFD_NONBLOCK), interrupt = eventfd(0, EFD_NONBLOCK);
  uint8_t* memory = mapped(ram, kRamBytes);
  uint8_t* window = mapped(aperture, kApertureBytes);
  uint8_t* pages = mapped(driver, 8 * kPageBytes);
  pid_t qemu = fork();

  Machine() {
    if (qemu == 0) live();
    for (uint64_t page = 0; page < 8; page++) std::memset(pages + page * kPageBytes, 'a' + static_cast<int>(page), kPageBytes);
    offer(kRingAt);
    while (threadsOf(qemu).size() < 2) usleep(100);
  }
  ~Machine() {
    kill(qemu, SIGKILL);
    waitpid(qemu, nullptr, 0);
    munmap(memory, kRamBytes), munmap(window, kApertureBytes), munmap(pages, 8 * kPageBytes);
    for (int one : {ram, aperture, driver, doorbell, interrupt}) close(one);
  }
  [[noreturn]] static void live() {
    check::dieWithParent();
    std::thread sleeper([] {
      for (;;) pause();
    });
    for (;;) pause();
  }
  VmGuestOptions options() const { return {ram, kRamBytes, aperture, kApertureBytes, doorbell, interrupt, qemu, driver, driver, -1}; }
  postern_vm_control& control() { return *reinterpret_cast<postern_vm_control*>(window); }
  postern_vm_ring& ring() { return *reinterpret_cast<postern_vm_ring*>(memory + kRingAt); }
  void offer(uint64_t address) {
    control().ring_address = address;
    control().ring_bytes = sizeof(postern_vm_ring);
    control().page_levels = 4;
    control().ring_ready = 1;
  }
  void post(uint32_t slot, const postern_vm_request& request) {
    ring().slot[slot].request = request;
    ring().slot[slot].state = POSTERN_VM_SLOT_POSTED;
  }
  uint64_t interrupts() const {
    uint64_t count = 0;
    return read(interrupt, &count, sizeof count) == sizeof count ? count : 0;
  }
  // What the process that stands for QEMU has at an offset of the aperture: it maps this test's memory at the same addresses.
  int seen(uint64_t offset) {
    char byte = 0;
    const std::string path = "/proc/" + std::to_string(qemu) + "/mem";
    FILE* from = fopen(path.c_str(), "r");
    CHECK(from != nullptr);
    CHECK_EQ(fseek(from, static_cast<long>(reinterpret_cast<uint64_t>(window) + offset), SEEK_SET), 0);
    CHECK_EQ(fread(&byte, 1, 1, from), size_t(1));
    fclose(from);
    return byte;
  }
};

postern_vm_request ioctlAt(uint64_t sequence, uint64_t argument, uint32_t round = 0) {
  postern_vm_request request{};
  request.sequence = sequence;
  request.kind = POSTERN_VM_IOCTL;
  request.round = round;
  request.command = kQuery;
  request.argument = argument;
  return request;
}

}  // namespace

TEST("a guest is told that its host serves, and at its end that it has gone") {
  Machine machine;
  {
    VmGuest guest(machine.options());
    CHECK_EQ(machine.control().host_state, uint32_t(POSTERN_VM_HOST_SERVING));
    CHECK(!guest.hasLeft());
  }
  CHECK_EQ(machine.control().host_state, uint32_t(POSTERN_VM_HOST_GONE));
  CHECK_EQ(machine.interrupts(), uint64_t(1));
}

TEST("an operation is answered once, and interrupts whoever sleeps for it") {
  Machine machine;
  VmGuest guest(machine.options());
  machine.post(3, ioctlAt(1, 0x1000));
  auto taken = guest.receive();
  CHECK(taken.has_value());
  CHECK_EQ(guest.sequenceOf(taken->id), uint64_t(1));
  CHECK(!guest.receive());
  CHECK(guest.isInHand(taken->id));
  CHECK(guest.answer(taken->id, 7, 0));
  CHECK_EQ(machine.ring().slot[3].answer.value, int64_t(7));
  CHECK_EQ(machine.interrupts(), uint64_t(0));
  CHECK(!guest.answer(taken->id, 8, 0));
  CHECK_EQ(machine.ring().slot[3].answer.value, int64_t(7));
  machine.ring().slot[3].caller_sleeps = 1;
  machine.post(3, ioctlAt(2, 0x1000));
  auto next = guest.receive();
  CHECK(next.has_value() && next->id != taken->id);
  CHECK(!guest.isInHand(taken->id));
  CHECK(guest.answer(next->id, 0, EBADF));
  CHECK_EQ(machine.ring().slot[3].answer.error, int32_t(EBADF));
  CHECK_EQ(machine.interrupts(), uint64_t(1));
}

TEST("what a guest has been asked for is known in the next round of the same operation, and in no other's") {
  Machine machine;
  VmGuest guest(machine.options());
  machine.post(0, ioctlAt(1, 0x1000));
  auto taken = guest.receive();
  CHECK(taken.has_value());
  // What the frontend holds by itself: the argument, as long as its command says.
  CHECK_EQ(guest.spaceOf(taken->id).prepareWrite(0x1000, kQueryBytes), 0);
  CHECK_EQ(guest.spaceOf(taken->id).prepareWrite(0x1000, kQueryBytes + 1), VmAddressSpace::kPagesNeeded);
  CHECK(!guest.spaceOf(taken->id).fileOf(5).has_value());
  CHECK(guest.answer(taken->id, 0, VmAddressSpace::kPagesNeeded));
  CHECK_EQ(machine.ring().slot[0].state, uint32_t(POSTERN_VM_SLOT_NEEDS));
  CHECK_EQ(machine.ring().slot[0].answer.ranges, 2u);
  CHECK_EQ(machine.ring().slot[0].range[0].bytes, kQueryBytes + 1);
  postern_vm_request again = ioctlAt(1, 0x1000, 1);
  again.resolved = 1;
  machine.ring().slot[0].range[0] = {5, 77, POSTERN_VM_DESCRIPTOR};
  machine.post(0, again);
  taken = guest.receive();
  CHECK(taken.has_value());
  CHECK_EQ(guest.spaceOf(taken->id).prepareWrite(0x1000, kQueryBytes + 1), 0);
  CHECK_EQ(guest.spaceOf(taken->id).fileOf(5).value_or(0), 77u);
  CHECK(guest.answer(taken->id, 0, VmAddressSpace::kPagesNeeded));
  // Nothing was needed: to the program that is a bad address.
  CHECK_EQ(machine.ring().slot[0].answer.error, int32_t(EFAULT));
  for (const postern_vm_request& other : {ioctlAt(2, 0x1000, 1), ioctlAt(1, 0x1000, 0), ioctlAt(1, 0x1000, 2)}) {
    machine.post(0, other);
    taken = guest.receive();
    CHECK(taken.has_value());
    CHECK_EQ(guest.spaceOf(taken->id).prepareWrite(0x1000, kQueryBytes + 1), VmAddressSpace::kPagesNeeded);
    CHECK(!guest.spaceOf(taken->id).fileOf(5).has_value());
    CHECK(guest.answer(taken->id, 0, 0));
  }
}

TEST("an operation that is sent back for ever ends, and is told of") {
  Machine machine;
  VmGuest guest(machine.options());
  uint32_t rounds = 0;
  for (;; rounds++) {
    machine.post(0, ioctlAt(1, 0x1000, rounds));
    auto taken = guest.receive();
    CHECK(taken.has_value());
    CHECK_EQ(guest.spaceOf(taken->id).prepareWrite(0x100000 + rounds * kPageBytes, 1), VmAddressSpace::kPagesNeeded);
    CHECK(guest.answer(taken->id, 0, VmAddressSpace::kPagesNeeded));
    if (machine.ring().slot[0].state == POSTERN_VM_SLOT_ANSWERED) break;
    CHECK(!guest.hasEndlessRounds());
  }
  CHECK_EQ(rounds, POSTERN_VM_ROUNDS_MAX);
  CHECK_EQ(machine.ring().slot[0].answer.error, int32_t(EFAULT));
  CHECK(guest.hasEndlessRounds());
}

TEST("files that a driver has made come with the answer, and with no later one") {
  Machine machine;
  VmGuest guest(machine.options());
  machine.post(1, ioctlAt(1, 0x1000));
  auto taken = guest.receive();
  guest.give(taken->id, 0x1008, 600, true);
  CHECK(guest.answer(taken->id, 0, 0));
  CHECK_EQ(machine.ring().slot[1].answer.ranges, 1u);
  CHECK_EQ(machine.ring().slot[1].range[0].bytes, 600u);
  CHECK_EQ(machine.ring().slot[1].range[0].kind, uint32_t(POSTERN_VM_INSTALL_CLOEXEC));
  machine.post(1, ioctlAt(2, 0x1000));
  CHECK(guest.answer(guest.receive()->id, 0, 0));
  CHECK_EQ(machine.ring().slot[1].answer.ranges, 0u);
}

TEST("a ring that is let go of is answered nothing") {
  Machine machine;
  VmGuest guest(machine.options());
  machine.post(0, ioctlAt(1, 0x1000));
  auto taken = guest.receive();
  machine.control().ring_ready = 0;
  CHECK(guest.hasLeft());
  guest.letGo();
  CHECK_EQ(machine.control().ring_taken, 0u);
  CHECK(!guest.answer(taken->id, 7, 0));
  guest.present(0, 5);
  CHECK_EQ(machine.ring().slot[0].state, uint32_t(POSTERN_VM_SLOT_POSTED));
  CHECK_EQ(machine.ring().ready[0], 0u);
}

TEST("the aperture shows pages apart from each other, in the order that was said, and nothing when they are hidden") {
  Machine machine;
  VmGuest guest(machine.options());
  const int64_t first = guest.show({{0, kPageBytes, 5 * kPageBytes}}, true), second = guest.show({{0, kPageBytes, 2 * kPageBytes}}, true);
  CHECK(first >= int64_t(POSTERN_VM_CONTROL_BYTES));
  CHECK_EQ(second, first + int64_t(2 * kPageBytes));
  CHECK_EQ(machine.seen(static_cast<uint64_t>(first)), 'f');
  CHECK_EQ(machine.seen(static_cast<uint64_t>(second)), 'c');
  CHECK_EQ(guest.show({{0, 3 * kPageBytes, 0}}, true), -ENOSPC);
  CHECK(guest.hide(static_cast<uint64_t>(first)));
  CHECK(!guest.hide(static_cast<uint64_t>(first)));
  CHECK_EQ(machine.seen(static_cast<uint64_t>(first)), 0);
  CHECK_EQ(guest.show({{0, kPageBytes, 0}}, false), first);
  CHECK(guest.hideAll());
  CHECK_EQ(machine.seen(static_cast<uint64_t>(second)), 0);
}

TEST("what a driver domain that has ended had shown is empty, and its place is taken until the guest gives it back") {
  Machine machine;
  VmGuest guest(machine.options());
  const uint64_t old = static_cast<uint64_t>(guest.show({{0, kPageBytes, kPageBytes}}, true));
  CHECK_EQ(machine.seen(old), 'b');
  guest.blankAll();
  CHECK_EQ(machine.seen(old), 0);
  CHECK(guest.isBlank(old));
  const uint64_t next = static_cast<uint64_t>(guest.show({{0, kPageBytes, 3 * kPageBytes}}, true));
  CHECK(next != old);
  CHECK(!guest.isBlank(next));
  CHECK(guest.hide(old));
  CHECK(!guest.isBlank(old));
  CHECK_EQ(guest.show({{0, kPageBytes, 4 * kPageBytes}}, true), int64_t(old));
  guest.blankAll();
  guest.hideBlank();
  CHECK(!guest.hide(old) && !guest.hide(next));
  // Nobody has sent another memory.
  CHECK_EQ(guest.takeMemory(), EBADF);
}
