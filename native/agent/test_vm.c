/* Drives a driver VM's agent and its vivid camera through the VM's RAM file.
 * Usage: test-vm --list, or test-vm CASE ADDRESS with the RAM file, the doorbell and the page list as descriptors 3, 4 and 5. */
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "test_harness.h"

#define CAMERA 5u
#define BUFFERS 3u
/* Where things are in the arena. */
#define ARGUMENT_AT 0u
#define PAGES_AT 65536u

static struct host host;
static struct guest guest;

/* ioctl with the structure at `argument`, which the driver may change. */
static int64_t command(uint32_t number, void *argument, size_t bytes, uint32_t flags) {
  memcpy(guest.arena + ARGUMENT_AT, argument, bytes);
  struct postern_op op = {.kind = POSTERN_OP_IOCTL, .file = CAMERA, .command = number, .flags = flags,
                          .argument = guest_pointer(&guest, ARGUMENT_AT)};
  int64_t result = guest_do(&guest, op).result;
  memcpy(argument, guest.arena + ARGUMENT_AT, bytes);
  return result;
}
#define COMMAND(number, argument) command(number, argument, sizeof *(argument), 0)

static struct v4l2_buffer buffer_of(uint32_t index) {
  return (struct v4l2_buffer){.index = index, .type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_MMAP};
}

static void open_camera(void) { CHECK(guest_open(&guest, CAMERA, "video0", O_RDWR) == 0); }

static void request_buffers(uint32_t count) {
  struct v4l2_requestbuffers request = {.count = count, .type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_MMAP};
  CHECK(COMMAND(VIDIOC_REQBUFS, &request) == 0);
  CHECK(request.count >= count);
}

static void queue(uint32_t index) {
  struct v4l2_buffer buffer = buffer_of(index);
  CHECK(COMMAND(VIDIOC_QBUF, &buffer) == 0);
}

static void stream(bool on) {
  int type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
  CHECK(COMMAND(on ? VIDIOC_STREAMON : VIDIOC_STREAMOFF, &type) == 0);
}

static struct v4l2_buffer dequeue(void) {
  struct v4l2_buffer buffer = buffer_of(0);
  CHECK(command(VIDIOC_DQBUF, &buffer, sizeof buffer, POSTERN_OP_BLOCKING) == 0);
  return buffer;
}

static void the_camera_answers(void) {
  struct v4l2_capability capability = {0};
  open_camera();
  CHECK(COMMAND(VIDIOC_QUERYCAP, &capability) == 0);
  CHECK(strcmp((const char *)capability.driver, "vivid") == 0);
}

/* Maps a buffer; returns the number of its pages, whose addresses are in the arena then. */
static uint32_t map_buffer(uint32_t index) {
  struct v4l2_buffer buffer = buffer_of(index);
  CHECK(COMMAND(VIDIOC_QUERYBUF, &buffer) == 0);
  uint64_t length = (buffer.length + POSTERN_PAGE_BYTES - 1) / POSTERN_PAGE_BYTES * POSTERN_PAGE_BYTES;
  struct postern_op map = {.kind = POSTERN_OP_MMAP, .file = CAMERA, .command = PROT_READ | PROT_WRITE, .argument = index,
                           .offset = buffer.m.offset, .length = length, .head_offset = PAGES_AT};
  CHECK(guest_do(&guest, map).result == (int64_t)(length / POSTERN_PAGE_BYTES));
  return (uint32_t)(length / POSTERN_PAGE_BYTES);
}

static void read_page(uint32_t index, uint8_t bytes[POSTERN_PAGE_BYTES]) {
  uint64_t address;
  memcpy(&address, guest.arena + PAGES_AT + index * sizeof address, sizeof address);
  CHECK(pread(host.memory, bytes, POSTERN_PAGE_BYTES, (off_t)address) == POSTERN_PAGE_BYTES);
}

static void the_host_sees_the_frames(void) {
  uint8_t before[POSTERN_PAGE_BYTES], after[POSTERN_PAGE_BYTES];
  open_camera();
  request_buffers(BUFFERS);
  uint32_t pages = map_buffer(0);
  read_page(pages / 2, before);
  for (uint32_t i = 0; i < BUFFERS; i++) queue(i);
  stream(true);
  while (dequeue().index != 0) continue;
  read_page(pages / 2, after);
  CHECK(memcmp(before, after, sizeof before) != 0, "the frame's middle has not changed");
  stream(false);
  CHECK(guest_do(&guest, (struct postern_op){.kind = POSTERN_OP_MUNMAP, .argument = 0}).result == 0);
  request_buffers(0);
}

static void a_mapping_keeps_its_buffer(void) {
  open_camera();
  request_buffers(1);
  map_buffer(0);
  CHECK(guest_do(&guest, (struct postern_op){.kind = POSTERN_OP_MMAP, .file = CAMERA, .length = 4096, .head_offset = PAGES_AT})
            .result == -EBUSY, "mapping number 0 was given twice");
  CHECK(guest_do(&guest, (struct postern_op){.kind = POSTERN_OP_MUNMAP, .argument = 0}).result == 0);
  CHECK(guest_do(&guest, (struct postern_op){.kind = POSTERN_OP_MUNMAP, .argument = 0}).result == -EINVAL);
}

static void a_waiting_dequeue_is_cancelled(void) {
  open_camera();
  request_buffers(2);
  queue(0);
  queue(1);
  stream(true);
  dequeue();
  dequeue();
  struct v4l2_buffer buffer = buffer_of(0);
  memcpy(guest.arena + ARGUMENT_AT, &buffer, sizeof buffer);
  for (int round = 0; round < 20; round++) {
    struct postern_op wait = {.kind = POSTERN_OP_IOCTL, .file = CAMERA, .command = VIDIOC_DQBUF, .flags = POSTERN_OP_BLOCKING,
                              .argument = guest_pointer(&guest, ARGUMENT_AT)};
    uint64_t sleeper = guest_submit(&guest, wait);
    if (round % 2) CHECK(!guest_has_news(&guest, 30), "a dequeue without buffers came back");
    CHECK(guest_do(&guest, (struct postern_op){.kind = POSTERN_OP_CANCEL, .argument = sleeper}).result == 0);
    CHECK(guest_await(&guest, sleeper).result == -EINTR);
  }
}

static void a_frame_is_told(void) {
  open_camera();
  request_buffers(2);
  queue(0);
  stream(true);
  struct postern_op watch = {.kind = POSTERN_OP_WATCH, .file = CAMERA, .command = POLLIN};
  uint32_t ready = guest_do(&guest, watch).ready;
  for (int round = 0; round < 10; round++) {
    if (ready != POLLIN) ready = guest_await_ready(&guest).ready;
    CHECK(ready == POLLIN, "readiness %x", ready);
    struct v4l2_buffer buffer = buffer_of(0);
    memcpy(guest.arena + ARGUMENT_AT, &buffer, sizeof buffer);
    struct postern_op take = {.kind = POSTERN_OP_IOCTL, .file = CAMERA, .command = VIDIOC_DQBUF, .flags = POSTERN_OP_NONBLOCK,
                              .argument = guest_pointer(&guest, ARGUMENT_AT)};
    struct postern_completion taken = guest_do(&guest, take);
    CHECK(taken.result == 0 && taken.ready == 0, "result %ld, ready %x", (long)taken.result, taken.ready);
    queue(0);
    ready = 0;
  }
}

static double microseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

/* Not a test of speed, which depends on the machine: of many operations in a row, and of a sleep before each. The times are
 * for people. */
static void operations_follow_each_other(void) {
  enum { COUNT = 10000, PAUSES = 50 };
  struct v4l2_capability capability = {0};
  open_camera();
  double start = microseconds();
  for (int i = 0; i < COUNT; i++) CHECK(COMMAND(VIDIOC_QUERYCAP, &capability) == 0);
  printf("%.1f us an ioctl in a row\n", (microseconds() - start) / COUNT);
  start = microseconds();
  for (int i = 0; i < COUNT; i++) guest_do(&guest, (struct postern_op){.kind = POSTERN_OP_CANCEL});
  printf("%.1f us an empty operation in a row\n", (microseconds() - start) / COUNT);
  double busy = 0;
  for (int i = 0; i < PAUSES; i++) {
    usleep(3000);
    start = microseconds();
    CHECK(COMMAND(VIDIOC_QUERYCAP, &capability) == 0);
    busy += microseconds() - start;
  }
  printf("%.1f us an ioctl after a pause\n", busy / PAUSES);
}

static const struct test_case {
  const char *name;
  void (*run)(void);
} cases[] = {
#define CASE(name) {#name, name}
    CASE(the_camera_answers),
    CASE(the_host_sees_the_frames),
    CASE(a_mapping_keeps_its_buffer),
    CASE(a_waiting_dequeue_is_cancelled),
    CASE(a_frame_is_told),
    CASE(operations_follow_each_other),
};
#define CASE_COUNT (sizeof cases / sizeof *cases)

static int run(const char *name, const char *address) {
  for (size_t i = 0; i < CASE_COUNT; i++) {
    if (strcmp(cases[i].name, name) != 0) continue;
    host_adopt(&host, 3, 4, 5, strtoull(address, NULL, 0));
    guest_start(&guest, &host, 0);
    cases[i].run();
    guest_stop(&guest);
    return EXIT_SUCCESS;
  }
  fprintf(stderr, "no case %s\n", name);
  return EXIT_FAILURE;
}

int main(int count, char **arguments) {
  if (count == 3) return run(arguments[1], arguments[2]);
  for (size_t i = 0; i < CASE_COUNT; i++) puts(cases[i].name);
  return EXIT_SUCCESS;
}
