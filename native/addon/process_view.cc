#include "process_view.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "descriptors.h"

namespace postern {
namespace {

std::string procPath(pid_t pid, const char* rest) { return "/proc/" + std::to_string(pid) + rest; }

std::string readAll(const std::string& path) {
  Descriptor fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
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

uint64_t pidNamespaceOf(pid_t pid) {
  struct stat st;
  return stat(procPath(pid, "/ns/pid").c_str(), &st) == 0 ? st.st_ino : 0;
}

std::vector<pid_t> processesIn(uint64_t pidNamespace) {
  std::vector<pid_t> processes;
  for (pid_t pid : numericEntries("/proc"))
    if (pidNamespaceOf(pid) == pidNamespace) processes.push_back(pid);
  return processes;
}

bool sharesDescriptorTable(pid_t tgid, uint64_t pidNamespace) {
  for (pid_t pid : processesIn(pidNamespace))
    if (pid != tgid && syscall(SYS_kcmp, tgid, pid, KCMP_FILES, 0, 0) == 0) return true;
  return false;
}

std::vector<MappedRange> mappingsOfFile(pid_t pid, uint64_t device, uint64_t inode) {
  std::vector<MappedRange> ranges;
  std::string maps = readAll(procPath(pid, "/maps"));
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
