// The host's end of a guest VM's ring (vm_frontend.h): requests out of guest memory, answers into it. Everything there is the guest's to
// scribble on; what counts is kept here.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "vm_frontend.h"
#include "vm_memory.h"

namespace postern {

class VmRing {
 public:
  // `control`: the aperture's first page, mapped by the host.
  VmRing(postern_vm_control* control, const VmRam& ram) : control_(control), ram_(ram) {}

  // Whether the frontend has offered a ring that lies in its RAM. Looked at until it has.
  bool attach();
  // Whether the frontend has withdrawn the ring that is in use.
  bool isWithdrawn() const;
  // Lets go of the ring, with all that is in hand, and says so.
  void detach();
  // Whether a ring has been offered that can't be one.
  bool isRefused() const { return isRefused_; }
  uint32_t pageLevels() const { return levels_; }

  // A request that the frontend has posted, copied out once, with its slot's number; nothing when there is none.
  struct Request {
    uint32_t slot;
    postern_vm_request request;
    postern_vm_range resolved[POSTERN_VM_DESCRIPTORS_MAX];  // as many as the request says, which is bounded here
  };
  std::optional<Request> take();
  // The slot's operation returns `value`, or fails with `error`; `made` are the files that the caller gets. Afterwards the caller is to be
  // interrupted if it sleeps (callerSleeps). False: it has none in hand.
  bool answer(uint32_t slot, int64_t value, int error, const std::vector<postern_vm_range>& made = {});
  // The slot's operation is forgotten until the guest has given it these pages. False when it has none in hand or there is nothing to ask.
  bool ask(uint32_t slot, const std::vector<VmNeed>& needs);
  bool callerSleeps(uint32_t slot) const;
  // The file's poll events. Whether the guest had others there.
  bool present(uint32_t file, uint32_t ready);

  // Before sleeping: the frontend rings from now on. False when a request has come meanwhile.
  bool prepareToSleep();
  void wakeUp();
  bool hasRequest() const;

 private:
  bool map(const postern_vm_control& control);

  postern_vm_control* control_;
  const VmRam& ram_;
  postern_vm_ring* ring_ = nullptr;
  uint32_t levels_ = 0;
  bool isRefused_ = false;
  uint32_t next_ = 0;  // where to look first, so that no slot waits for ever
  bool inHand_[POSTERN_VM_SLOTS] = {};
};

}  // namespace postern
