/* What guests share that work with a device until they are told to end, and open it again when it has gone. */
#ifndef POSTERN_TEST_REOPENING_H
#define POSTERN_TEST_REOPENING_H

#include "../guests/guest.h"

static inline long now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static inline bool should_end(void) {
  struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
  return poll(&input, 1, 0) == 1;
}

/* Opens the device as soon as that is possible, and says so. Ends the program when it should end, or the device is refused otherwise than by ENODEV. */
static inline int open_again(const char *path, int flags) {
  int fd;
  while ((fd = open(path, flags)) < 0) {
    const int error = errno;
    if (should_end()) exit(0);
    if (error != ENODEV) {
      say("refused %s", strerrorname_np(error));
      exit(3);
    }
    pause_ms(1);
  }
  say("back %ld", now_us());
  return fd;
}

/* Says by which errno the device has gone, and closes it. Ends the program when that is not ENODEV. */
static inline void lose(int fd, int error) {
  say("lost %s %ld", strerrorname_np(error), now_us());
  if (error != ENODEV) exit(4);
  close(fd);
}

#endif
