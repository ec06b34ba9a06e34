// Maps driver pages into a guest's process, zero copy: the guest's own stopped thread makes the mappings, of the driver VM's RAM
// file, which is in its descriptor table only while nothing else of the guest can reach it.
#pragma once

#include <linux/seccomp.h>
#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "listener.h"

namespace postern {

struct MapRun {
  uint64_t offset, bytes;  // in the RAM file
};

struct Injection {
  pid_t tgid = 0, tid = 0;
  uint64_t userNamespace = 0;  // that the guest began in
  uint64_t pidNamespace = 0;
  uint64_t notification = 0;  // of the trapped mmap: answered here
  int memory = -1;            // the RAM file; opened read-only for a mapping without PROT_WRITE
  int protection = 0;
  uint64_t address = 0;       // where the first run goes
  std::vector<MapRun> runs;
};

// What the injector needs of its caller.
struct InjectionHooks {
  // Whether this thread waits for an answer of ours: it can't run meanwhile, and needs no stop.
  std::function<bool(pid_t tid)> isWaiting;
  // Another thread's notification, which came while the injector waited for its own.
  std::function<void(const seccomp_notif&)> postpone;
  // The process could not be made to let go of the RAM file, and has been killed.
  std::function<void()> killed;
};

// Lets go of threads that an earlier injection had to leave interrupted but not yet stopped. To be called while there are any.
void reapLateStops();
bool hasLateStops();

// Performs the mapping and answers the notification. 0, or the positive errno that the guest got: ENOMEM where its address space or
// threads did not allow it.
int inject(Listener& listener, const Injection& injection, const InjectionHooks& hooks);

}  // namespace postern
