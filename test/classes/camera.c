/* Two guests of a driver with two cameras: what one has learnt of its own camera says nothing of the other one's. */
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static void say(const char *name, int result) {
  printf("%s %s\n", name, result < 0 ? strerrorname_np(errno) : "ok");
  fflush(stdout);
}

/* The queue's buffers, whose offsets begin with 0 on every camera. */
static void ask_for_buffers(int camera, struct v4l2_buffer *buffer) {
  struct v4l2_requestbuffers request = {.count = 2, .type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_MMAP};
  say("request", ioctl(camera, VIDIOC_REQBUFS, &request));
  *buffer = (struct v4l2_buffer){.type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_MMAP};
  say("query", ioctl(camera, VIDIOC_QUERYBUF, buffer));
}

static void map(const char *name, int camera, const struct v4l2_buffer *buffer) {
  void *bytes = mmap(NULL, buffer->length, PROT_READ, MAP_SHARED, camera, buffer->m.offset);
  say(name, bytes == MAP_FAILED ? -1 : 0);
  if (bytes != MAP_FAILED) munmap(bytes, buffer->length);
}

/* Buffers that nobody has mapped yet: once they are, the host lends their pages to no other guest anyway. */
static void hold(int camera) {
  struct v4l2_buffer buffer;
  ask_for_buffers(camera, &buffer);
  getchar();
}

static void look(int mine, int foreign) {
  struct v4l2_buffer buffer;
  ask_for_buffers(mine, &buffer);
  map("own", mine, &buffer);
  map("foreign", foreign, &buffer);
  struct v4l2_requestbuffers none = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_MMAP};
  say("give-back", ioctl(mine, VIDIOC_REQBUFS, &none));
  map("given-back", mine, &buffer);
}

int main(int count, char **arguments) {
  int camera = count > 2 ? open(arguments[2], O_RDWR | O_CLOEXEC) : -1;
  if (camera < 0) return 2;
  if (strcmp(arguments[1], "hold") == 0) {
    hold(camera);
  } else if (count > 3) {
    look(camera, open(arguments[3], O_RDWR | O_CLOEXEC));
  }
  return 0;
}
