/* A pseudo terminal for a guest program: the master and the slave's name. */
#ifndef POSTERN_TEST_PTY_H
#define POSTERN_TEST_PTY_H

#include "guest.h"

#include <termios.h>

static inline int open_master(char *name, size_t bytes) {
  int master = (int)MUST(open("/dev/ptmx", O_RDWR | O_NOCTTY));
  int unlock = 0, number;
  MUST(ioctl(master, TIOCSPTLCK, &unlock));
  MUST(ioctl(master, TIOCGPTN, &number));
  snprintf(name, bytes, "/dev/pts/%d", number);
  return master;
}

/* A master and its slave, which passes bytes on as they are. */
static inline void open_pair(int *master, int *slave) {
  char name[32];
  struct termios raw;
  *master = open_master(name, sizeof name);
  *slave = (int)MUST(open(name, O_RDWR | O_NOCTTY));
  MUST(tcgetattr(*slave, &raw));
  cfmakeraw(&raw);
  MUST(tcsetattr(*slave, TCSANOW, &raw));
}

static inline void put(int fd, const char *text) {
  size_t length = strlen(text);
  if (write(fd, text, length) != (ssize_t)length) {
    say("write of '%s': %s", text, strerrorname_np(errno));
    _exit(97);
  }
}

/* Prints what one read gives. */
static inline void say_read(const char *label, int fd) {
  char text[256];
  ssize_t length = read(fd, text, sizeof text - 1);
  if (length < 0) {
    say("%s: %s", label, strerrorname_np(errno));
    return;
  }
  text[length] = 0;
  say("%s: %zd '%s'", label, length, text);
}

#endif
