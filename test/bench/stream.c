/* Captures frames by mmap and prints how many a second came. The same binary runs as a guest and beside the driver.
 * Usage: stream DEVICE WIDTH HEIGHT FRAMES_PER_SECOND FRAMES
 * Prints two lines: `begin` with the first frame, and `fps FPS lost LOST gap99 MS` at the end (LOST from the driver's sequence numbers, MS the
 * 99th percentile of the time from frame to frame). */
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { BUFFERS = 4, FRAMES_MAX = 4096 };

static void fail(const char *what) {
  fprintf(stderr, "stream: %s: %s\n", what, strerror(errno));
  exit(1);
}

static void command(int device, unsigned long number, void *argument, const char *name) {
  if (ioctl(device, number, argument) != 0) fail(name);
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int compare(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void set_mode(int device, unsigned width, unsigned height, unsigned rate) {
  int webcam = 0;
  command(device, VIDIOC_S_INPUT, &webcam, "VIDIOC_S_INPUT");
  struct v4l2_format format = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE};
  format.fmt.pix.width = width;
  format.fmt.pix.height = height;
  format.fmt.pix.pixelformat = V4L2_PIX_FMT_YUYV;
  command(device, VIDIOC_S_FMT, &format, "VIDIOC_S_FMT");
  if (format.fmt.pix.width != width || format.fmt.pix.height != height) {
    fprintf(stderr, "stream: the device offers %ux%u\n", format.fmt.pix.width, format.fmt.pix.height);
    exit(1);
  }
  struct v4l2_streamparm parameters = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE};
  parameters.parm.capture.timeperframe = (struct v4l2_fract){1, rate};
  command(device, VIDIOC_S_PARM, &parameters, "VIDIOC_S_PARM");
}

static void map_and_queue(int device) {
  struct v4l2_requestbuffers request = {.count = BUFFERS, .type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_MMAP};
  command(device, VIDIOC_REQBUFS, &request, "VIDIOC_REQBUFS");
  for (unsigned i = 0; i < request.count; i++) {
    struct v4l2_buffer buffer = {.index = i, .type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_MMAP};
    command(device, VIDIOC_QUERYBUF, &buffer, "VIDIOC_QUERYBUF");
    if (mmap(NULL, buffer.length, PROT_READ | PROT_WRITE, MAP_SHARED, device, buffer.m.offset) == MAP_FAILED) fail("mmap");
    command(device, VIDIOC_QBUF, &buffer, "VIDIOC_QBUF");
  }
}

int main(int argc, char **argv) {
  if (argc != 6) {
    fprintf(stderr, "usage: stream DEVICE WIDTH HEIGHT FRAMES_PER_SECOND FRAMES\n");
    return 2;
  }
  int device = open(argv[1], O_RDWR);
  if (device < 0) fail(argv[1]);
  set_mode(device, (unsigned)atoi(argv[2]), (unsigned)atoi(argv[3]), (unsigned)atoi(argv[4]));
  map_and_queue(device);
  int type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
  command(device, VIDIOC_STREAMON, &type, "VIDIOC_STREAMON");
  const int frames = atoi(argv[5]);
  if (frames < 1 || frames > FRAMES_MAX) return 2;
  static double gaps[FRAMES_MAX];
  unsigned first = 0, last = 0;
  double began = 0, ended = 0;
  for (int i = 0; i <= frames; i++) {
    struct v4l2_buffer buffer = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_MMAP};
    command(device, VIDIOC_DQBUF, &buffer, "VIDIOC_DQBUF");
    const double time = now();
    if (i == 0) {
      began = time, first = buffer.sequence;
      printf("begin\n");
      fflush(stdout);
    } else {
      gaps[i - 1] = time - ended;
    }
    ended = time;
    last = buffer.sequence;
    command(device, VIDIOC_QBUF, &buffer, "VIDIOC_QBUF");
  }
  qsort(gaps, (size_t)frames, sizeof *gaps, compare);
  printf("fps %.4f lost %d gap99 %.3f\n", frames / (ended - began), (int)(last - first) - frames,
         1e3 * gaps[(size_t)frames * 99 / 100]);
  fflush(stdout);
  command(device, VIDIOC_STREAMOFF, &type, "VIDIOC_STREAMOFF");
  return 0;
}
