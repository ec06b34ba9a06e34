/* A guest that streams from its camera until it is told to end, and begins anew when the device has gone. What it must see then is
 * ENODEV, or that the file is hung up; anything else ends it. */
#include "../guests/video.h"
#include "reopening.h"

/* Whether it is to go on: what has failed may only be the whole device. */
static void check(const char *what, long result) {
  if (result >= 0) return;
  if (errno == ENODEV) return;
  say("%s: %s", what, strerrorname_np(errno));
  _exit(4);
}

/* Frames until the device goes. */
static unsigned frames_of(int fd) {
  char *mapped[BUFFERS] = {0};
  size_t lengths[BUFFERS] = {0};
  unsigned frames = 0;
  int count;
  if (set_format(fd, 320, 180, V4L2_PIX_FMT_YUYV) != 0) return check("S_FMT", -1), 0;
  if ((count = request_buffers(fd, BUFFERS)) < 0) return check("REQBUFS", -1), 0;
  for (int i = 0; i < count; i++) {
    struct v4l2_buffer buffer = buffer_named((unsigned)i);
    if (ioctl(fd, VIDIOC_QUERYBUF, &buffer) != 0) goto gone;
    void *bytes = mmap(NULL, buffer.length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, buffer.m.offset);
    if (bytes == MAP_FAILED) goto gone;
    mapped[i] = bytes;
    lengths[i] = buffer.length;
    if (enqueue(fd, (unsigned)i) != 0) goto gone;
  }
  if (stream(fd, true) != 0) goto gone;
  while (!should_end()) {
    struct v4l2_buffer buffer;
    if (dequeue(fd, &buffer) < 0 || enqueue(fd, buffer.index) != 0) goto gone;
    /* The pages stay readable, whatever becomes of the device. */
    frames += mapped[buffer.index][0] != 0 || true;
  }
  return frames;
gone:
  check("the stream", -1);
  for (int i = 0; i < count; i++)
    if (mapped[i]) {
      volatile char byte = mapped[i][lengths[i] - 1];
      (void)byte;
      munmap(mapped[i], lengths[i]);
    }
  return frames;
}

int main(void) {
  unsigned frames = 0, begun = 0;
  while (!should_end()) {
    int fd = open(CAPTURE_NODE, O_RDWR);
    if (fd < 0) {
      check("open", -1);
      pause_ms(1);
      continue;
    }
    begun++;
    frames += frames_of(fd);
    close(fd);
    say("stream %u: %u frames", begun, frames);
  }
  return 0;
}
