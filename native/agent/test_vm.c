/* Drives a driver VM's agent and its vivid camera through the VM's RAM file.
 * Usage: test-vm --list, or test-vm CASE ADDRESS with the RAM file, the doorbell and the page list as descriptors 3, 4 and 5. */
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/videodev2.h>
#include <poll.h>
#include <stddef.h>
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

#define TAKEN 7u
#define FENCE 12u
#define DESCRIPTORS_AT 4096u

/* ioctl with the structure at `argument`, in which one number is a descriptor; `entry` is what the agent says of it. */
static int64_t pass(struct guest *of, uint32_t file, uint32_t number, void *argument, size_t bytes, struct postern_descriptor *entry) {
  memcpy(of->arena + ARGUMENT_AT, argument, bytes);
  memcpy(of->arena + DESCRIPTORS_AT, entry, sizeof *entry);
  struct postern_op op = {.kind = POSTERN_OP_IOCTL, .file = file, .command = number, .argument = guest_pointer(of, ARGUMENT_AT),
                          .descriptors_offset = DESCRIPTORS_AT, .descriptors = 1};
  int64_t result = guest_do(of, op).result;
  memcpy(argument, of->arena + ARGUMENT_AT, bytes);
  memcpy(entry, of->arena + DESCRIPTORS_AT, sizeof *entry);
  return result;
}

static int64_t seek_end(struct guest *of, uint32_t file) {
  return guest_do(of, (struct postern_op){.kind = POSTERN_OP_SEEK, .file = file, .command = SEEK_END}).result;
}

/* Exports the camera's first buffer, as file `file`, which is said to be of that kind. */
static int64_t take(uint32_t file, uint32_t kind, struct postern_descriptor *entry) {
  struct v4l2_exportbuffer export = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .flags = O_RDWR | O_CLOEXEC};
  *entry = (struct postern_descriptor){.place = ARGUMENT_AT + offsetof(struct v4l2_exportbuffer, fd), .width = 4, .kind = kind,
                                       .flow = POSTERN_TAKE, .file = file};
  int64_t result = pass(&guest, CAMERA, VIDIOC_EXPBUF, &export, sizeof export, entry);
  CHECK(result != 0 || export.fd == -1, "the driver's number has been left in the argument");
  return result;
}

static void a_descriptor_is_taken(void) {
  struct postern_descriptor entry;
  open_camera();
  request_buffers(1);
  CHECK(take(TAKEN, POSTERN_KIND_DMA_BUF, &entry) == 0);
  CHECK(entry.result == 0 && entry.bytes > 0 && (entry.open_flags & O_ACCMODE) == O_RDWR);
  CHECK(seek_end(&guest, TAKEN) == (int64_t)entry.bytes);
  CHECK(take(TAKEN, POSTERN_KIND_DMA_BUF, &entry) == -EBUSY, "a file that is in use is taken over");
  CHECK(take(POSTERN_FILES_MAX, POSTERN_KIND_DMA_BUF, &entry) == -EINVAL);
  CHECK(take(TAKEN + 1, POSTERN_KIND_SYNC_FILE, &entry) == 0);
  CHECK(entry.result == -EBADF && seek_end(&guest, TAKEN + 1) == -EBADF, "a buffer is taken for a fence");
  CHECK(take(TAKEN + 1, POSTERN_KIND_DMA_BUF, &entry) == 0 && entry.result == 0, "what was kept for nothing is not given back");
  CHECK(guest_do(&guest, (struct postern_op){.kind = POSTERN_OP_RELEASE, .file = TAKEN}).result == 0);
  CHECK(seek_end(&guest, TAKEN) == -EBADF);
}

/* Numbers that no driver has made: the agent's own files stay its own. */
static void only_descriptors_are_taken(void) {
  open_camera();
  for (uint32_t number = 0; number < 64; number++) {
    struct v4l2_capability capability = {0};
    struct v4l2_control control = {.id = V4L2_CID_BRIGHTNESS, .value = (int)number};
    CHECK(COMMAND(VIDIOC_S_CTRL, &control) == 0);
    struct postern_descriptor entry = {.place = ARGUMENT_AT + offsetof(struct v4l2_control, value), .width = 4, .flow = POSTERN_TAKE, .file = TAKEN};
    CHECK(pass(&guest, CAMERA, VIDIOC_G_CTRL, &control, sizeof control, &entry) == 0);
    CHECK(entry.result == -EBADF, "the agent's descriptor %u is taken", number);
    CHECK(COMMAND(VIDIOC_QUERYCAP, &capability) == 0);
  }
}

/* Has a buffer take a fence. */
static int64_t give_fence(struct postern_descriptor *entry) {
  struct dma_buf_import_sync_file import = {.flags = DMA_BUF_SYNC_WRITE};
  entry->place = ARGUMENT_AT + offsetof(struct dma_buf_import_sync_file, fd);
  entry->width = 4;
  entry->flow = POSTERN_LEND;
  return pass(&guest, TAKEN, DMA_BUF_IOCTL_IMPORT_SYNC_FILE, &import, sizeof import, entry);
}

static void a_descriptor_is_lent(void) {
  struct postern_descriptor entry, none = {.file = POSTERN_FILE_NONE}, strange = {.file = POSTERN_FILE_STRANGE};
  open_camera();
  request_buffers(1);
  CHECK(take(TAKEN, POSTERN_KIND_DMA_BUF, &entry) == 0 && entry.result == 0);
  struct dma_buf_export_sync_file export = {.flags = DMA_BUF_SYNC_WRITE};
  struct postern_descriptor fence = {.place = ARGUMENT_AT + offsetof(struct dma_buf_export_sync_file, fd), .width = 4,
                                     .kind = POSTERN_KIND_SYNC_FILE, .flow = POSTERN_TAKE, .file = FENCE};
  CHECK(pass(&guest, TAKEN, DMA_BUF_IOCTL_EXPORT_SYNC_FILE, &export, sizeof export, &fence) == 0 && fence.result == 0);
  struct postern_descriptor own = {.file = FENCE}, buffer = {.file = TAKEN};
  CHECK(give_fence(&own) == 0 && own.result == (int)(POSTERN_TAKEN_FIRST + FENCE));
  CHECK(give_fence(&buffer) == -EINVAL && buffer.result == (int)(POSTERN_TAKEN_FIRST + TAKEN));
  CHECK(give_fence(&none) == -EINVAL && none.result > 1 << 20);
  CHECK(give_fence(&strange) == -EINVAL && strange.result >= 0 && strange.result < (int)POSTERN_TAKEN_FIRST);
  struct postern_descriptor wide = {.place = POSTERN_ARENA_BYTES - 4, .width = 8, .flow = POSTERN_LEND, .file = TAKEN};
  CHECK(pass(&guest, TAKEN, DMA_BUF_IOCTL_SYNC, &export, sizeof export, &wide) == -EINVAL, "a number across the arena's end");
}

/* Shows the other process's driver a descriptor, whatever it makes of it. Returns whether it could be shown. */
static bool show(struct guest *of, struct postern_descriptor *entry) {
  struct v4l2_control control = {.id = V4L2_CID_BRIGHTNESS};
  entry->place = ARGUMENT_AT + sizeof control;
  entry->width = 4;
  entry->flow = POSTERN_LEND;
  int64_t result = pass(of, CAMERA, VIDIOC_G_CTRL, &control, sizeof control, entry);
  CHECK(result == 0 || result == -ENODEV);
  return result == 0;
}

static void another_process_is_lent_a_descriptor(void) {
  static struct guest other;
  struct postern_descriptor entry, theirs = {.file = 9, .source = TAKEN}, again = theirs, late = {.file = 11, .source = TAKEN};
  struct postern_descriptor nothing = {.file = 10, .source = TAKEN + 9}, nobody = {.file = 10, .channel = POSTERN_CHANNELS_MAX, .source = TAKEN};
  open_camera();
  request_buffers(1);
  CHECK(take(TAKEN, POSTERN_KIND_DMA_BUF, &entry) == 0 && entry.result == 0);
  guest_start(&other, &host, 1);
  CHECK(guest_open(&other, CAMERA, "video0", O_RDWR) == 0);
  CHECK(!show(&other, &nothing), "a file that the other process does not have");
  CHECK(!show(&other, &nobody), "a channel that there is not");
  CHECK(show(&other, &theirs) && theirs.result == (int)POSTERN_TAKEN_FIRST + 9);
  CHECK(seek_end(&other, 9) == (int64_t)entry.bytes);
  /* It is there as long as it is not released, whatever becomes of the first process. */
  guest_stop(&guest);
  CHECK(seek_end(&other, 9) == (int64_t)entry.bytes);
  CHECK(show(&other, &again) && again.result == (int)POSTERN_TAKEN_FIRST + 9);
  CHECK(!show(&other, &late), "a process that has gone");
  CHECK(guest_do(&other, (struct postern_op){.kind = POSTERN_OP_RELEASE, .file = 9}).result == 0);
  CHECK(!show(&other, &again), "a process that has gone, once more");
  guest_stop(&other);
  guest_start(&guest, &host, 0);
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
    CASE(a_descriptor_is_taken),
    CASE(only_descriptors_are_taken),
    CASE(a_descriptor_is_lent),
    CASE(another_process_is_lent_a_descriptor),
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
