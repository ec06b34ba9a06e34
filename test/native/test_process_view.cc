// What the host reads in /proc, of processes that do their best to mislead it.
#include "process_view.h"

#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <functional>
#include <memory>
#include <thread>

#include "check.h"
#include "descriptors.h"

using namespace postern;

namespace {

constexpr pid_t kNobody = 0x3ffffff;  // above any pid that the kernel gives

// A child that prepares something, says what it has to say, and waits.
class Child {
 public:
  explicit Child(const std::function<long()>& prepare, unsigned long cloneFlags = 0) {
    int pipes[2];
    CHECK_EQ(pipe(pipes), 0);
    pid_ = static_cast<pid_t>(syscall(SYS_clone, cloneFlags | SIGCHLD, nullptr, nullptr, nullptr, nullptr));
    CHECK(pid_ >= 0);
    if (pid_ == 0) {
      check::dieWithParent();
      const long word = prepare();
      (void)!write(pipes[1], &word, sizeof word);
      for (;;) pause();
    }
    CHECK_EQ(read(pipes[0], &word, sizeof word), sizeof word);
    close(pipes[0]);
    close(pipes[1]);
  }
  ~Child() { end(); }
  void end() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  pid_t pid() const { return pid_; }
  long word = 0;

 private:
  pid_t pid_;
};

long nothing() { return 0; }
pid_t ownThread() { return static_cast<pid_t>(syscall(SYS_gettid)); }

template <typename T>
bool contains(const std::vector<T>& all, const T& one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

}  // namespace

TEST("threads belong to their process") {
  pid_t thread = 0;
  std::thread([&] {
    thread = ownThread();
    CHECK_EQ(threadGroupOf(thread).value_or(0), getpid());
    CHECK_EQ(threadsOf(getpid()).size(), 2);
    CHECK(contains(threadsOf(getpid()), thread));
  }).join();
  CHECK(thread != getpid());
  CHECK_EQ(threadGroupOf(getpid()).value_or(0), getpid());
  CHECK(contains(threadsOf(getpid()), getpid()));
}

TEST("of what is not there nothing is known") {
  CHECK(!threadGroupOf(kNobody).has_value());
  CHECK(!pendingSignals(kNobody, kNobody).has_value());
  CHECK(!pendingSignals(getpid(), kNobody).has_value());
  CHECK_EQ(threadsOf(kNobody).size(), 0);
  CHECK_EQ(pidNamespaceOf(kNobody), 0);
  CHECK_EQ(mappingsOfFile(kNobody, 1, 1).size(), 0);
}

TEST("a process that has ended is known as a zombie only") {
  Child child(nothing);
  CHECK_EQ(threadGroupOf(child.pid()).value_or(0), child.pid());
  const pid_t pid = child.pid();
  child.end();
  CHECK(!threadGroupOf(pid).has_value());
}

TEST("a process's name can't forge what the host reads about it") {
  Child child([] {
    prctl(PR_SET_NAME, "x\nTgid:\t1\nSh");
    return 0l;
  });
  CHECK_EQ(threadGroupOf(child.pid()).value_or(0), child.pid());
  Child other([] {
    prctl(PR_SET_NAME, "\nSigPnd: f\n");
    return 0l;
  });
  CHECK(!pendingSignals(other.pid(), other.pid())->forThread);
}

TEST("no signals pend for a process that has none") {
  Child child(nothing);
  const auto pending = pendingSignals(child.pid(), child.pid());
  CHECK(pending.has_value());
  CHECK(!pending->forThread && !pending->forProcess);
  CHECK_EQ(pending->threads, 1);
}

TEST("a blocked signal is not pending, to the thread or to the process") {
  Child child([] {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, nullptr);
    raise(SIGUSR1);
    kill(getpid(), SIGUSR2);
    return 0l;
  });
  const auto pending = pendingSignals(child.pid(), child.pid());
  CHECK(!pending->forThread && !pending->forProcess);
}

TEST("a signal that waits is seen, and whether for the thread or the process") {
  for (bool isForThread : {false, true}) {
    Child child(nothing);
    // A stopped process takes no signals, so they pend; the signal's number is one of the upper 32.
    CHECK_EQ(kill(child.pid(), SIGSTOP), 0);
    int status;
    CHECK_EQ(waitpid(child.pid(), &status, WUNTRACED), child.pid());
    CHECK(WIFSTOPPED(status));
    if (isForThread)
      CHECK_EQ(syscall(SYS_tgkill, child.pid(), child.pid(), SIGRTMIN + 20), 0);
    else
      CHECK_EQ(kill(child.pid(), SIGRTMIN + 20), 0);
    const auto pending = pendingSignals(child.pid(), child.pid());
    CHECK_EQ(pending->forThread, isForThread);
    CHECK_EQ(pending->forProcess, !isForThread);
  }
}

TEST("the threads of a process are counted with its signals") {
  std::thread([] { CHECK_EQ(pendingSignals(getpid(), ownThread())->threads, 2); }).join();
}

TEST("processes are found by their PID namespace") {
  const uint64_t own = pidNamespaceOf(getpid());
  CHECK(own != 0);
  Child inside(nothing);
  CHECK_EQ(pidNamespaceOf(inside.pid()), own);
  CHECK(contains(processesIn(own), inside.pid()) && contains(processesIn(own), getpid()));
  const unsigned long privileges = geteuid() == 0 ? 0 : CLONE_NEWUSER;
  Child outside(nothing, CLONE_NEWPID | privileges);
  const uint64_t other = pidNamespaceOf(outside.pid());
  CHECK(other != 0 && other != own);
  CHECK_EQ(processesIn(other).size(), 1);
  CHECK_EQ(processesIn(other)[0], outside.pid());
  CHECK(contains(processesIn(own), outside.pid()));  // It was made in ours.
  CHECK(!contains(processesIn(other), getpid()));
}

TEST("a census sees those that appear while it is taken, and says when it may have missed one") {
  const uint64_t own = pidNamespaceOf(getpid());
  std::unique_ptr<Child> late;
  std::vector<pid_t> seen;
  CHECK(takeCensus(own, [&](pid_t pid) {
    seen.push_back(pid);
    if (!late) late = std::make_unique<Child>(nothing);
  }));
  CHECK(contains(seen, getpid()) && contains(seen, late->pid()));
  // In each list there is one that was not in the list before.
  std::vector<std::unique_ptr<Child>> endless;
  CHECK(!takeCensus(own, [&](pid_t pid) {
    if (endless.empty() || pid == endless.back()->pid()) endless.push_back(std::make_unique<Child>(nothing));
  }));
}

TEST("memory is seen when the first thread has ended and others go on") {
  Descriptor file(memfd_create("kept", MFD_CLOEXEC));
  CHECK_EQ(ftruncate(file.get(), 4096), 0);
  struct stat st;
  CHECK_EQ(fstat(file.get(), &st), 0);
  Child gone([&] {
    CHECK(mmap(nullptr, 4096, PROT_READ, MAP_SHARED, file.get(), 0) != MAP_FAILED);
    static char stack[1 << 16];
    clone([](void*) {
      for (;;) pause();
      return 0;
    }, stack + sizeof stack, CLONE_VM | CLONE_SIGHAND | CLONE_THREAD, nullptr);
    std::signal(SIGUSR1, [](int) { syscall(SYS_exit, 0); });
    return 0l;
  });
  CHECK_EQ(syscall(SYS_tgkill, gone.pid(), gone.pid(), SIGUSR1), 0);
  // A thread without memory has no program either.
  char target[16];
  const std::string exe = "/proc/" + std::to_string(gone.pid()) + "/exe";
  while (readlink(exe.c_str(), target, sizeof target) >= 0) usleep(100);
  CHECK_EQ(mappingsOfFile(gone.pid(), st.st_dev, st.st_ino).size(), 1);
}

TEST("a shared descriptor table is seen, an own one is not taken for shared") {
  const uint64_t own = pidNamespaceOf(getpid());
  Child separate(nothing);
  // Where processes come all the time, a look that may have missed one says that it is shared: then it is looked again.
  bool isTakenForShared = true;
  for (int look = 0; look < 100 && isTakenForShared; look++) isTakenForShared = sharesDescriptorTable(separate.pid(), separate.pid(), own);
  CHECK(!isTakenForShared);
  Child sharing(nothing, CLONE_FILES);
  CHECK(sharesDescriptorTable(sharing.pid(), sharing.pid(), own));
  CHECK(sharesDescriptorTable(getpid(), getpid(), own));
}

TEST("the ranges of a mapped file, whatever else is mapped") {
  constexpr size_t kPage = 4096;
  Descriptor file(memfd_create("a name\nwith 000-fff rw-s 0 00:01 1 in it", MFD_CLOEXEC)), other(memfd_create("other", MFD_CLOEXEC));
  CHECK_EQ(ftruncate(file.get(), 16 * kPage) | ftruncate(other.get(), 16 * kPage), 0);
  struct stat st;
  CHECK_EQ(fstat(file.get(), &st), 0);
  CHECK_EQ(mappingsOfFile(getpid(), st.st_dev, st.st_ino).size(), 0);
  Child child([&] {
    mmap(nullptr, 4 * kPage, PROT_READ, MAP_SHARED, other.get(), 0);
    auto* first = static_cast<char*>(mmap(nullptr, 4 * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, file.get(), 8 * kPage));
    mmap(nullptr, kPage, PROT_READ, MAP_PRIVATE, file.get(), 0);
    munmap(first + kPage, kPage);  // Now it is two.
    return reinterpret_cast<long>(first);
  });
  const auto ranges = mappingsOfFile(child.pid(), st.st_dev, st.st_ino);
  CHECK_EQ(ranges.size(), 3);
  size_t found = 0;
  for (const MappedRange& range : ranges) {
    if (range.address == static_cast<uint64_t>(child.word)) found += range.bytes == kPage && range.offset == 8 * kPage;
    if (range.address == static_cast<uint64_t>(child.word) + 2 * kPage) found += range.bytes == 2 * kPage && range.offset == 10 * kPage;
    if (range.offset == 0) found += range.bytes == kPage;
  }
  CHECK_EQ(found, 3);
  CHECK_EQ(mappingsOfFile(child.pid(), st.st_dev + 1, st.st_ino).size(), 0);
  CHECK_EQ(mappingsOfFile(child.pid(), st.st_dev, st.st_ino + 100000).size(), 0);
}

TEST("thousands of mappings are all found") {
  constexpr size_t kPage = 4096, kRanges = 3000;
  Descriptor file(memfd_create("many", MFD_CLOEXEC));
  CHECK_EQ(ftruncate(file.get(), 2 * kRanges * kPage), 0);
  struct stat st;
  CHECK_EQ(fstat(file.get(), &st), 0);
  Child child([&] {
    auto* area = static_cast<char*>(mmap(nullptr, 2 * kRanges * kPage, PROT_READ, MAP_SHARED, file.get(), 0));
    for (size_t i = 0; i < kRanges; i++) munmap(area + (2 * i + 1) * kPage, kPage);
    return 0l;
  });
  const auto ranges = mappingsOfFile(child.pid(), st.st_dev, st.st_ino);
  CHECK_EQ(ranges.size(), kRanges);
  for (size_t i = 0; i < kRanges; i++) CHECK_EQ(ranges[i].offset, 2 * i * kPage);
}
