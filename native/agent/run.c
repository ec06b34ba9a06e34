#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "control.h"
#include "log.h"

#define ARGUMENTS_MAX 256
#define OUTPUT_BYTES_AT_ONCE 16384
/* The shell's status for a program that can't be run, as waitpid gives it. */
#define STATUS_NOT_RUN (127 << 8)
/* A program that left a child with its output open is finished all the same: what it wrote is there by then. */
#define OUTPUT_POLL_MS 100

/* Returns the number of arguments, 0 when the payload is no argv. */
static int split(char *payload, size_t length, char *arguments[ARGUMENTS_MAX + 1]) {
  int count = 0;
  if (length == 0 || payload[length - 1] != 0) return 0;
  for (char *next = payload; next < payload + length; next += strlen(next) + 1) {
    if (count == ARGUMENTS_MAX) return 0;
    arguments[count++] = next;
  }
  arguments[count] = NULL;
  return count;
}

_Noreturn static void become(char *const arguments[], int output) {
  char *const environment[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/tmp", "LANG=C.UTF-8",
                               "TERM=dumb", NULL};
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  signal(SIGPIPE, SIG_DFL);
  setsid();
  int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
  dup2(nothing, STDIN_FILENO);
  dup2(output, STDOUT_FILENO);
  dup2(output, STDERR_FILENO);
  if (chroot(RUN_ROOT) == 0 && chdir("/") == 0) execvpe(arguments[0], arguments, environment);
  dprintf(STDERR_FILENO, "%s can't be run beside the driver: %s\n", arguments[0], strerror(errno));
  _exit(127);
}

static void forward(const struct domain *domain, int output, pid_t process, int *status) {
  bool ended = false;
  for (;;) {
    struct pollfd sources[] = {{.fd = output, .events = POLLIN}, {.fd = log_read_end(), .events = POLLIN}};
    int ready = poll(sources, 2, OUTPUT_POLL_MS);
    if (sources[1].revents) control_forward_log(domain);
    if (sources[0].revents) {
      char bytes[OUTPUT_BYTES_AT_ONCE];
      ssize_t count = read(output, bytes, sizeof bytes);
      if (count > 0) control_send(domain, POSTERN_FRAME_OUTPUT, bytes, (size_t)count, NULL, 0);
      if (count == 0) break;
    } else if (ready == 0 && ended) {
      return;
    }
    if (!ended) ended = waitpid(process, status, WNOHANG) == process;
  }
  if (!ended) waitpid(process, status, 0);
}

static void refuse(const struct domain *domain, const char *reason) {
  int32_t status = STATUS_NOT_RUN;
  control_send(domain, POSTERN_FRAME_OUTPUT, reason, strlen(reason), NULL, 0);
  control_send(domain, POSTERN_FRAME_RUN, &status, sizeof status, NULL, 0);
}

void run_program(const struct domain *domain, char *payload, size_t length) {
  char *arguments[ARGUMENTS_MAX + 1];
  int output[2], status = STATUS_NOT_RUN;
  if (!domain->shared_root) return refuse(domain, "this driver domain was started without the host's root\n");
  if (split(payload, length, arguments) == 0) return refuse(domain, "the request is no argv\n");
  if (pipe2(output, O_CLOEXEC) != 0) return refuse(domain, "no pipe for the program's output\n");
  pid_t process = fork();
  if (process == 0) become(arguments, output[1]);
  close(output[1]);
  if (process < 0) refuse(domain, "no process for the program\n");
  else forward(domain, output[0], process, &status);
  close(output[0]);
  int32_t answer = status;
  if (process > 0) control_send(domain, POSTERN_FRAME_RUN, &answer, sizeof answer, NULL, 0);
}
