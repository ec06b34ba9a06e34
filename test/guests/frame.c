/* Takes the first frame of a camera into a mapped buffer and prints what it holds; then, for each line that it reads, the buffer's
 * first byte, and writes the last one. For tests of who sees which bytes. */
#include "video.h"

static uint64_t fnv1a(const uint8_t *bytes, size_t length) {
  uint64_t hash = 0xcbf29ce484222325ull;
  for (size_t i = 0; i < length; i++) hash = (hash ^ bytes[i]) * 0x100000001b3ull;
  return hash;
}

/* The id of the control of that name, 0 when there is none. */
static uint32_t control_named(int fd, const char *name) {
  struct v4l2_query_ext_ctrl query = {.id = V4L2_CTRL_FLAG_NEXT_CTRL};
  while (ioctl(fd, VIDIOC_QUERY_EXT_CTRL, &query) == 0) {
    if (strcmp(query.name, name) == 0) return query.id;
    query.id |= V4L2_CTRL_FLAG_NEXT_CTRL;
  }
  return 0;
}

int main(void) {
  struct video video = open_mapped(2);
  MUST(set_control(video.fd, control_named(video.fd, "OSD Text Mode"), 2));
  start_stream(&video);
  struct v4l2_buffer buffer;
  unsigned index = (unsigned)MUST(dequeue(video.fd, &buffer));
  MUST(stream(video.fd, false));
  uint8_t *bytes = video.buffer[index].bytes;
  say("%zu %u %016lx", video.buffer[index].length, buffer.bytesused, fnv1a(bytes, buffer.bytesused));
  say("mapped at %lx", (unsigned long)bytes);
  char line[8];
  while (fgets(line, sizeof line, stdin)) {
    bytes[video.buffer[index].length - 1] = 0xc3;
    say("first byte %02x", bytes[0]);
  }
  return 0;
}
