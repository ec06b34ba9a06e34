// The seccomp user-notification listener: one guest's trapped system calls. For a guest VM, its ring stands in.
#pragma once

#include <linux/seccomp.h>

#include <cstdint>

#include "descriptors.h"

namespace postern {

class VmGuest;

class Listener {
 public:
  explicit Listener(int fd);
  // A guest VM has no system calls of its own to trap: its requests are numbered and answered in its ring.
  explicit Listener(VmGuest* vm) : vm_(vm) {}
  int fd() const { return fd_.get(); }

  // 0: `notification` is the next trapped call. EAGAIN: its thread died meanwhile. Other errno: the listener is done.
  int receive(seccomp_notif& notification);
  // Whether the thread still waits for the answer to `id`; the answer to any question about its pid counts only if so.
  bool isValid(uint64_t id) const;
  // The call returns `value`, or fails with `-error` when error is positive. False: the thread has gone.
  bool answer(uint64_t id, int64_t value, int error);
  // The kernel runs the call natively. Only for calls that no filter would stop.
  bool proceed(uint64_t id);
  // Places a copy of `source` in the guest at `number` (closing what is there) or at any number when negative; answers the call with
  // that number when `answers`. Returns the number or -errno.
  int addDescriptor(uint64_t id, int source, int number, bool closeOnExec, bool answers);

 private:
  Descriptor fd_;
  VmGuest* vm_ = nullptr;
};

}  // namespace postern
