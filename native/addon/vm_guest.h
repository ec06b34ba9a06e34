// A guest that is a virtual machine: its ring, its memory, and the pages of the driver domain that its aperture shows.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "remote_mapper.h"
#include "vm_memory.h"
#include "vm_ring.h"

namespace postern {

struct VmGuestOptions {
  int ram = -1;              // the guest's RAM file
  uint64_t ramBytes = 0;
  int aperture = -1;         // the memory file behind the aperture
  uint64_t apertureBytes = 0;
  int doorbell = -1;         // event counter that the guest adds to
  int interrupt = -1;        // event counter that interrupts the guest
  pid_t process = 0;         // QEMU
  int memory = -1;           // the driver domain's RAM file, as QEMU's descriptor
  int memoryReadOnly = -1;   // the same, opened for reading only
  int gifts = -1;            // QEMU's descriptor of the socket that another domain's memory comes through
};

class VmGuest {
 public:
  // Throws std::runtime_error when the memories can't be mapped.
  explicit VmGuest(const VmGuestOptions& options);
  ~VmGuest();

  // One request of the guest's, with the number that its answer goes to.
  struct Request {
    uint64_t id;
    postern_vm_request request;
  };
  std::optional<Request> receive();
  bool hasRequest() const { return ring_.hasRequest(); }
  // Whether the frontend has withdrawn its ring: it is unloaded, or its kernel begins anew.
  bool hasLeft() const { return ring_.isWithdrawn(); }
  // Lets go of the ring: nothing is in hand any more, and nothing is written to the guest until there is another.
  void letGo();
  // Whether a ring has been offered that can't be one.
  bool isRingRefused() const { return ring_.isRefused(); }
  // Whether some operation has been sent back for pages more often than any honest one.
  bool hasEndlessRounds() const { return hasEndlessRounds_; }
  // Whether the operation has not been answered.
  bool isInHand(uint64_t id) const;
  // The address space of the program that made the request; what the guest holds in place for it is known there.
  VmAddressSpace& spaceOf(uint64_t id) { return slots_[slotOf(id)].space; }
  // The sequence number that the frontend gave the operation.
  uint64_t sequenceOf(uint64_t id) const { return slots_[slotOf(id)].sequence; }
  // The operation returns `value` or fails with `error`; VmAddressSpace::kPagesNeeded asks for the pages that its space needs.
  bool answer(uint64_t id, int64_t value, int error);
  // With the operation's answer, the caller gets a descriptor of this file, its number written to `address`.
  void give(uint64_t id, uint64_t address, uint32_t file, bool closeOnExec);
  void present(uint32_t file, uint32_t ready);

  int doorbell() const { return options_.doorbell; }
  void drainDoorbell();
  bool prepareToSleep();
  void wakeUp() { ring_.wakeUp(); }

  // Shows page runs of the driver domain's RAM in the aperture, in a row. Their offset there, or -errno: EADDRINUSE when
  // some of them may have stayed there.
  int64_t show(const std::vector<RemoteRun>& runs, bool isWritable);
  // Takes them away again: the guest then has fresh pages there. False when that failed: they must not be anybody else's.
  bool hide(uint64_t offset);
  bool hideAll();
  // The driver domain has ended: what is shown becomes fresh pages, so that nothing keeps its memory. The places stay taken until hide().
  void blankAll();
  bool isBlank(uint64_t offset) const { return blank_.count(offset) != 0; }
  void hideBlank();
  // What is shown from now on is of the memory that waits in QEMU's socket: a file to read and write, and the same for reading only. 0 or an errno.
  int takeMemory();

 private:
  struct Slot {
    uint64_t id = 0;
    uint64_t sequence = 0;
    bool isInHand = false;
    uint32_t rounds = 0;  // how often it has been sent back for pages; 0: it has not, or has been answered since
    std::vector<VmNeed> asked;  // by earlier rounds of the same operation
    std::map<int, uint32_t> files;  // what the guest has said of descriptors
    std::vector<postern_vm_range> made;
    VmAddressSpace space;
  };
  static uint32_t slotOf(uint64_t id) { return static_cast<uint32_t>(id % POSTERN_VM_SLOTS); }
  void openSpace(Slot& slot, const VmRing::Request& taken);
  void interrupt();
  bool findAperture();
  std::optional<uint64_t> freeRange(uint64_t bytes) const;

  VmGuestOptions options_;
  VmRam ram_;
  postern_vm_control* control_;
  VmRing ring_;
  RemoteMapper mapper_;
  uint64_t apertureAddress_ = 0;  // in QEMU
  std::map<uint64_t, uint64_t> shown_;  // offset -> bytes
  std::set<uint64_t> blank_;            // of these, what is of no domain any more
  uint64_t nextId_ = 0;
  bool hasEndlessRounds_ = false;
  Slot slots_[POSTERN_VM_SLOTS];
};

}  // namespace postern
