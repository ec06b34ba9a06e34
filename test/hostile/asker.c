/* A guest that asks its camera the usual things, one a line, and says what it got. With "map" it maps a buffer too, and shows the first byte;
 * with "wait" it then waits for its input to end. */
#include "../guests/video.h"

/* A descriptor that the driver is said to have made must be a new one, and nothing but a placeholder. */
static void export_buffer(int fd) {
  struct v4l2_exportbuffer request = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE};
  int before = open("/dev/null", O_RDONLY);
  if (SAY_OK("expbuf", ioctl(fd, VIDIOC_EXPBUF, &request)) != 0) return;
  if (request.fd <= before) {
    say("a descriptor that was there before");
    return;
  }
  char byte = 0;
  int powerless = write(request.fd, &byte, 1) < 0;
  say("a new descriptor, close-on-exec: %d, %s", fcntl(request.fd, F_GETFD), powerless ? "powerless" : "written to");
  close(request.fd);
}

int main(int argc, char **argv) {
  struct v4l2_capability capability = {0};
  struct v4l2_requestbuffers request = {.count = 1, .type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_MMAP};
  struct v4l2_buffer buffer = buffer_named(0);
  char bytes[64];
  const char *what = argc > 1 ? argv[1] : "";
  alarm(CASE_SECONDS_MAX);
  int fd = (int)SAY_OK("open", open(CAPTURE_NODE, O_RDWR | O_NONBLOCK));
  if (fd < 0) return 0;
  SAY("querycap", ioctl(fd, VIDIOC_QUERYCAP, &capability));
  memset(bytes, 0x5a, sizeof bytes);
  SAY("read", read(fd, bytes, 16));
  for (size_t i = 16; i < sizeof bytes; i++)
    if (bytes[i] != 0x5a) say("a byte beyond the buffer is now %02x", bytes[i]);
  if (strcmp(what, "export") == 0) export_buffer(fd);
  else if (*what) {
    SAY("reqbufs", ioctl(fd, VIDIOC_REQBUFS, &request));
    SAY("querybuf", ioctl(fd, VIDIOC_QUERYBUF, &buffer));
    volatile char *mapped = (volatile char *)SAY_OK("mmap", mmap(NULL, 2 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0x1000));
    if (mapped != MAP_FAILED) say("first bytes %02x %02x", (unsigned char)mapped[0], (unsigned char)mapped[4096]);
    if (mapped != MAP_FAILED && strcmp(what, "wait") == 0) mapped[0] = 0x77;
  }
  SAY("querycap again", ioctl(fd, VIDIOC_QUERYCAP, &capability));
  if (strcmp(what, "wait") == 0) {
    say("waiting");
    (void)!read(STDIN_FILENO, bytes, 1);
  }
  SAY("close", close(fd));
  return 0;
}
