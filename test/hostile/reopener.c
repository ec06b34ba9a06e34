/* A guest that works with its camera until it is told to end. When the device goes it says by which errno, and opens it again as soon as
 * that is possible: `lost ERRNO MS` and `back MS`, by the clock that its host has too. Anything else ends it. */
#include "../guests/video.h"

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
  struct v4l2_capability capability;
  struct v4l2_control control;
  for (;;) {
    int fd = -1;
    while (fd < 0) {
      if (should_end()) return 0;
      fd = open(CAPTURE_NODE, O_RDWR);
      if (fd >= 0) break;
      if (errno != ENODEV) {
        say("refused %s", strerrorname_np(errno));
        return 3;
      }
      pause_ms(1);
    }
    say("back %ld", now_us());
    for (unsigned round = 0;; round++) {
      if (should_end()) return 0;
      control = (struct v4l2_control){.id = V4L2_CID_BRIGHTNESS};
      if (ioctl(fd, VIDIOC_QUERYCAP, &capability) != 0 || ioctl(fd, VIDIOC_G_CTRL, &control) != 0) break;
    }
    say("lost %s %ld", strerrorname_np(errno), now_us());
    if (errno != ENODEV) return 4;
    close(fd);
  }
}
