/* Arguments of a camera's calls that are wrong: the errno, and what is left of the argument, are the kernel's. */
#include "video.h"

#include <linux/media.h>
#include <sys/uio.h>

#define PAGE 4096ul
#define KERNEL_ADDRESS ((void *)0xffff888000000000ul)
#define NON_CANONICAL ((void *)0x0000800000000000ul)

static int fd;

static char *end_of_mapping(size_t bytes, int protection) {
  char *pages = (char *)MUST(mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  MUST(munmap(pages + PAGE, PAGE));
  MUST(mprotect(pages, PAGE, protection));
  return pages + PAGE - bytes;
}

static void pointers(void) {
  fd = open_video(0);
  SAY("QUERYCAP to NULL", ioctl(fd, VIDIOC_QUERYCAP, NULL));
  SAY("QUERYCAP to a kernel address", ioctl(fd, VIDIOC_QUERYCAP, KERNEL_ADDRESS));
  SAY("QUERYCAP to no address", ioctl(fd, VIDIOC_QUERYCAP, NON_CANONICAL));
  SAY("QUERYCAP to the end of the world", ioctl(fd, VIDIOC_QUERYCAP, (void *)-8l));
  SAY("QUERYCAP across the end", ioctl(fd, VIDIOC_QUERYCAP, end_of_mapping(50, PROT_READ | PROT_WRITE)));
  SAY("QUERYCAP up to the end", ioctl(fd, VIDIOC_QUERYCAP, end_of_mapping(sizeof(struct v4l2_capability), PROT_READ | PROT_WRITE)));
  SAY("QUERYCAP to read-only bytes", ioctl(fd, VIDIOC_QUERYCAP, end_of_mapping(200, PROT_READ)));
  SAY("S_FMT from NULL", ioctl(fd, VIDIOC_S_FMT, NULL));
  SAY("S_FMT across the end", ioctl(fd, VIDIOC_S_FMT, end_of_mapping(100, PROT_READ | PROT_WRITE)));
  struct v4l2_format *format = (void *)end_of_mapping(sizeof(struct v4l2_format), PROT_READ | PROT_WRITE);
  format->type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
  MUST(ioctl(fd, VIDIOC_G_FMT, format));
  MUST(mprotect((void *)((uintptr_t)format & ~(PAGE - 1)), PAGE, PROT_READ));
  SAY("S_FMT with read-only bytes", ioctl(fd, VIDIOC_S_FMT, format));
  int *input = (void *)end_of_mapping(sizeof(int), PROT_READ);
  SAY("G_INPUT to read-only bytes", ioctl(fd, VIDIOC_G_INPUT, input));
  SAY("STREAMON from read-only bytes", ioctl(fd, VIDIOC_STREAMON, input));
  SAY("STREAMON from NULL", ioctl(fd, VIDIOC_STREAMON, NULL));
  SAY("LOG_STATUS needs none", ioctl(fd, VIDIOC_LOG_STATUS, NULL));
}

static void commands(void) {
  static char scratch[8192];
  fd = open_video(0);
  SAY("0", ioctl(fd, 0, scratch));
  SAY("all ones", ioctl(fd, 0xffffffff, scratch));
  SAY("a terminal's", ioctl(fd, 0x5401, scratch));
  SAY("the same number with another size", ioctl(fd, _IOR('V', 0, char[105]), scratch));
  SAY("the same number in another direction", ioctl(fd, _IOW('V', 0, struct v4l2_capability), scratch));
  SAY("an unknown number", ioctl(fd, _IOWR('V', 250, int), scratch));
  SAY("a media device's", ioctl(fd, MEDIA_IOC_DEVICE_INFO, scratch));
  SAY("high bits are not looked at", syscall(SYS_ioctl, fd, 0xabcd00000000ul | VIDIOC_QUERYCAP, scratch));
}

static void values(void) {
  fd = open_video(0);
  struct v4l2_format format = {.type = 99};
  SAY("G_FMT of an unknown type", ioctl(fd, VIDIOC_G_FMT, &format));
  format.type = ~0u;
  SAY("G_FMT of type minus one", ioctl(fd, VIDIOC_G_FMT, &format));
  format.type = V4L2_BUF_TYPE_VIDEO_OUTPUT;
  SAY("G_FMT of the other queue", ioctl(fd, VIDIOC_G_FMT, &format));
  SAY("S_FMT of 0 x 0", set_format(fd, 0, 0, V4L2_PIX_FMT_YUYV));
  SAY("S_FMT of the largest", set_format(fd, ~0u, ~0u, 0xffffffff));
  struct v4l2_requestbuffers request = {.count = ~0u, .type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = 77};
  SAY("REQBUFS of unknown memory", ioctl(fd, VIDIOC_REQBUFS, &request));
  request = (struct v4l2_requestbuffers){.count = 2, .type = 77, .memory = V4L2_MEMORY_MMAP};
  SAY("REQBUFS of an unknown type", ioctl(fd, VIDIOC_REQBUFS, &request));
  MUST(set_format(fd, 320, 180, V4L2_PIX_FMT_YUYV));
  SAY("REQBUFS of the most", request_buffers(fd, ~0u));
  struct v4l2_buffer buffer = buffer_named(5000);
  SAY("QUERYBUF of an unknown index", ioctl(fd, VIDIOC_QUERYBUF, &buffer));
  SAY("QBUF of an unknown index", ioctl(fd, VIDIOC_QBUF, &buffer));
  buffer = buffer_named(0);
  buffer.memory = 55;
  SAY("QBUF of unknown memory", ioctl(fd, VIDIOC_QBUF, &buffer));
  buffer = buffer_named(0);
  buffer.m.userptr = (unsigned long)KERNEL_ADDRESS;
  buffer.memory = V4L2_MEMORY_USERPTR;
  SAY("QBUF of a kernel address", ioctl(fd, VIDIOC_QBUF, &buffer));
  SAY("QBUF", enqueue(fd, 0));
  SAY("QBUF once more", enqueue(fd, 0));
  int index = 4000;
  SAY("S_INPUT", ioctl(fd, VIDIOC_S_INPUT, &index));
  SAY("S_CTRL of an unknown id", set_control(fd, 0x12345678, 1));
  SAY("S_CTRL out of range", set_control(fd, V4L2_CID_BRIGHTNESS, 100000));
  struct v4l2_queryctrl query = {.id = V4L2_CTRL_FLAG_NEXT_CTRL};
  SAY("QUERYCTRL of the next", ioctl(fd, VIDIOC_QUERYCTRL, &query));
  say("%s", query.name);
  struct v4l2_fmtdesc description = {.index = 100000, .type = V4L2_BUF_TYPE_VIDEO_CAPTURE};
  SAY("ENUM_FMT", ioctl(fd, VIDIOC_ENUM_FMT, &description));
  uint32_t priority = 99;
  SAY("S_PRIORITY", ioctl(fd, VIDIOC_S_PRIORITY, &priority));
}

#define CONTROLS 3
static struct v4l2_ext_control list[CONTROLS];

static struct v4l2_ext_controls controls_of(void) {
  static const uint32_t ids[CONTROLS] = {V4L2_CID_BRIGHTNESS, V4L2_CID_CONTRAST, V4L2_CID_SATURATION};
  for (unsigned i = 0; i < CONTROLS; i++) list[i] = (struct v4l2_ext_control){.id = ids[i], .value = (int)(100 + i)};
  struct v4l2_ext_controls controls = {.which = V4L2_CTRL_WHICH_CUR_VAL, .count = CONTROLS, .controls = list};
  return controls;
}

static void say_controls(const char *label, unsigned long command, struct v4l2_ext_controls controls) {
  errno = 0;
  int result = ioctl(fd, command, &controls);
  say("%s: %s, error at %u, count %u", label, result_text(result), controls.error_idx, controls.count);
}

static void arrays(void) {
  fd = open_video(0);
  struct v4l2_ext_controls controls = controls_of();
  say_controls("G_EXT_CTRLS", VIDIOC_G_EXT_CTRLS, controls);
  say("pointer kept: %d", controls.controls == list);
  int values[CONTROLS] = {list[0].value, list[1].value, list[2].value};
  controls = controls_of();
  say_controls("S_EXT_CTRLS", VIDIOC_S_EXT_CTRLS, controls);
  for (int i = 0; i < CONTROLS; i++) list[i].value = values[i];
  say_controls("S_EXT_CTRLS back", VIDIOC_S_EXT_CTRLS, controls);
  controls = controls_of();
  controls.count = 0;
  controls.controls = NULL;
  say_controls("none", VIDIOC_S_EXT_CTRLS, controls);
  controls = controls_of();
  controls.controls = NULL;
  say_controls("at NULL", VIDIOC_S_EXT_CTRLS, controls);
  controls = controls_of();
  controls.controls = KERNEL_ADDRESS;
  say_controls("in the kernel", VIDIOC_S_EXT_CTRLS, controls);
  controls = controls_of();
  controls.controls = (void *)-16l;
  say_controls("wrapping around", VIDIOC_S_EXT_CTRLS, controls);
  controls = controls_of();
  controls.count = 1025;
  say_controls("too many", VIDIOC_S_EXT_CTRLS, controls);
  controls = controls_of();
  controls.count = ~0u;
  say_controls("the most", VIDIOC_S_EXT_CTRLS, controls);
  controls = controls_of(), controls.count = 0x0ccccccd; /* times 20 is 4 beyond 2^32 */
  say_controls("a count that overflows", VIDIOC_S_EXT_CTRLS, controls);
  controls = controls_of();
  controls.count = 1024;
  controls.controls = (void *)end_of_mapping(CONTROLS * sizeof list[0], PROT_READ | PROT_WRITE);
  say_controls("across the end", VIDIOC_S_EXT_CTRLS, controls);
  controls = controls_of();
  list[1].id = 0x12345678;
  say_controls("an unknown id, TRY", VIDIOC_TRY_EXT_CTRLS, controls);
  controls = controls_of();
  list[1].id = 0x12345678;
  say_controls("an unknown id, SET", VIDIOC_S_EXT_CTRLS, controls);
  controls = controls_of();
  controls.which = 0x00980000 | 5;
  say_controls("a class of its own", VIDIOC_G_EXT_CTRLS, controls);
  controls = controls_of();
  controls.which = V4L2_CTRL_WHICH_DEF_VAL;
  say_controls("defaults", VIDIOC_G_EXT_CTRLS, controls);
  say("default %d", list[0].value);
}

/* The id of vivid's string control. */
static uint32_t string_control(void) {
  struct v4l2_query_ext_ctrl query = {.id = V4L2_CTRL_FLAG_NEXT_CTRL};
  while (ioctl(fd, VIDIOC_QUERY_EXT_CTRL, &query) == 0) {
    if (query.type == V4L2_CTRL_TYPE_STRING) return query.id;
    query.id |= V4L2_CTRL_FLAG_NEXT_CTRL;
  }
  return 0;
}

static void say_payload(const char *label, unsigned long command, char *text, uint32_t size) {
  struct v4l2_ext_control one = {.id = string_control(), .size = size, .string = text};
  struct v4l2_ext_controls controls = {.count = 1, .controls = &one};
  errno = 0;
  int result = ioctl(fd, command, &controls);
  say("%s: %s, error at %u, size %u, pointer kept %d", label, result_text(result), controls.error_idx, one.size, one.string == text);
}

static void payloads(void) {
  char text[64] = "", original[64] = "";
  fd = open_video(0);
  say("a string control: %d", string_control() != 0);
  say_payload("get", VIDIOC_G_EXT_CTRLS, original, sizeof original);
  say("'%s'", original);
  say_payload("get into too little", VIDIOC_G_EXT_CTRLS, text, 1);
  say_payload("get to NULL", VIDIOC_G_EXT_CTRLS, NULL, 64);
  say_payload("get to a kernel address", VIDIOC_G_EXT_CTRLS, KERNEL_ADDRESS, 64);
  say_payload("get to read-only bytes", VIDIOC_G_EXT_CTRLS, end_of_mapping(64, PROT_READ), 64);
  say_payload("set", VIDIOC_S_EXT_CTRLS, original, (uint32_t)strlen(original) + 1);
  say_payload("set from NULL", VIDIOC_S_EXT_CTRLS, NULL, 8);
  say_payload("set across the end", VIDIOC_S_EXT_CTRLS, end_of_mapping(2, PROT_READ), 8);
  say_payload("set without its end", VIDIOC_S_EXT_CTRLS, memset(text, 'x', sizeof text), sizeof text);
}

/* The kernel takes such a size and uses a part of it; a guest may not lend that much. */
static void payloads_without_end(void) {
  char text[64] = "x";
  fd = open_video(0);
  say_payload("get with a size without end", VIDIOC_G_EXT_CTRLS, text, ~0u);
  say_payload("get with a size across the end", VIDIOC_G_EXT_CTRLS, end_of_mapping(64, PROT_READ | PROT_WRITE), 1u << 16);
  say_payload("set with a size without end", VIDIOC_S_EXT_CTRLS, text, ~0u);
  say_payload("set with a large size", VIDIOC_S_EXT_CTRLS, text, 1u << 20);
}

static void ways_to_open(void) {
  SAY("O_CREAT | O_EXCL", open(CAPTURE_NODE, O_RDWR | O_CREAT | O_EXCL, 0600));
  SAY("O_DIRECTORY", open(CAPTURE_NODE, O_RDWR | O_DIRECTORY));
  struct v4l2_capability capability;
  struct v4l2_control control = {.id = V4L2_CID_BRIGHTNESS};
  uint8_t byte;
  fd = (int)SAY_OK("O_PATH", open(CAPTURE_NODE, O_PATH));
  SAY("ioctl of it", ioctl(fd, VIDIOC_QUERYCAP, &capability));
  fd = (int)SAY_OK("O_RDONLY", open(CAPTURE_NODE, O_RDONLY));
  SAY("QUERYCAP", ioctl(fd, VIDIOC_QUERYCAP, &capability));
  SAY("S_CTRL", (MUST(ioctl(fd, VIDIOC_G_CTRL, &control)), ioctl(fd, VIDIOC_S_CTRL, &control)));
  SAY("write", write(fd, &byte, 1));
  fd = (int)SAY_OK("O_WRONLY", open(CAPTURE_NODE, O_WRONLY));
  SAY("QUERYCAP", ioctl(fd, VIDIOC_QUERYCAP, &capability));
  SAY("read", read(fd, &byte, 1));
  SAY("write", write(fd, &byte, 1));
}

static void reads(void) {
  static uint8_t frame[320 * 180 * 2];
  fd = open_video(0);
  MUST(set_format(fd, 320, 180, V4L2_PIX_FMT_YUYV));
  SAY("read of nothing", read(fd, frame, 0));
  SAY("read to a kernel address", RAW(read, fd, KERNEL_ADDRESS, 16));
  SAY("read of the longest", RAW(read, fd, frame, SIZE_MAX));
  struct iovec two[2] = {{frame, 100}, {frame + 100, sizeof frame - 100}};
  SAY("readv", readv(fd, two, 2));
  two[1].iov_len = SIZE_MAX;
  SAY("readv with a negative length", readv(fd, two, 2));
  SAY("lseek", lseek(fd, 0, SEEK_SET));
}

static const struct test_case cases[] = {
    {"pointers", pointers},
    {"commands", commands},
    {"values", values},
    {"arrays of controls", arrays},
    {"payloads of controls", payloads},
    {"payloads without end", payloads_without_end},
    {"ways to open it", ways_to_open},
    {"reads", reads},
};

int main(int argc, char **argv) { return run_cases(cases, COUNT(cases), argc, argv); }
