#include "watch.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>

#include "completions.h"
#include "threads.h"

/* All poll events have 16 bits (asm-generic/poll.h); above are epoll's own flags. */
#define POLL_EVENTS_MASK 0xffffu
/* Files taken from epoll in one call; more than a few are never ready at once. */
#define EVENTS_AT_ONCE 16

uint32_t watch_ask(struct file *file) {
  file->posted = 0;
  if (file->watched == 0) return 0;
  struct pollfd question = {.fd = file->descriptor, .events = (short)file->watched};
  int answers;
  do {
    answers = poll(&question, 1, 0);
  } while (answers < 0 && errno == EINTR);
  if (answers > 0) file->posted = (uint16_t)question.revents & (file->watched | POLLERR | POLLHUP);
  return file->posted;
}

static void tell_rise(struct backend *backend, uint32_t number) {
  struct file *file = &backend->files[number];
  pthread_mutex_lock(&file->lock);
  if (file->state == FILE_OPEN && file->watched != 0) {
    uint32_t before = file->posted;
    uint32_t now = watch_ask(file);
    struct postern_completion completion = {.kind = POSTERN_COMPLETION_READY, .file = number, .ready = now};
    if (now != before) completions_post(backend, &completion);
  }
  pthread_mutex_unlock(&file->lock);
}

static void *watch_thread(void *argument) {
  struct backend *backend = argument;
  for (;;) {
    struct epoll_event events[EVENTS_AT_ONCE];
    int count = epoll_wait(backend->epoll, events, EVENTS_AT_ONCE, -1);
    for (int i = 0; i < count; i++) tell_rise(backend, events[i].data.u32);
  }
  return NULL;
}

/* Only the main loop watches, so there is no race for the first watch. */
static int start(struct backend *backend) {
  if (backend->epoll >= 0) return 0;
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  if (epoll < 0) return -errno;
  backend->epoll = epoll;
  return threads_start_helper(watch_thread, backend);
}

int64_t watch_set(struct backend *backend, struct file *file, uint32_t events) {
  if (events & ~POLL_EVENTS_MASK) return -EINVAL;
  int result = start(backend);
  if (result != 0) return result;
  pthread_mutex_lock(&file->lock);
  watch_clear(backend, file);
  /* A file that has begun to close must not come back into the epoll set: its number may be another file's soon. */
  if (file->state != FILE_OPEN) result = -EBADF;
  if (result == 0 && events != 0) {
    struct epoll_event event = {.events = events | EPOLLET, .data.u32 = (uint32_t)(file - backend->files)};
    result = epoll_ctl(backend->epoll, EPOLL_CTL_ADD, file->descriptor, &event) == 0 ? 0 : -errno;
    /* EPERM: a driver without a poll operation. Its readiness never changes: what poll(2) says now holds. */
    if (result == -EPERM) result = 0;
    if (result == 0) file->watched = events;
    /* Noted now, so that the event that every new watch begins with is no news; the completion asks once more. */
    watch_ask(file);
  }
  pthread_mutex_unlock(&file->lock);
  return result;
}

void watch_clear(struct backend *backend, struct file *file) {
  if (file->watched != 0) epoll_ctl(backend->epoll, EPOLL_CTL_DEL, file->descriptor, NULL);
  file->watched = file->posted = 0;
}
