/* vivid for a guest program: buffers, streaming, controls. */
#ifndef POSTERN_TEST_VIDEO_H
#define POSTERN_TEST_VIDEO_H

#include "guest.h"

#include <linux/videodev2.h>

#define CAPTURE_NODE "/dev/video0"
#define BUFFERS 4u

struct video {
  int fd;
  unsigned count;
  struct {
    void *bytes;
    size_t length;
    uint32_t offset;
  } buffer[BUFFERS];
};

static inline int open_video(int flags) { return (int)MUST(open(CAPTURE_NODE, O_RDWR | flags)); }

static inline struct v4l2_buffer buffer_named(unsigned index) {
  struct v4l2_buffer buffer = {.index = index, .type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_MMAP};
  return buffer;
}

static inline int request_buffers(int fd, unsigned count) {
  struct v4l2_requestbuffers request = {.count = count, .type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_MMAP};
  int result = ioctl(fd, VIDIOC_REQBUFS, &request);
  return result < 0 ? result : (int)request.count;
}

static inline int set_format(int fd, unsigned width, unsigned height, uint32_t pixels) {
  struct v4l2_format format = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE};
  format.fmt.pix.width = width;
  format.fmt.pix.height = height;
  format.fmt.pix.pixelformat = pixels;
  format.fmt.pix.field = V4L2_FIELD_NONE;
  return ioctl(fd, VIDIOC_S_FMT, &format);
}

static inline int stream(int fd, bool on) {
  int type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
  return ioctl(fd, on ? VIDIOC_STREAMON : VIDIOC_STREAMOFF, &type);
}

static inline int enqueue(int fd, unsigned index) {
  struct v4l2_buffer buffer = buffer_named(index);
  return ioctl(fd, VIDIOC_QBUF, &buffer);
}

/* The dequeued buffer's index, or -1. */
static inline int dequeue(int fd, struct v4l2_buffer *buffer) {
  *buffer = buffer_named(0);
  return ioctl(fd, VIDIOC_DQBUF, buffer) < 0 ? -1 : (int)buffer->index;
}

/* A device with mapped buffers, none of them queued. */
static inline struct video open_mapped(unsigned count) {
  struct video video = {.fd = open_video(0), .count = count};
  MUST(set_format(video.fd, 320, 180, V4L2_PIX_FMT_YUYV));
  MUST(request_buffers(video.fd, count));
  for (unsigned i = 0; i < count; i++) {
    struct v4l2_buffer buffer = buffer_named(i);
    MUST(ioctl(video.fd, VIDIOC_QUERYBUF, &buffer));
    video.buffer[i].length = buffer.length;
    video.buffer[i].offset = buffer.m.offset;
    video.buffer[i].bytes = (void *)MUST(mmap(NULL, buffer.length, PROT_READ | PROT_WRITE, MAP_SHARED, video.fd, buffer.m.offset));
  }
  return video;
}

static inline void start_stream(const struct video *video) {
  for (unsigned i = 0; i < video->count; i++) MUST(enqueue(video->fd, i));
  MUST(stream(video->fd, true));
}

static inline int set_control(int fd, uint32_t id, int32_t value) {
  struct v4l2_control control = {.id = id, .value = value};
  return ioctl(fd, VIDIOC_S_CTRL, &control);
}

#endif
