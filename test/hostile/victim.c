/* Another guest, whose camera buffers hold a secret: the second argument, over and over. It tells when they do, and ends with its input. */
#include "../guests/video.h"

int main(int argc, char **argv) {
  struct video video = {.fd = open_video(0)};
  char line[8];
  if (argc != 2 || strlen(argv[1]) != 16) return 2;
  MUST(set_format(video.fd, 1280, 720, V4L2_PIX_FMT_YUYV));
  video.count = (unsigned)MUST(request_buffers(video.fd, BUFFERS));
  for (unsigned i = 0; i < video.count; i++) {
    struct v4l2_buffer buffer = buffer_named(i);
    MUST(ioctl(video.fd, VIDIOC_QUERYBUF, &buffer));
    char *bytes = (char *)MUST(mmap(NULL, buffer.length, PROT_READ | PROT_WRITE, MAP_SHARED, video.fd, buffer.m.offset));
    for (size_t at = 0; at + 16 <= buffer.length; at += 16) memcpy(bytes + at, argv[1], 16);
  }
  say("filled");
  (void)!read(STDIN_FILENO, line, sizeof line);
  return 0;
}
