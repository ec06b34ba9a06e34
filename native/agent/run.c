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

/* The program's ends of its pipes, or the agent's. */
struct streams {
  int input, output, error;
};

_Noreturn static void become(char *const arguments[], const struct streams *streams) {
  char *const environment[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/tmp", "LANG=C.UTF-8",
                               "TERM=dumb", NULL};
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  signal(SIGPIPE, SIG_DFL);
  setsid();
  dup2(streams->input, STDIN_FILENO);
  dup2(streams->output, STDOUT_FILENO);
  dup2(streams->error, STDERR_FILENO);
  if (chroot(RUN_ROOT) == 0 && chdir("/") == 0) execvpe(arguments[0], arguments, environment);
  dprintf(STDERR_FILENO, "%s can't be run beside the driver: %s\n", arguments[0], strerror(errno));
  _exit(127);
}

/* What the program has not read yet of its standard input; the host's next frame waits until it has. */
struct pending {
  char *bytes;
  size_t length;
};

static void close_input(struct streams *streams) {
  if (streams->input >= 0) close(streams->input);
  streams->input = -1;
}

static void pass_input(struct streams *streams, struct pending *pending) {
  ssize_t written = write(streams->input, pending->bytes, pending->length);
  if (written < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (written < 0) {
    close_input(streams);
    pending->length = 0;
    return;
  }
  pending->bytes += written;
  pending->length -= (size_t)written;
}

static void take_input(const struct domain *domain, struct streams *streams, struct pending *pending) {
  if (control_take(domain, &pending->bytes, &pending->length) != POSTERN_FRAME_INPUT || streams->input < 0) pending->length = 0;
  else if (pending->length == 0) close_input(streams);
}

static void pass_output(const struct domain *domain, uint32_t type, int *stream) {
  char bytes[OUTPUT_BYTES_AT_ONCE];
  ssize_t count = read(*stream, bytes, sizeof bytes);
  if (count > 0) control_send(domain, type, bytes, (size_t)count, NULL, 0);
  if (count == 0) {
    close(*stream);
    *stream = -1;
  }
}

static void forward(const struct domain *domain, struct streams *streams, pid_t process, int *status) {
  struct pending pending = {.length = 0};
  bool ended = false;
  while (streams->output >= 0 || streams->error >= 0) {
    /* poll leaves negative descriptors out. */
    struct pollfd sources[] = {{.fd = streams->output, .events = POLLIN},
                               {.fd = streams->error, .events = POLLIN},
                               {.fd = log_read_end(), .events = POLLIN},
                               {.fd = pending.length == 0 ? domain->control : -1, .events = POLLIN},
                               {.fd = pending.length > 0 ? streams->input : -1, .events = POLLOUT}};
    int ready = poll(sources, 5, OUTPUT_POLL_MS);
    if (sources[2].revents) control_forward_log(domain);
    if (sources[0].revents) pass_output(domain, POSTERN_FRAME_OUTPUT, &streams->output);
    if (sources[1].revents) pass_output(domain, POSTERN_FRAME_ERROR, &streams->error);
    if (sources[3].revents) take_input(domain, streams, &pending);
    if (sources[4].revents) pass_input(streams, &pending);
    if (ready == 0 && ended) return;
    if (!ended) ended = waitpid(process, status, WNOHANG) == process;
  }
  if (!ended) waitpid(process, status, 0);
}

static void refuse(const struct domain *domain, const char *reason) {
  int32_t status = STATUS_NOT_RUN;
  control_send(domain, POSTERN_FRAME_OUTPUT, reason, strlen(reason), NULL, 0);
  control_send(domain, POSTERN_FRAME_RUN, &status, sizeof status, NULL, 0);
}

static bool open_pipes(struct streams *ours, struct streams *theirs) {
  int input[2], output[2], error[2];
  if (pipe2(input, O_CLOEXEC) != 0) return false;
  if (pipe2(output, O_CLOEXEC) != 0) return false;
  if (pipe2(error, O_CLOEXEC) != 0) return false;
  fcntl(input[1], F_SETFL, O_NONBLOCK);
  *ours = (struct streams){.input = input[1], .output = output[0], .error = error[0]};
  *theirs = (struct streams){.input = input[0], .output = output[1], .error = error[1]};
  return true;
}

static void close_streams(struct streams *streams) {
  close_input(streams);
  if (streams->output >= 0) close(streams->output);
  if (streams->error >= 0) close(streams->error);
}

void run_program(const struct domain *domain, char *payload, size_t length) {
  char *arguments[ARGUMENTS_MAX + 1];
  struct streams ours, theirs;
  int status = STATUS_NOT_RUN;
  if (!domain->shared_root) return refuse(domain, "this driver domain was started without the host's root\n");
  if (split(payload, length, arguments) == 0) return refuse(domain, "the request is no argv\n");
  if (!open_pipes(&ours, &theirs)) return refuse(domain, "no pipes for the program\n");
  pid_t process = fork();
  if (process == 0) become(arguments, &theirs);
  close_streams(&theirs);
  if (process < 0) refuse(domain, "no process for the program\n");
  else forward(domain, &ours, process, &status);
  close_streams(&ours);
  int32_t answer = status;
  if (process > 0) control_send(domain, POSTERN_FRAME_RUN, &answer, sizeof answer, NULL, 0);
}
