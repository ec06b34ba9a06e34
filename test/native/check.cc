#include "check.h"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>

namespace check {

std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}

void fail(const char* file, int line, const std::string& words) {
  const char* slash = std::strrchr(file, '/');
  throw Failure(std::string(slash != nullptr ? slash + 1 : file) + ":" + std::to_string(line) + ": " + words);
}

int outcomeOf(const std::function<void()>& body, std::string& words) {
  try {
    body();
    return 0;
  } catch (const Skipped& skipped) {
    words = skipped.what();
    return kSkipped;
  } catch (const std::exception& error) {
    words = error.what();
    return kFailed;
  }
}

void dieWithParent() { prctl(PR_SET_PDEATHSIG, SIGKILL); }

void inChild(const std::function<void()>& body) {
  int pipes[2];
  if (pipe(pipes) != 0) throw Failure("pipe failed");
  const pid_t pid = fork();
  if (pid == 0) {
    dieWithParent();
    close(pipes[0]);
    std::string words;
    const int outcome = outcomeOf(body, words);
    (void)!write(pipes[1], words.data(), words.size());
    _exit(outcome);
  }
  close(pipes[1]);
  std::string words;
  char buffer[4096];
  ssize_t got;
  while ((got = read(pipes[0], buffer, sizeof buffer)) > 0) words.append(buffer, static_cast<size_t>(got));
  close(pipes[0]);
  int status = 0;
  if (pid < 0 || waitpid(pid, &status, 0) != pid) throw Failure("the child could not be made or waited for");
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return;
  if (WIFEXITED(status) && WEXITSTATUS(status) == kSkipped) throw Skipped(words);
  throw Failure("in the child (wait status " + std::to_string(status) + "): " + words);
}

}  // namespace check
