/* Two guests of one device: one that times its own calls, and one that floods.
 *
 * fairness measure DEVICE: says `ready`. For each line `alone CALLS PAUSE_US` or `flooded CALLS PAUSE_US` it makes so many calls, and answers what
 * all calls under each of the two words took so far: `WORD-median NS WORD-p99 NS WORD-longest NS`.
 * fairness flood DEVICE: says `ready`. From a line `go` to a line `stop` its threads storm; it answers each line by how many calls they have made since
 * the line before. */
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "timing.h"

enum { CALLS_MAX = 1 << 20, STORMS = 4, OPENS = 2, BUFFERS = 2 };

static bool is_video;
static const char *device;

static int open_device(void) {
  int fd = open(device, O_RDWR | O_NOCTTY);
  if (fd < 0) {
    perror(device);
    exit(1);
  }
  return fd;
}

/* A command that the driver answers at once. */
static int call(int fd) {
  struct v4l2_capability capability;
  return is_video ? ioctl(fd, VIDIOC_QUERYCAP, &capability) : ioctl(fd, TIOCNXCL);
}

struct pool {
  const char *word;
  double samples[CALLS_MAX];
  size_t count;
};
static struct pool pools[] = {{.word = "alone"}, {.word = "flooded"}};

static void report(struct pool *pool) {
  if (pool->count == 0) return;
  qsort(pool->samples, pool->count, sizeof *pool->samples, timing_compare);
  printf("%s-median %.0f %s-p99 %.0f %s-longest %.0f ", pool->word, pool->samples[pool->count / 2], pool->word,
         pool->samples[pool->count * 99 / 100], pool->word, pool->samples[pool->count - 1]);
}

static int measure(void) {
  const int fd = open_device();
  char word[16];
  unsigned calls, pause_us;
  printf("ready\n");
  fflush(stdout);
  while (scanf("%15s %u %u", word, &calls, &pause_us) == 3) {
    struct pool *pool = &pools[strcmp(word, pools[1].word) == 0];
    for (unsigned i = 0; i < calls && pool->count < CALLS_MAX; i++) {
      if (pause_us > 0) usleep(pause_us);
      const double began = timing_now();
      if (call(fd) != 0) return 1;
      pool->samples[pool->count++] = timing_now() - began;
    }
    for (size_t i = 0; i < 2; i++) report(&pools[i]);
    printf("\n");
    fflush(stdout);
  }
  return 0;
}

static atomic_bool going;
static atomic_ulong done;

static void wait_to_go(void) {
  while (!going) usleep(1000);
}

static void *storm(void *unused) {
  const int fd = open_device();
  for (;;) {
    wait_to_go();
    (void)call(fd);
    done++;
  }
  return unused;
}

static void *open_and_close(void *unused) {
  for (;;) {
    wait_to_go();
    const int fd = open(device, O_RDWR | O_NOCTTY);
    if (fd >= 0) close(fd);
    done += 2;
  }
  return unused;
}

/* A camera's buffers, mapped and unmapped, while another thread waits for frames that come too seldom. */
static int streaming = -1;
static struct v4l2_buffer buffers[BUFFERS];

static void *map_and_unmap(void *unused) {
  for (unsigned i = 0;; i++) {
    wait_to_go();
    const struct v4l2_buffer *buffer = &buffers[i % BUFFERS];
    void *at = mmap(NULL, buffer->length, PROT_READ | PROT_WRITE, MAP_SHARED, streaming, buffer->m.offset);
    if (at != MAP_FAILED) munmap(at, buffer->length);
    done += 2;
  }
  return unused;
}

static void *dequeue(void *unused) {
  for (;;) {
    wait_to_go();
    struct v4l2_buffer buffer = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_MMAP};
    if (ioctl(streaming, VIDIOC_DQBUF, &buffer) == 0) (void)ioctl(streaming, VIDIOC_QBUF, &buffer);
    done += 2;
  }
  return unused;
}

/* A terminal to which nobody writes. */
static void *wait_for_input(void *unused) {
  const int fd = open_device();
  char byte;
  for (;;) {
    wait_to_go();
    (void)!read(fd, &byte, 1);
    done++;
  }
  return unused;
}

static void start(void *(*entry)(void *)) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, entry, NULL) != 0) exit(1);
}

static void start_streaming(void) {
  int type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
  struct v4l2_requestbuffers request = {.count = BUFFERS, .type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_MMAP};
  struct v4l2_format format = {.type = V4L2_BUF_TYPE_VIDEO_CAPTURE};
  format.fmt.pix.width = 320;
  format.fmt.pix.height = 180;
  format.fmt.pix.pixelformat = V4L2_PIX_FMT_YUYV;
  streaming = open_device();
  if (ioctl(streaming, VIDIOC_S_FMT, &format) != 0 || ioctl(streaming, VIDIOC_REQBUFS, &request) != 0) exit(1);
  for (unsigned i = 0; i < BUFFERS; i++) {
    buffers[i] = (struct v4l2_buffer){.index = i, .type = V4L2_BUF_TYPE_VIDEO_CAPTURE, .memory = V4L2_MEMORY_MMAP};
    if (ioctl(streaming, VIDIOC_QUERYBUF, &buffers[i]) != 0 || ioctl(streaming, VIDIOC_QBUF, &buffers[i]) != 0) exit(1);
  }
  if (ioctl(streaming, VIDIOC_STREAMON, &type) != 0) exit(1);
}

static int flood(void) {
  if (is_video) start_streaming();
  for (int i = 0; i < STORMS; i++) start(storm);
  for (int i = 0; i < OPENS; i++) start(open_and_close);
  if (is_video) start(map_and_unmap);
  start(is_video ? dequeue : wait_for_input);
  char word[16];
  printf("ready\n");
  fflush(stdout);
  while (scanf("%15s", word) == 1) {
    going = strcmp(word, "go") == 0;
    printf("%lu\n", atomic_exchange(&done, 0));
    fflush(stdout);
  }
  /* What its threads wait for ends with it. */
  _exit(0);
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  device = argv[2];
  is_video = strstr(device, "video") != NULL;
  return strcmp(argv[1], "flood") == 0 ? flood() : measure();
}
