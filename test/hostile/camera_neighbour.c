/* Another guest with a camera, whose buffers hold a secret: the second argument, over and over. For each line of its input it uses the
 * device and looks whether its buffers are as they were; it ends with its input. */
#include "../guests/video.h"

#define SECRET_BYTES 16

int main(int argc, char **argv) {
  struct video video = {.fd = open_video(0)};
  char *mapped[BUFFERS];
  size_t lengths[BUFFERS];
  char line[8];
  if (argc != 2 || strlen(argv[1]) != SECRET_BYTES) return 2;
  MUST(set_format(video.fd, 640, 360, V4L2_PIX_FMT_YUYV));
  video.count = (unsigned)MUST(request_buffers(video.fd, BUFFERS));
  for (unsigned i = 0; i < video.count; i++) {
    struct v4l2_buffer buffer = buffer_named(i);
    MUST(ioctl(video.fd, VIDIOC_QUERYBUF, &buffer));
    lengths[i] = buffer.length;
    mapped[i] = (char *)MUST(mmap(NULL, buffer.length, PROT_READ | PROT_WRITE, MAP_SHARED, video.fd, buffer.m.offset));
    for (size_t at = 0; at + SECRET_BYTES <= lengths[i]; at += SECRET_BYTES) memcpy(mapped[i] + at, argv[1], SECRET_BYTES);
  }
  say("filled");
  while (fgets(line, sizeof line, stdin)) {
    struct v4l2_capability capability;
    unsigned changed = 0;
    MUST(ioctl(video.fd, VIDIOC_QUERYCAP, &capability));
    for (unsigned i = 0; i < video.count; i++)
      for (size_t at = 0; at + SECRET_BYTES <= lengths[i]; at += SECRET_BYTES) changed += memcmp(mapped[i] + at, argv[1], SECRET_BYTES) != 0;
    if (changed) say("%u pieces of the secret have changed", changed);
    else say("well");
  }
  return 0;
}
