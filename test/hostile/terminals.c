/* A guest that works with a terminal until it is told to end. When the device goes it says by which errno, and opens it again as soon as
 * that is possible: `lost ERRNO US` and `back US`. Anything else ends it. */
#include "../guests/guest.h"

#include <termios.h>

static long now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static bool should_end(void) {
  struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
  return poll(&input, 1, 0) == 1;
}

int main(void) {
  struct winsize size;
  for (;;) {
    int fd;
    while ((fd = open("/dev/ptmx", O_RDWR | O_NOCTTY)) < 0) {
      if (should_end()) return 0;
      if (errno != ENODEV) {
        say("refused %s", strerrorname_np(errno));
        return 3;
      }
      pause_ms(1);
    }
    say("back %ld", now_us());
    while (ioctl(fd, TIOCGWINSZ, &size) == 0) {
      if (should_end()) return 0;
      pause_ms(1);
    }
    int error = errno;
    say("lost %s %ld", strerrorname_np(error), now_us());
    if (error != ENODEV) return 4;
    close(fd);
  }
}
