/* Whether a terminal can be read or written, as poll, select, epoll and SIGIO tell it. */
#include "pty.h"

#include <sys/epoll.h>
#include <sys/select.h>

static int master, slave;

static const char *events_text(unsigned events) {
  static char text[64];
  snprintf(text, sizeof text, "%s%s%s%s%s", events & POLLIN ? " IN" : "", events & POLLPRI ? " PRI" : "", events & POLLOUT ? " OUT" : "",
           events & POLLERR ? " ERR" : "", events & POLLHUP ? " HUP" : "");
  return text;
}

static void say_poll(const char *label, int fd, short wanted, int timeout) {
  struct pollfd one = {fd, wanted, 0};
  int count = poll(&one, 1, timeout);
  say("%s: %d%s", label, count, events_text((unsigned short)one.revents));
}

#define ALL (POLLIN | POLLPRI | POLLOUT)

static void poll_tells(void) {
  open_pair(&master, &slave);
  say_poll("at first", slave, ALL, 0);
  put(master, "some");
  say_poll("wait for it", slave, POLLIN, 5000);
  say_poll("input", slave, ALL, 0);
  say_poll("input, of no interest", slave, POLLPRI, 0);
  char half[2];
  MUST(read(slave, half, 2));
  say_poll("half of it read", slave, ALL, 0);
  MUST(read(slave, half, 2));
  say_poll("all of it read", slave, ALL, 0);
  say_poll("nothing of interest", slave, POLLIN, 20);
  put(slave, "back");
  say_poll("master", master, POLLIN, 5000);
  say_read("master", master);
  say_poll("master, all read", master, ALL, 0);
  MUST(tcflush(slave, TCIOFLUSH));
  put(master, "flushed");
  say_poll("input", slave, POLLIN, 5000);
  SAY("tcflush", tcflush(slave, TCIFLUSH));
  say_poll("input flushed", slave, POLLIN, 0);
}

static void *put_later(void *unused) {
  (void)unused;
  pause_ms(30);
  put(master, "late");
  return NULL;
}

static void poll_wakes(void) {
  open_pair(&master, &slave);
  for (int i = 0; i < 3; i++) {
    pthread_t writer = start(put_later, NULL);
    say_poll("woken", slave, POLLIN, 10000);
    pthread_join(writer, NULL);
    say_read("slave", slave);
  }
}

static void select_tells(void) {
  open_pair(&master, &slave);
  for (int round = 0; round < 2; round++) {
    fd_set in, out, urgent;
    FD_ZERO(&in);
    FD_ZERO(&out);
    FD_ZERO(&urgent);
    FD_SET(slave, &in);
    FD_SET(slave, &out);
    FD_SET(slave, &urgent);
    struct timeval patience = {.tv_sec = 5};
    int count = select(slave + 1, &in, &out, &urgent, &patience);
    say("select: %d in %d out %d urgent %d", count, FD_ISSET(slave, &in) != 0, FD_ISSET(slave, &out) != 0, FD_ISSET(slave, &urgent) != 0);
    put(master, "input");
    say_poll("wait for it", slave, POLLIN, 5000);
  }
}

static void say_epoll(const char *label, int epoll, int timeout) {
  struct epoll_event event = {0};
  int count = epoll_wait(epoll, &event, 1, timeout);
  say("%s: %d%s", label, count, events_text(event.events));
}

static void epoll_level(void) {
  open_pair(&master, &slave);
  int epoll = (int)MUST(epoll_create1(0));
  struct epoll_event event = {.events = EPOLLIN};
  SAY("EPOLL_CTL_ADD", epoll_ctl(epoll, EPOLL_CTL_ADD, slave, &event));
  SAY("EPOLL_CTL_ADD once more", epoll_ctl(epoll, EPOLL_CTL_ADD, slave, &event));
  say_epoll("nothing", epoll, 0);
  put(master, "x");
  say_epoll("input", epoll, 5000);
  say_epoll("still", epoll, 0);
  say_read("slave", slave);
  say_epoll("read", epoll, 0);
  event.events = EPOLLIN | EPOLLOUT | EPOLLONESHOT;
  SAY("EPOLL_CTL_MOD", epoll_ctl(epoll, EPOLL_CTL_MOD, slave, &event));
  say_epoll("once", epoll, 0);
  say_epoll("once only", epoll, 0);
  SAY("EPOLL_CTL_DEL", epoll_ctl(epoll, EPOLL_CTL_DEL, slave, &event));
}

/* An edge for each arrival that follows a complete read; how many edges one state may give is the driver's own affair. */
static void epoll_edge(void) {
  open_pair(&master, &slave);
  MUST(fcntl(slave, F_SETFL, O_NONBLOCK));
  int epoll = (int)MUST(epoll_create1(0));
  struct epoll_event event = {.events = EPOLLIN | EPOLLET};
  MUST(epoll_ctl(epoll, EPOLL_CTL_ADD, slave, &event));
  for (int i = 0; i < 20; i++) {
    put(master, "edge");
    struct epoll_event got = {0};
    if (epoll_wait(epoll, &got, 1, 5000) != 1) say("no edge in round %d", i);
    char text[16];
    long total = 0, length;
    while ((length = read(slave, text, sizeof text)) > 0) total += length;
    if (total != 4 || errno != EAGAIN) say("read %ld, then %s", total, strerrorname_np(errno));
  }
  struct epoll_event got;
  int left = epoll_wait(epoll, &got, 1, 0);
  say("after 20 rounds: %d", left);
}

static void sigio_comes(void) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGRTMIN + 1);
  MUST(sigprocmask(SIG_BLOCK, &signals, NULL));
  open_pair(&master, &slave);
  SAY("F_SETOWN", fcntl(slave, F_SETOWN, getpid()));
  SAY("F_SETSIG", fcntl(slave, F_SETSIG, SIGRTMIN + 1));
  SAY("F_SETFL", fcntl(slave, F_SETFL, O_ASYNC | O_NONBLOCK));
  SAY("F_GETSIG", fcntl(slave, F_GETSIG) == SIGRTMIN + 1);
  for (int i = 0; i < 3; i++) {
    siginfo_t info;
    struct timespec patience = {.tv_sec = 5}, none = {0};
    while (sigtimedwait(&signals, &info, &none) > 0) {
    }
    put(master, "signal");
    int readable = 0;
    while (!readable && sigtimedwait(&signals, &info, &patience) > 0) readable = info.si_fd == slave && (info.si_band & POLLIN) != 0;
    say("signalled: %d", readable);
    say_read("slave", slave);
  }
}

/* A terminal that nobody reads fills up, and has room again when it is read. */
static void room(void) {
  static char block[4096];
  open_pair(&master, &slave);
  MUST(fcntl(slave, F_SETFL, O_NONBLOCK));
  say_poll("room", slave, POLLOUT, 0);
  /* The kernel moves what was written on behind the writer's back, until there is room nowhere. */
  for (int refused = 0; refused < 5; pause_ms(2)) refused = write(slave, block, sizeof block) > 0 ? 0 : refused + 1;
  SAY("full", write(slave, block, sizeof block));
  say_poll("no room", slave, POLLOUT, 0);
  MUST(fcntl(master, F_SETFL, O_NONBLOCK));
  for (int idle = 0; idle < 5;) {
    if (read(master, block, sizeof block) > 0) {
      idle = 0;
      continue;
    }
    idle++;
    pause_ms(5);
  }
  say_poll("room again", slave, POLLOUT, 5000);
}

/* A hang-up wakes; what it looks like is another matter: a guest sees input and an error, and reads what there is. */
static void say_woken(const char *label, int fd) {
  struct pollfd one = {fd, POLLIN, 0};
  int count = poll(&one, 1, 5000);
  say("%s: %d", label, count == 1 && (one.revents & (POLLIN | POLLERR | POLLHUP)) != 0);
}

static void hang_up(void) {
  char byte, name[32];
  int number;
  open_pair(&master, &slave);
  close(slave);
  say_woken("hung up", master);
  say_read("master", master);
  MUST(ioctl(master, TIOCGPTN, &number));
  snprintf(name, sizeof name, "/dev/pts/%d", number);
  slave = (int)MUST(open(name, O_RDWR | O_NOCTTY));
  MUST(fcntl(master, F_SETFL, O_NONBLOCK));
  SAY("opened again", read(master, &byte, 1));
  say_poll("no hang-up any more", master, POLLIN, 0);
  put(slave, "again");
  say_poll("input", master, POLLIN, 5000);
  say_read("master", master);
  close(master);
  say_woken("master closed", slave);
  say_read("slave", slave);
  SAY("write", write(slave, "x", 1));
}

static void packet_mode(void) {
  char bytes[8] = {0};
  int on = 1;
  open_pair(&master, &slave);
  SAY("TIOCPKT", ioctl(master, TIOCPKT, &on));
  say_poll("nothing", master, ALL, 0);
  MUST(tcflush(slave, TCIFLUSH));
  say_poll("a flush is urgent", master, POLLPRI, 5000);
  SAY("read", read(master, bytes, sizeof bytes));
  say("control byte: %d", bytes[0]);
  say_poll("read", master, POLLPRI, 0);
}

static const struct test_case cases[] = {
    {"poll", poll_tells},
    {"poll wakes", poll_wakes},
    {"select", select_tells},
    {"epoll, level", epoll_level},
    {"epoll, edge", epoll_edge},
    {"SIGIO", sigio_comes},
    {"room for output", room},
    {"hang-up", hang_up},
    {"packet mode", packet_mode},
};

int main(int argc, char **argv) { return run_cases(cases, COUNT(cases), argc, argv); }
