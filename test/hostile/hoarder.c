/* A guest that opens terminals until it gets no more, says how that ended, closes them, and opens one again.
 * It prints `opened` when it has one, `refused ERRNO` and `again`. */
#include "../guests/guest.h"

#include <termios.h>

/* More than the envelope allows. */
#define FILES_MAX 256

int main(void) {
  static int files[FILES_MAX];
  struct winsize size;
  int count = 0;
  while (count < FILES_MAX && (files[count] = open("/dev/ptmx", O_RDWR | O_NOCTTY)) >= 0)
    if (count++ == 0) say("opened");
  say("refused %s", strerrorname_np(errno));
  while (count > 0) close(files[--count]);
  int fd = (int)MUST(open("/dev/ptmx", O_RDWR | O_NOCTTY));
  MUST(ioctl(fd, TIOCGWINSZ, &size));
  say("again");
  return 0;
}
