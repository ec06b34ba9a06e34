/* Driver pages in a guest: what may be mapped, how, and when it ends. */
#include "video.h"

#include <linux/kcmp.h>
#include <sys/uio.h>

#define PAGE 4096u

static void allowed_ways(void) {
  struct video video = open_mapped(2);
  size_t length = video.buffer[0].length;
  uint32_t offset = video.buffer[0].offset;
  void *readable = (void *)SAY_OK("PROT_READ", mmap(NULL, length, PROT_READ, MAP_SHARED, video.fd, offset));
  SAY_OK("a second time", mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, video.fd, offset));
  memset(video.buffer[0].bytes, 0xa5, length);
  say("both show the same bytes: %d", memcmp(readable, video.buffer[0].bytes, length) == 0);
  SAY("munmap", munmap(readable, length));
}

static void refused_ways(void) {
  struct video video = open_mapped(2);
  size_t length = video.buffer[0].length;
  uint32_t offset = video.buffer[0].offset;
  int fd = video.fd;
  SAY_OK("no length", mmap(NULL, 0, PROT_READ, MAP_SHARED, fd, offset));
  SAY_OK("unaligned offset", mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, offset + 1));
  SAY_OK("too long", mmap(NULL, length + 64 * PAGE, PROT_READ, MAP_SHARED, fd, offset));
  SAY_OK("longest", mmap(NULL, SIZE_MAX, PROT_READ, MAP_SHARED, fd, offset));
  SAY_OK("foreign offset", mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0x7ffff000));
  SAY_OK("inside a buffer", mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, offset + PAGE));
  SAY_OK("negative offset", mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, -(off_t)PAGE));
  SAY_OK("writing only", mmap(NULL, length, PROT_WRITE, MAP_SHARED, fd, offset));
  SAY_OK("neither shared nor private", mmap(NULL, length, PROT_READ, 0, fd, offset));
  SAY_OK("private", mmap(NULL, length, PROT_READ, MAP_PRIVATE, fd, offset));
  close(fd);
  SAY_OK("closed", mmap(NULL, length, PROT_READ, MAP_SHARED, fd, offset));
}

static void read_only_file(void) {
  int fd = (int)MUST(open(CAPTURE_NODE, O_RDONLY));
  MUST(set_format(fd, 320, 180, V4L2_PIX_FMT_YUYV));
  MUST(request_buffers(fd, 2));
  struct v4l2_buffer buffer = buffer_named(0);
  MUST(ioctl(fd, VIDIOC_QUERYBUF, &buffer));
  SAY_OK("writable", mmap(NULL, buffer.length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, buffer.m.offset));
  void *readable = (void *)SAY_OK("readable", mmap(NULL, buffer.length, PROT_READ, MAP_SHARED, fd, buffer.m.offset));
  SAY("mprotect for writing", mprotect(readable, PAGE, PROT_READ | PROT_WRITE));
  SAY("mprotect to nothing", mprotect(readable, PAGE, PROT_NONE));
  SAY("mprotect back", mprotect(readable, PAGE, PROT_READ));
}

/* Whether QUERYBUF says that the buffer is mapped. */
static int is_mapped(int fd, unsigned index) {
  struct v4l2_buffer buffer = buffer_named(index);
  MUST(ioctl(fd, VIDIOC_QUERYBUF, &buffer));
  return (buffer.flags & V4L2_BUF_FLAG_MAPPED) != 0;
}

/* Waits for what the host learns of only by looking. */
static void await_mapped(int fd, unsigned index, int wanted) {
  for (unsigned i = 0; i < 200 && is_mapped(fd, index) != wanted; i++) pause_ms(10);
  say("buffer %u is mapped: %d", index, is_mapped(fd, index));
}

static void munmap_frees_it(void) {
  struct video video = open_mapped(2);
  await_mapped(video.fd, 0, 1);
  MUST(munmap(video.buffer[0].bytes, video.buffer[0].length));
  await_mapped(video.fd, 0, 0);
  await_mapped(video.fd, 1, 1);
  MUST(munmap(video.buffer[1].bytes, video.buffer[1].length));
  await_mapped(video.fd, 1, 0);
  SAY("REQBUFS of none", request_buffers(video.fd, 0));
  SAY("REQBUFS", request_buffers(video.fd, 3));
}

static void half_unmapped_stays(void) {
  struct video video = open_mapped(1);
  size_t half = video.buffer[0].length / 2 / PAGE * PAGE;
  MUST(munmap(video.buffer[0].bytes, half));
  pause_ms(50);
  await_mapped(video.fd, 0, 1);
  uint8_t *rest = (uint8_t *)video.buffer[0].bytes + half;
  rest[0] = 7;
  say("the rest can be used: %d", rest[0]);
  MUST(munmap(rest, video.buffer[0].length - half));
  await_mapped(video.fd, 0, 0);
}

static void another_mapping_over_it(void) {
  struct video video = open_mapped(1);
  MUST(mmap(video.buffer[0].bytes, video.buffer[0].length, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
  int zeroes = ((uint8_t *)video.buffer[0].bytes)[100];
  say("ordinary memory: %d", zeroes);
  SAY("REQBUFS of none", request_buffers(video.fd, 0));
}

/* The pages of requested-away buffers live on until they are unmapped. */
static void orphaned_pages_live(void) {
  struct video video = open_mapped(1);
  memset(video.buffer[0].bytes, 0x5a, video.buffer[0].length);
  SAY("REQBUFS of none", request_buffers(video.fd, 0));
  close(video.fd);
  uint8_t *bytes = video.buffer[0].bytes;
  size_t wrong = 0;
  for (size_t i = 0; i < video.buffer[0].length; i++) wrong += bytes[i] != 0x5a;
  say("bytes lost after the close: %zu", wrong);
  SAY("munmap", munmap(bytes, video.buffer[0].length));
}

static void fork_keeps_it(void) {
  struct video video = open_mapped(1);
  pid_t child = (pid_t)MUST(fork());
  if (child == 0) {
    memset(video.buffer[0].bytes, 0x33, 16);
    _exit(0);
  }
  say_end("child", child);
  say("the child's byte: %x", ((uint8_t *)video.buffer[0].bytes)[15]);
  await_mapped(video.fd, 0, 1);
  child = (pid_t)MUST(fork());
  if (child == 0) {
    pause_ms(200);
    _exit(((uint8_t *)video.buffer[0].bytes)[15]);
  }
  MUST(munmap(video.buffer[0].bytes, video.buffer[0].length));
  pause_ms(50);
  say("the child's mapping counts: %d", is_mapped(video.fd, 0));
  say_end("child", child);
  await_mapped(video.fd, 0, 0);
}

static void exec_frees_it(void) {
  struct video video = open_mapped(1);
  pid_t child = (pid_t)MUST(fork());
  if (child == 0) {
    execl("/bin/sleep", "sleep", "0.3", NULL);
    _exit(1);
  }
  MUST(munmap(video.buffer[0].bytes, video.buffer[0].length));
  await_mapped(video.fd, 0, 0);
  say_end("child", child);
}

static atomic_int stop_busy, busy_now;
static void *busy(void *argument) {
  volatile uint64_t *count = argument;
  atomic_fetch_add(&busy_now, 1);
  while (!atomic_load(&stop_busy)) (*count)++;
  return NULL;
}

static void *busy_in_calls(void *argument) {
  volatile uint64_t *count = argument;
  atomic_fetch_add(&busy_now, 1);
  while (!atomic_load(&stop_busy)) {
    struct timespec little = {.tv_nsec = 1000};
    nanosleep(&little, NULL);
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) close(fd);
    (*count)++;
  }
  return NULL;
}

/* Mapping stops the process's threads for a moment: nothing of what they do may be disturbed. */
static void busy_threads(void) {
  static uint64_t counts[4];
  pthread_t threads[4];
  for (int i = 0; i < 4; i++) threads[i] = start(i < 2 ? busy : busy_in_calls, &counts[i]);
  await(&busy_now, 4);
  int fd = open_video(0);
  MUST(set_format(fd, 320, 180, V4L2_PIX_FMT_YUYV));
  MUST(request_buffers(fd, 4));
  int mapped = 0, wrong = 0;
  for (unsigned round = 0; round < 25; round++) {
    struct v4l2_buffer buffer = buffer_named(round % 4);
    MUST(ioctl(fd, VIDIOC_QUERYBUF, &buffer));
    uint8_t *bytes = mmap(NULL, buffer.length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, buffer.m.offset);
    if (bytes == MAP_FAILED) {
      say("mmap %u: %s", round, strerrorname_np(errno));
      continue;
    }
    mapped++;
    bytes[0] = (uint8_t)round;
    bytes[buffer.length - 1] = (uint8_t)~round;
    wrong += bytes[0] != (uint8_t)round || bytes[buffer.length - 1] != (uint8_t)~round;
    MUST(munmap(bytes, buffer.length));
  }
  atomic_store(&stop_busy, 1);
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  say("mapped %d times, wrong %d", mapped, wrong);
  say("threads that did nothing: %d", (counts[0] == 0) + (counts[1] == 0) + (counts[2] == 0) + (counts[3] == 0));
}

static struct video shared_video;
static atomic_int maps_done;
static void *map_often(void *argument) {
  unsigned index = (unsigned)(uintptr_t)argument;
  for (int i = 0; i < 10; i++) {
    void *bytes = mmap(NULL, shared_video.buffer[index].length, PROT_READ, MAP_SHARED, shared_video.fd, shared_video.buffer[index].offset);
    if (bytes == MAP_FAILED) say("mmap: %s", strerrorname_np(errno));
    else if (munmap(bytes, shared_video.buffer[index].length) == 0) atomic_fetch_add(&maps_done, 1);
  }
  return NULL;
}

static void several_threads_map(void) {
  shared_video = open_mapped(4);
  pthread_t threads[4];
  for (uintptr_t i = 0; i < 4; i++) threads[i] = start(map_often, (void *)i);
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  say("mapped %d times", atomic_load(&maps_done));
}

static atomic_int timer_ran;
static void on_timer(int number) {
  (void)number;
  atomic_fetch_add(&timer_ran, 1);
}

/* Signals that come while the thread maps are handled, and none is lost. */
static void signals_while_mapping(void) {
  struct video video = open_mapped(1);
  install(SIGALRM, on_timer, SA_RESTART);
  struct itimerval timer = {.it_interval = {.tv_usec = 300}, .it_value = {.tv_usec = 300}};
  MUST(setitimer(ITIMER_REAL, &timer, NULL));
  int mapped = 0;
  for (int i = 0; i < 40; i++) {
    void *bytes = mmap(NULL, video.buffer[0].length, PROT_READ, MAP_SHARED, video.fd, video.buffer[0].offset);
    if (bytes == MAP_FAILED) say("mmap: %s", strerrorname_np(errno));
    else if (munmap(bytes, video.buffer[0].length) == 0) mapped++;
  }
  struct itimerval off = {0};
  MUST(setitimer(ITIMER_REAL, &off, NULL));
  int before = atomic_load(&timer_ran);
  raise(SIGALRM);
  say("mapped %d times; the timer ran: %d; a raised signal is handled: %d", mapped, before > 0, atomic_load(&timer_ran) > before);
}

static void beyond_the_end(void) {
  struct video video = open_mapped(1);
  pid_t child = (pid_t)MUST(fork());
  if (child == 0) {
    size_t whole = (video.buffer[0].length + PAGE - 1) / PAGE * PAGE;
    volatile uint8_t *bytes = video.buffer[0].bytes;
    bytes[whole - 1] = 1;
    say("the last byte can be written");
    bytes[whole] = 1;
    _exit(0);
  }
  say_end("one further", child);
}

static const struct test_case cases[] = {
    {"what is allowed", allowed_ways},
    {"what is refused", refused_ways},
    {"a read-only file", read_only_file},
    {"munmap frees it", munmap_frees_it},
    {"what is half unmapped stays", half_unmapped_stays},
    {"another mapping over it", another_mapping_over_it},
    {"pages of buffers that are gone live on", orphaned_pages_live},
    {"fork keeps it", fork_keeps_it},
    {"exec frees it", exec_frees_it},
    {"busy threads", busy_threads},
    {"several threads map", several_threads_map},
    {"signals while mapping", signals_while_mapping},
    {"beyond the end", beyond_the_end},
};

int main(int argc, char **argv) { return run_cases(cases, COUNT(cases), argc, argv); }
