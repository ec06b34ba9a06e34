/* A guest that works with its camera until it is told to end. When the device goes it says by which errno, and opens it again as soon as
 * that is possible: `lost ERRNO US` and `back US`, by the clock that its host has too. Anything else ends it. */
#include "../guests/video.h"
#include "reopening.h"

int main(void) {
  struct v4l2_capability capability;
  struct v4l2_control control;
  for (;;) {
    if (should_end()) return 0;
    int fd = open_again(CAPTURE_NODE, O_RDWR);
    do {
      if (should_end()) return 0;
      control = (struct v4l2_control){.id = V4L2_CID_BRIGHTNESS};
    } while (ioctl(fd, VIDIOC_QUERYCAP, &capability) == 0 && ioctl(fd, VIDIOC_G_CTRL, &control) == 0);
    lose(fd, errno);
  }
}
