#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static int pipe_ends[2] = {-1, -1};

int log_open(void) {
  return pipe2(pipe_ends, O_CLOEXEC | O_NONBLOCK) == 0 ? 0 : -errno;
}

int log_read_end(void) { return pipe_ends[0]; }

void log_line(const char *format, ...) {
  char line[LOG_LINE_BYTES_MAX];
  va_list arguments;
  va_start(arguments, format);
  int length = vsnprintf(line, sizeof line - 1, format, arguments);
  va_end(arguments);
  if (length < 0) return;
  if (length > (int)sizeof line - 2) length = (int)sizeof line - 2;
  line[length++] = '\n';
  int descriptor = pipe_ends[1] >= 0 ? pipe_ends[1] : STDERR_FILENO;
  /* A full pipe loses the line: a log must never stop a driver. */
  ssize_t ignored = write(descriptor, line, (size_t)length);
  (void)ignored;
}
