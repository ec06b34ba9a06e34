/* Frames that are waited for: what ends the wait, and what it does not hold up. */
#include "video.h"

static struct video video;
static atomic_int handled, waiter_tid, ended;

static void on_signal(int number) {
  (void)number;
  atomic_fetch_add(&handled, 1);
}

static void *wait_for_frame(void *unused) {
  (void)unused;
  struct v4l2_buffer buffer;
  atomic_store(&waiter_tid, (int)gettid());
  int index = dequeue(video.fd, &buffer);
  atomic_store(&ended, 1);
  return (void *)(index < 0 ? strerrorname_np(errno) : "a frame");
}

static void say_waiter(pthread_t waiter) {
  void *end;
  pthread_join(waiter, &end);
  say("waiter: %s", (const char *)end);
}

static pthread_t start_waiter(void) {
  pthread_t thread = start(wait_for_frame, NULL);
  while (atomic_load(&waiter_tid) == 0) pause_ms(1);
  await_asleep(atomic_load(&waiter_tid));
  return thread;
}

/* Streaming with nothing queued: no frame can come. */
static void stream_without_buffers(void) {
  video = open_mapped(2);
  MUST(stream(video.fd, true));
}

static void frames_come(void) {
  video = open_mapped(BUFFERS);
  start_stream(&video);
  unsigned wrong = 0, last = 0;
  for (unsigned i = 0; i < 10; i++) {
    struct v4l2_buffer buffer;
    MUST(dequeue(video.fd, &buffer));
    wrong += buffer.bytesused != video.buffer[buffer.index].length || (i > 0 && buffer.sequence <= last);
    last = buffer.sequence;
    MUST(enqueue(video.fd, buffer.index));
  }
  say("frames with a wrong size or order: %u", wrong);
  SAY("STREAMOFF", stream(video.fd, false));
}

static void streamoff_ends_it(void) {
  stream_without_buffers();
  pthread_t waiter = start_waiter();
  SAY("STREAMOFF", stream(video.fd, false));
  say_waiter(waiter);
}

static void others_go_on(void) {
  stream_without_buffers();
  pthread_t waiter = start_waiter();
  struct v4l2_capability capability;
  int done = 0;
  for (int i = 0; i < 100; i++) done += ioctl(video.fd, VIDIOC_QUERYCAP, &capability) == 0;
  say("ioctls beside it: %d, ended: %d", done, atomic_load(&ended));
  MUST(enqueue(video.fd, 0));
  say_waiter(waiter);
}

static void signal_ends_it(void) {
  stream_without_buffers();
  install(SIGUSR1, on_signal, 0);
  pthread_t waiter = start_waiter();
  pthread_kill(waiter, SIGUSR1);
  say_waiter(waiter);
  say("handler ran %d times", atomic_load(&handled));
}

static void signal_restarts_it(void) {
  stream_without_buffers();
  install(SIGUSR1, on_signal, SA_RESTART);
  pthread_t waiter = start_waiter();
  pthread_kill(waiter, SIGUSR1);
  await(&handled, 1);
  MUST(enqueue(video.fd, 1));
  say_waiter(waiter);
}

static void sigkill_ends_the_process(void) {
  pid_t child = (pid_t)MUST(fork());
  if (child == 0) {
    stream_without_buffers();
    struct v4l2_buffer buffer;
    dequeue(video.fd, &buffer);
    _exit(1);
  }
  pause_ms(100);
  kill(child, SIGKILL);
  say_end("child", child);
  int fd = open_video(0);
  SAY("REQBUFS by another", request_buffers(fd, 2));
}

static void nonblocking(void) {
  struct v4l2_buffer buffer;
  video = open_mapped(2);
  MUST(fcntl(video.fd, F_SETFL, O_NONBLOCK));
  SAY("DQBUF, not streaming", dequeue(video.fd, &buffer));
  MUST(stream(video.fd, true));
  SAY("DQBUF, nothing queued", dequeue(video.fd, &buffer));
  MUST(enqueue(video.fd, 1));
  SAY("DQBUF, nothing done yet", dequeue(video.fd, &buffer));
  MUST(fcntl(video.fd, F_SETFL, 0));
  SAY("DQBUF, blocking again", dequeue(video.fd, &buffer));
}

static void second_owner(void) {
  video = open_mapped(2);
  int other = open_video(0);
  SAY("REQBUFS of another", request_buffers(other, 2));
  SAY("STREAMON of another", stream(other, true));
  SAY("QBUF of another", enqueue(other, 0));
  for (unsigned i = 0; i < video.count; i++) MUST(munmap(video.buffer[i].bytes, video.buffer[i].length));
  close(video.fd);
  SAY("REQBUFS after the release", request_buffers(other, 2));
}

/* The owner's file is the last copy's, wherever it was made. */
static void last_copy_releases(void) {
  int fd = open_video(0), other = open_video(0), copy = (int)MUST(dup(fd));
  MUST(request_buffers(fd, 2));
  close(fd);
  SAY("a copy is left", request_buffers(other, 2));
  pid_t child = (pid_t)MUST(fork());
  if (child == 0) {
    pause_ms(50);
    SAY("in the child", request_buffers(copy, 3));
    _exit(0);
  }
  close(copy);
  SAY("the child's is left", request_buffers(other, 2));
  say_end("child", child);
  SAY("none is left", request_buffers(other, 2));
}

static void read_and_select(void) {
  static uint8_t frame[320 * 180 * 2];
  int fd = open_video(0);
  MUST(set_format(fd, 320, 180, V4L2_PIX_FMT_YUYV));
  SAY("read", read(fd, frame, sizeof frame));
  for (int i = 0; i < 3; i++) {
    fd_set readable;
    FD_ZERO(&readable);
    FD_SET(fd, &readable);
    struct timeval patience = {.tv_sec = 10};
    SAY("select", select(fd + 1, &readable, NULL, NULL, &patience));
    SAY("read", read(fd, frame, sizeof frame));
  }
  SAY("REQBUFS while reading", request_buffers(fd, 2));
  SAY("STREAMON while reading", stream(fd, true));
  MUST(fcntl(fd, F_SETFL, O_NONBLOCK));
  long got = read(fd, frame, sizeof frame);
  while (got > 0) got = read(fd, frame, sizeof frame);
  SAY("read without waiting", got);
}

static const struct test_case cases[] = {
    {"frames come", frames_come},
    {"STREAMOFF of another thread ends DQBUF", streamoff_ends_it},
    {"other threads go on", others_go_on},
    {"a handled signal ends DQBUF with EINTR", signal_ends_it},
    {"a handled signal with SA_RESTART restarts DQBUF", signal_restarts_it},
    {"SIGKILL ends the process, and the driver releases its buffers", sigkill_ends_the_process},
    {"O_NONBLOCK", nonblocking},
    {"a second owner", second_owner},
    {"the last copy releases", last_copy_releases},
    {"read and select", read_and_select},
};

int main(int argc, char **argv) { return run_cases(cases, COUNT(cases), argc, argv); }
