/* A guest that works with a terminal until it is told to end. When the device goes it says by which errno, and opens it again as soon as
 * that is possible: `lost ERRNO US` and `back US`. Anything else ends it. */
#include "reopening.h"

#include <termios.h>

int main(void) {
  struct winsize size;
  for (;;) {
    int fd = open_again("/dev/ptmx", O_RDWR | O_NOCTTY);
    while (ioctl(fd, TIOCGWINSZ, &size) == 0) {
      if (should_end()) return 0;
      pause_ms(1);
    }
    lose(fd, errno);
  }
}
