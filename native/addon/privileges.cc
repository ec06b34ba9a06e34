// What the host gives up once it serves: capabilities, in every thread of the process, and the way to any new ones. Capabilities are a thread's
// own; those that run already, Node's and V8's among them, are asked by a signal to give up theirs.
#include <dirent.h>
#include <linux/capability.h>
#include <napi.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "bindings.h"

namespace postern {
namespace {

// The C library's own, by which its setuid() asks all threads: the only one that no thread can have blocked (one of Node's has all others).
// It is taken by the system call, because the library's functions refuse it, and kept: one may still be on its way, and this process never
// changes its user. nptl/pthreadP.h: SIGSETXID.
constexpr int kSignal = 33;
// Nobody's: of an action that is set in the library's way the kernel's form of it can be read, with the way back from a handler.
int modelSignal() { return SIGRTMAX - 3; }
// include/linux/signal_types.h: struct sigaction of x86-64, as rt_sigaction(2) takes it.
struct KernelAction {
  void (*handler)(int);
  unsigned long flags;
  void (*restorer)();
  uint64_t mask;
};
long kernelAction(int signal, const KernelAction* next, KernelAction* before) {
  return syscall(SYS_rt_sigaction, signal, next, before, sizeof(uint64_t));
}
// A thread takes a signal within microseconds; on a busy machine within milliseconds.
constexpr std::chrono::seconds kPatience(2);
constexpr std::chrono::microseconds kPause(100);

std::atomic<uint64_t> kept{0};

// Only system calls: it runs in the middle of whatever a thread does. What a thread does not have, it can't give up.
void giveUp() {
  const int error = errno;
  const uint64_t keep = kept.load();
  (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  for (int capability = 0; capability <= CAP_LAST_CAP; capability++)
    if ((keep >> capability & 1) == 0) (void)prctl(PR_CAPBSET_DROP, capability, 0, 0, 0);
  (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (syscall(SYS_capget, &header, data) == 0) {
    for (int word = 0; word < 2; word++) {
      const auto mask = static_cast<uint32_t>(keep >> (32 * word));
      data[word].effective &= mask;
      data[word].permitted &= mask;
      data[word].inheritable = 0;
    }
    (void)syscall(SYS_capset, &header, data);
  }
  errno = error;
}

void onSignal(int) { giveUp(); }

// Whether a thread, by proc_pid_status(5), has nothing beyond what is kept. One that has ended has nothing.
bool hasGivenUp(pid_t tid, uint64_t keep) {
  const std::string path = "/proc/self/task/" + std::to_string(tid) + "/status";
  std::unique_ptr<FILE, int (*)(FILE*)> file(fopen(path.c_str(), "re"), fclose);
  if (!file) return true;
  char line[256];
  bool isBounded = true;
  while (fgets(line, sizeof line, file.get()) != nullptr) {
    const bool isSet = strncmp(line, "CapPrm:", 7) == 0 || strncmp(line, "CapEff:", 7) == 0 || strncmp(line, "CapInh:", 7) == 0;
    if (isSet && (strtoull(line + 7, nullptr, 16) & ~keep) != 0) isBounded = false;
    if (strncmp(line, "NoNewPrivs:\t0", 13) == 0) isBounded = false;
  }
  return isBounded;
}

std::vector<pid_t> threadsWithMore(uint64_t keep) {
  std::vector<pid_t> found;
  std::unique_ptr<DIR, int (*)(DIR*)> tasks(opendir("/proc/self/task"), closedir);
  if (!tasks) return {getpid()};
  while (const dirent* entry = readdir(tasks.get())) {
    const pid_t tid = static_cast<pid_t>(atoi(entry->d_name));
    if (tid > 0 && !hasGivenUp(tid, keep)) found.push_back(tid);
  }
  return found;
}

// keepCapabilities(numbers): no thread of this process has others from here on, nor gets any by what it executes. Throws when one did not
// give up its own.
void keepCapabilities(const Napi::CallbackInfo& info) {
  uint64_t keep = 0;
  const Napi::Array numbers = info[0].As<Napi::Array>();
  for (uint32_t i = 0; i < numbers.Length(); i++) keep |= uint64_t{1} << (numbers.Get(i).As<Napi::Number>().Uint32Value() & 63);
  kept = keep;
  giveUp();
  struct sigaction action = {}, unused = {};
  action.sa_handler = onSignal;
  action.sa_flags = SA_RESTART;
  KernelAction ours = {};
  if (sigaction(modelSignal(), &action, &unused) != 0 || kernelAction(modelSignal(), nullptr, &ours) != 0 ||
      kernelAction(kSignal, &ours, nullptr) != 0)
    throw Napi::Error::New(info.Env(), std::string("The host keeps its capabilities: ") + strerror(errno));
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  // A thread that has not been asked yet may have started another meanwhile.
  std::vector<pid_t> left;
  while (!(left = threadsWithMore(keep)).empty() && std::chrono::steady_clock::now() < deadline) {
    for (const pid_t tid : left) (void)syscall(SYS_tgkill, getpid(), tid, kSignal);
    std::this_thread::sleep_for(kPause);
  }
  sigaction(modelSignal(), &unused, nullptr);
  if (!left.empty())
    throw Napi::Error::New(info.Env(), "The thread " + std::to_string(left.front()) + " of the host keeps capabilities that it does not need.");
}

}  // namespace

void bindPrivileges(Napi::Env env, Napi::Object exports) {
  exports.Set("keepCapabilities", Napi::Function::New(env, keepCapabilities));
}

}  // namespace postern
