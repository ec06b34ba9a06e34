/* Frames and events of a camera, as poll, select and epoll tell of them. */
#include "video.h"

#include <sys/epoll.h>

static void say_poll(const char *label, int fd, short wanted, int timeout) {
  struct pollfd one = {fd, wanted, 0};
  int count = poll(&one, 1, timeout);
  unsigned events = (unsigned short)one.revents;
  say("%s: %d%s%s%s%s", label, count, events & POLLIN ? " IN" : "", events & POLLPRI ? " PRI" : "", events & POLLOUT ? " OUT" : "",
      events & POLLERR ? " ERR" : "");
}

/* Polling a camera for frames that does not stream: with buffers requested it is an error, without it starts reading. */
static void not_streaming(void) {
  struct video video = open_mapped(2);
  say_poll("buffers, not streaming", video.fd, POLLIN, 0);
  MUST(enqueue(video.fd, 0));
  say_poll("queued, not streaming", video.fd, POLLIN, 0);
  say_poll("queued, urgent only", video.fd, POLLPRI, 0);
  MUST(stream(video.fd, true));
  say_poll("streaming", video.fd, POLLIN, 5000);
  MUST(stream(video.fd, false));
  say_poll("stopped", video.fd, POLLIN, 0);
}

static void frame_by_frame(void) {
  struct video video = open_mapped(BUFFERS);
  start_stream(&video);
  struct v4l2_buffer buffer;
  int failed = 0;
  for (int i = 0; i < 10; i++) {
    struct pollfd one = {video.fd, POLLIN, 0};
    failed += poll(&one, 1, 5000) != 1 || (one.revents & POLLIN) == 0;
    MUST(fcntl(video.fd, F_SETFL, O_NONBLOCK));
    failed += dequeue(video.fd, &buffer) < 0;
    MUST(enqueue(video.fd, buffer.index));
  }
  say("polls or dequeues that failed: %d", failed);
  for (int taken = 0; taken < (int)BUFFERS;) {
    struct pollfd one = {video.fd, POLLIN, 0};
    if (poll(&one, 1, 5000) != 1) break;
    if (dequeue(video.fd, &buffer) >= 0) taken++;
  }
  say_poll("nothing queued", video.fd, POLLIN, 50);
  SAY("DQBUF", dequeue(video.fd, &buffer));
}

static void with_epoll(uint32_t mode) {
  struct video video = open_mapped(BUFFERS);
  MUST(fcntl(video.fd, F_SETFL, O_NONBLOCK));
  start_stream(&video);
  int epoll = (int)MUST(epoll_create1(0)), frames = 0, failed = 0;
  struct epoll_event event = {.events = EPOLLIN | mode};
  MUST(epoll_ctl(epoll, EPOLL_CTL_ADD, video.fd, &event));
  while (frames < 10 && failed == 0) {
    failed += epoll_wait(epoll, &event, 1, 5000) != 1;
    struct v4l2_buffer buffer;
    while (dequeue(video.fd, &buffer) >= 0) {
      frames++;
      MUST(enqueue(video.fd, buffer.index));
    }
    failed += errno != EAGAIN;
  }
  say("frames enough: %d, failed %d", frames >= 10, failed);
}
static void with_epoll_level(void) { with_epoll(0); }
static void with_epoll_edge(void) { with_epoll(EPOLLET); }

static void with_select(void) {
  struct video video = open_mapped(BUFFERS);
  start_stream(&video);
  for (int i = 0; i < 3; i++) {
    fd_set in;
    FD_ZERO(&in);
    FD_SET(video.fd, &in);
    struct timeval patience = {.tv_sec = 5};
    SAY("select", select(video.fd + 1, &in, NULL, NULL, &patience));
    struct v4l2_buffer buffer;
    MUST(dequeue(video.fd, &buffer));
    MUST(enqueue(video.fd, buffer.index));
  }
}

static void events(void) {
  int fd = open_video(O_NONBLOCK), other = open_video(0);
  struct v4l2_event_subscription subscription = {.type = V4L2_EVENT_CTRL, .id = V4L2_CID_BRIGHTNESS};
  struct v4l2_event event;
  struct v4l2_control control = {.id = V4L2_CID_BRIGHTNESS};
  MUST(ioctl(other, VIDIOC_G_CTRL, &control));
  int original = control.value;
  SAY("subscribe", ioctl(fd, VIDIOC_SUBSCRIBE_EVENT, &subscription));
  say_poll("no event", fd, POLLPRI, 0);
  SAY("DQEVENT", ioctl(fd, VIDIOC_DQEVENT, &event));
  for (int i = 0; i < 3; i++) {
    MUST(set_control(other, V4L2_CID_BRIGHTNESS, 100 + i));
    say_poll("an event", fd, POLLPRI, 5000);
    memset(&event, 0, sizeof event);
    SAY("DQEVENT", ioctl(fd, VIDIOC_DQEVENT, &event));
    say("type %u value %d pending %u", event.type, event.u.ctrl.value, event.pending);
    say_poll("taken", fd, POLLPRI, 0);
  }
  MUST(set_control(other, V4L2_CID_BRIGHTNESS, original));
  say_poll("one more", fd, POLLPRI, 5000);
  SAY("unsubscribe", ioctl(fd, VIDIOC_UNSUBSCRIBE_EVENT, &subscription));
  say_poll("unsubscribed", fd, POLLPRI, 0);
}

static struct video shared;
static void *set_later(void *unused) {
  (void)unused;
  pause_ms(50);
  MUST(set_control(shared.fd, V4L2_CID_CONTRAST, 77));
  return NULL;
}

/* Events and frames together: neither hides the other. */
static void events_while_streaming(void) {
  int watcher = open_video(0);
  struct v4l2_event_subscription subscription = {.type = V4L2_EVENT_CTRL, .id = V4L2_CID_CONTRAST};
  MUST(ioctl(watcher, VIDIOC_SUBSCRIBE_EVENT, &subscription));
  shared = open_mapped(BUFFERS);
  MUST(set_control(shared.fd, V4L2_CID_CONTRAST, 60));
  struct v4l2_event event;
  MUST(ioctl(watcher, VIDIOC_DQEVENT, &event));
  MUST(ioctl(shared.fd, VIDIOC_SUBSCRIBE_EVENT, &subscription));
  start_stream(&shared);
  pthread_t setter = start(set_later, NULL);
  /* A file is not told of what it did itself. */
  say_poll("the watcher's event", watcher, POLLPRI, 5000);
  say_poll("a frame", shared.fd, POLLIN, 5000);
  pthread_join(setter, NULL);
  SAY("blocking DQEVENT", ioctl(watcher, VIDIOC_DQEVENT, &event));
  say("value %d", event.u.ctrl.value);
  MUST(set_control(watcher, V4L2_CID_CONTRAST, 128));
  say_poll("the streamer's event", shared.fd, POLLPRI, 5000);
  struct pollfd both = {shared.fd, POLLIN | POLLPRI, 0};
  for (int i = 0; i < 100 && both.revents != (POLLIN | POLLPRI); i++, pause_ms(10)) poll(&both, 1, 0);
  say("both: %d", both.revents == (POLLIN | POLLPRI));
}

static void read_io(void) {
  static uint8_t frame[320 * 180 * 2];
  int fd = open_video(O_NONBLOCK);
  MUST(set_format(fd, 320, 180, V4L2_PIX_FMT_YUYV));
  SAY("read starts it", read(fd, frame, sizeof frame));
  for (int i = 0; i < 3; i++) {
    say_poll("a frame", fd, POLLIN, 5000);
    SAY("read", read(fd, frame, sizeof frame));
  }
  fd = open_video(0);
  SAY("read by another", read(fd, frame, sizeof frame));
}

static const struct test_case cases[] = {
    {"not streaming", not_streaming},
    {"frame by frame", frame_by_frame},
    {"epoll, level", with_epoll_level},
    {"epoll, edge", with_epoll_edge},
    {"select", with_select},
    {"events", events},
    {"events while streaming", events_while_streaming},
    {"read without waiting", read_io},
};

int main(int argc, char **argv) { return run_cases(cases, COUNT(cases), argc, argv); }
