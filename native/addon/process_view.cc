#include "process_view.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <linux/nsfs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <unordered_map>
#include <unordered_set>

#include "descriptor_reserve.h"

namespace postern {
namespace {

std::string procPath(pid_t pid, const char* rest) { return "/proc/" + std::to_string(pid) + rest; }

std::string readAll(const std::string& path) {
  Descriptor fd(makeDescriptor([&] { return open(path.c_str(), O_RDONLY | O_CLOEXEC); }));
  std::string text;
  if (!fd.valid()) return text;
  char buffer[16384];
  ssize_t got;
  while ((got = read(fd.get(), buffer, sizeof buffer)) > 0) text.append(buffer, static_cast<size_t>(got));
  return text;
}

// The value after "Name:" in /proc/PID/status, parsed in `base`.
std::optional<uint64_t> statusField(const std::string& status, const char* name, int base) {
  size_t at = status.find(name);
  if (at == std::string::npos) return std::nullopt;
  return std::strtoull(status.c_str() + at + std::strlen(name), nullptr, base);
}

std::vector<pid_t> numericEntries(const std::string& path) {
  std::vector<pid_t> numbers;
  DIR* directory = opendir(path.c_str());
  if (directory == nullptr) return numbers;
  while (dirent* entry = readdir(directory))
    if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9') numbers.push_back(static_cast<pid_t>(std::atoi(entry->d_name)));
  closedir(directory);
  return numbers;
}

// The inode of a namespace; 0 when the process has gone.
uint64_t namespaceOf(pid_t pid, const char* which) {
  struct stat st;
  return stat(procPath(pid, which).c_str(), &st) == 0 ? st.st_ino : 0;
}

// Whether a process is in a PID namespace that was made in the given one, however far below.
bool isBelow(pid_t pid, uint64_t pidNamespace) {
  Descriptor space(open(procPath(pid, "/ns/pid").c_str(), O_RDONLY | O_CLOEXEC));
  while (space.valid()) {
    space.reset(ioctl(space.get(), NS_GET_PARENT));
    struct stat st;
    if (space.valid() && fstat(space.get(), &st) == 0 && st.st_ino == pidNamespace) return true;
  }
  return false;
}

// The number of the newest process, the last word of /proc/loadavg; 0 where there is none.
pid_t lastNumber() {
  const std::string load = readAll("/proc/loadavg");
  const size_t at = load.rfind(' ');
  return at == std::string::npos ? 0 : static_cast<pid_t>(std::atoi(load.c_str() + at + 1));
}

}  // namespace

std::optional<pid_t> threadGroupOf(pid_t tid) {
  auto value = statusField(readAll(procPath(tid, "/status")), "\nTgid:", 10);
  if (!value) return std::nullopt;
  return static_cast<pid_t>(*value);
}

std::vector<pid_t> threadsOf(pid_t tgid) { return numericEntries(procPath(tgid, "/task")); }

std::optional<PendingSignals> pendingSignals(pid_t tgid, pid_t tid) {
  std::string status = readAll(procPath(tgid, "/task/") + std::to_string(tid) + "/status");
  auto thread = statusField(status, "\nSigPnd:", 16), process = statusField(status, "\nShdPnd:", 16);
  auto blocked = statusField(status, "\nSigBlk:", 16), threads = statusField(status, "\nThreads:", 10);
  if (!thread || !process || !blocked || !threads) return std::nullopt;
  return PendingSignals{(*thread & ~*blocked) != 0, (*process & ~*blocked) != 0, static_cast<uint32_t>(*threads)};
}

bool mayBeIn(pid_t tid, int call) {
  Descriptor fd(open(procPath(tid, "/syscall").c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return errno != ENOENT;
  char text[64];
  const ssize_t got = read(fd.get(), text, sizeof text - 1);
  if (got < 0) return errno != ESRCH;
  text[got] = 0;
  // "running" is no number: it may be on its way into or out of the call.
  char* end;
  const long number = std::strtol(text, &end, 10);
  return end == text || number == call;
}

uint64_t pidNamespaceOf(pid_t pid) { return namespaceOf(pid, "/ns/pid"); }

uint64_t userNamespaceOf(pid_t tid) { return namespaceOf(tid, "/ns/user"); }

std::vector<pid_t> processesIn(uint64_t pidNamespace) {
  std::vector<pid_t> processes;
  std::unordered_map<uint64_t, bool> known;
  for (pid_t pid : numericEntries("/proc")) {
    const uint64_t own = pidNamespaceOf(pid);
    if (own == 0) continue;
    auto [entry, isNew] = known.emplace(own, own == pidNamespace);
    if (isNew && !entry->second) entry->second = isBelow(pid, pidNamespace);
    if (entry->second) processes.push_back(pid);
  }
  return processes;
}

// A new process has a higher number than all before it until the numbers begin anew, and /proc lists them in their order: so whoever is
// there at the end of a list that was begun after it, or descends from it, has been listed.
bool takeCensus(uint64_t pidNamespace, const std::function<void(pid_t)>& look) {
  constexpr int kListsMax = 16;
  const pid_t before = lastNumber();
  std::unordered_set<pid_t> seen;
  for (int list = 0; list < kListsMax; list++) {
    bool isWhole = true;
    for (pid_t pid : processesIn(pidNamespace)) {
      if (!seen.insert(pid).second) continue;
      isWhole = false;
      look(pid);
    }
    if (isWhole) return before > 0 && lastNumber() >= before;
  }
  return false;
}

bool sharesDescriptorTable(pid_t tid, pid_t tgid, uint64_t pidNamespace) {
  bool isShared = false;
  const bool isWhole = takeCensus(pidNamespace, [&](pid_t pid) {
    if (pid == tgid) return;
    // One that has gone may have passed the table on.
    for (pid_t thread : threadsOf(pid)) {
      const long order = syscall(SYS_kcmp, tid, thread, KCMP_FILES, 0, 0);
      isShared |= order == 0 || (order < 0 && errno == ESRCH);
    }
  });
  return isShared || !isWhole;
}

std::vector<MappedRange> mappingsOfFile(pid_t pid, uint64_t device, uint64_t inode) {
  std::vector<MappedRange> ranges;
  std::string maps = readAll(procPath(pid, "/maps"));
  // A thread group's first thread may have ended, and shows nothing any more, while others go on with the same memory.
  if (maps.empty())
    for (pid_t tid : threadsOf(pid))
      if (maps = readAll(procPath(pid, "/task/") + std::to_string(tid) + "/maps"); !maps.empty()) break;
  const char* line = maps.c_str();
  while (*line != 0) {
    unsigned long long first, end, offset, number;
    unsigned int deviceMajor, deviceMinor;
    if (std::sscanf(line, "%llx-%llx %*4s %llx %x:%x %llu", &first, &end, &offset, &deviceMajor, &deviceMinor, &number) == 6 &&
        number == inode && makedev(deviceMajor, deviceMinor) == device)
      ranges.push_back({first, end - first, offset});
    const char* newline = std::strchr(line, '\n');
    if (newline == nullptr) break;
    line = newline + 1;
  }
  return ranges;
}

}  // namespace postern
