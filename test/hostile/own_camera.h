/* The camera of the attempts on driver pages, which each opens anew. */
#ifndef POSTERN_TEST_OWN_CAMERA_H
#define POSTERN_TEST_OWN_CAMERA_H

#include "attempt.h"
#include "../guests/video.h"

#define PAGE 4096ul
#define MEMORY_BYTES_MIN (64l << 20)
#define BIG_WIDTH 1280u
#define BIG_HEIGHT 720u

static struct video camera;

/* What the attempt before had may take the host a moment to give back: until then the camera is busy, as for any two programs. */
static void await_camera(void) {
  struct timespec begin, now;
  clock_gettime(CLOCK_MONOTONIC, &begin);
  for (;;) {
    int fd = open_video(0);
    int result = set_format(fd, 320, 180, V4L2_PIX_FMT_YUYV);
    close(fd);
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (result == 0 || errno != EBUSY || now.tv_sec - begin.tv_sec > 10) break;
    pause_ms(5);
  }
  long ms = (now.tv_sec - begin.tv_sec) * 1000 + (now.tv_nsec - begin.tv_nsec) / 1000000;
  if (ms > 100) say("waited %ld ms for the camera", ms);
}

/* Buffers large enough that whoever takes some next gets pages of them. */
static void open_big(void) {
  camera = (struct video){.fd = open_video(0), .count = BUFFERS};
  MUST(set_format(camera.fd, BIG_WIDTH, BIG_HEIGHT, V4L2_PIX_FMT_YUYV));
  camera.count = (unsigned)MUST(request_buffers(camera.fd, BUFFERS));
  for (unsigned i = 0; i < camera.count; i++) {
    struct v4l2_buffer buffer = buffer_named(i);
    MUST(ioctl(camera.fd, VIDIOC_QUERYBUF, &buffer));
    camera.buffer[i].length = buffer.length;
    camera.buffer[i].offset = buffer.m.offset;
    camera.buffer[i].bytes = (void *)MUST(mmap(NULL, buffer.length, PROT_READ | PROT_WRITE, MAP_SHARED, camera.fd, buffer.m.offset));
    memset(camera.buffer[i].bytes, 0x11, buffer.length);
  }
}

static void unmap_all(void) {
  for (unsigned i = 0; i < camera.count; i++) munmap(camera.buffer[i].bytes, camera.buffer[i].length);
}

#endif
