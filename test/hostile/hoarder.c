/* A guest that waits for a line, opens terminals until it gets no more, says how that ended, closes them, waits for another line,
 * and opens one again. It prints `ready`, `refused ERRNO` and `again`. */
#include "../guests/guest.h"

#include <termios.h>

/* More than the envelope allows. */
#define FILES_MAX 256

int main(void) {
  static int files[FILES_MAX];
  struct winsize size;
  char line[16];
  int count = 0;
  files[count++] = (int)MUST(open("/dev/ptmx", O_RDWR | O_NOCTTY));
  say("ready");
  if (!fgets(line, sizeof line, stdin)) return 3;
  while (count < FILES_MAX && (files[count] = open("/dev/ptmx", O_RDWR | O_NOCTTY)) >= 0) count++;
  const int refusal = errno;
  MUST(ioctl(files[0], TIOCGWINSZ, &size));
  while (count > 0) close(files[--count]);
  say("refused %s", strerrorname_np(refusal));
  if (!fgets(line, sizeof line, stdin)) return 3;
  int fd = (int)MUST(open("/dev/ptmx", O_RDWR | O_NOCTTY));
  MUST(ioctl(fd, TIOCGWINSZ, &size));
  say("again");
  return 0;
}
