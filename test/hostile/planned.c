/* A guest whose policy module is on its side: the module answers with the image that lies behind the argument. What then changes of the
 * guest's memory, that nobody wrote but the host, is printed, one line an image read from standard input:
 *   RESULT START-END ...   offsets in the watched memory */
#include "../guests/video.h"

/* test/hostile/modules.test.ts has the same. */
#define WATCHED_AT ((uint8_t *)0x20000000)
#define WATCHED_BYTES (32u * 4096u)
#define HEAD_BYTES sizeof(struct v4l2_ext_controls)
#define IMAGE_BYTES 2048u
#define UNTOUCHED 0x33

static uint8_t expected[WATCHED_BYTES];

static void print_changes(const char *result) {
  char line[500];
  int length = snprintf(line, sizeof line, "%s", result);
  for (size_t at = 0; at < WATCHED_BYTES && length < 400; at++) {
    if (WATCHED_AT[at] == expected[at]) continue;
    size_t end = at;
    while (end < WATCHED_BYTES && WATCHED_AT[end] != expected[end]) end++;
    length += snprintf(line + length, sizeof line - (size_t)length, " %zu-%zu", at, end);
    at = end;
  }
  say("%s", line);
}

static bool read_image(uint8_t *to) {
  size_t have = 0;
  while (have < IMAGE_BYTES) {
    ssize_t got = read(STDIN_FILENO, to + have, IMAGE_BYTES - have);
    if (got <= 0) return false;
    have += (size_t)got;
  }
  return true;
}

int main(void) {
  int fd = (int)MUST(open(CAPTURE_NODE, O_RDWR));
  MUST(mmap(WATCHED_AT, WATCHED_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0));
  uint8_t *image = WATCHED_AT + HEAD_BYTES;
  for (;;) {
    memset(WATCHED_AT, UNTOUCHED, WATCHED_BYTES);
    memset(WATCHED_AT, 0, HEAD_BYTES);
    if (!read_image(image)) break;
    memcpy(expected, WATCHED_AT, WATCHED_BYTES);
    errno = 0;
    const long result = ioctl(fd, VIDIOC_G_EXT_CTRLS, WATCHED_AT);
    char text[32];
    const char *name = result == 0 ? "0" : strerrorname_np(errno);
    if (name == NULL) snprintf(text, sizeof text, "errno-%d", errno), name = text;
    print_changes(name);
  }
  say("end");
  return 0;
}
