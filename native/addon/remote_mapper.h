// Changes the mappings of a process that is the host's own but not this one: a guest VM's QEMU, whose BAR shows driver pages. One of its
// threads is stopped, made to call mmap, and let go with its registers as they were; its other threads run on.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <vector>

namespace postern {

struct RemoteRun {
  uint64_t address, bytes, offset;
};

class RemoteMapper {
 public:
  // `process` is a child of this process, or one that it may trace.
  explicit RemoteMapper(pid_t process) : process_(process) {}

  // Replaces what is mapped at each run by the file that the process has open as `descriptor` (-1: fresh memory of no file). 0 or a
  // positive errno; after an error the runs before it may have been replaced.
  int replace(const std::vector<RemoteRun>& runs, int protection, int descriptor);

  // Has the process take the files that wait in its socket, and have them as `numbers`, in place of what it has there. Of several messages
  // the last one counts. 0 or a positive errno: EAGAIN when none waits, EPROTO when a message has another number of files.
  int takeFiles(int socket, const std::vector<int>& numbers);

 private:
  bool findSyscall();
  pid_t helper() const;

  pid_t process_;
  uint64_t syscallAddress_ = 0;  // of a `syscall` instruction in the process
};

}  // namespace postern
