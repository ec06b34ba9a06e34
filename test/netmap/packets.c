/* A program of netmap's public ABI: the two ends of a pipe, synchronized by commands and by all forms of poll. */
#include <sys/epoll.h>
#include <sys/select.h>

#include "../guests/guest.h"
#include "netmap_abi.h"

#define PACKETS 500u
#define LENGTH_MIN 60u
#define LENGTHS 1400u

struct port {
  int fd;
  struct netmap_ring *tx, *rx;
};

static struct port port_at(int fd, uint64_t offset, uint64_t bytes) {
  uint8_t *region = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  MUST(region == MAP_FAILED ? -1 : 0);
  struct netmap_if *nifp = (struct netmap_if *)(void *)(region + offset);
  uint8_t *base = (uint8_t *)nifp;
  return (struct port){fd, (void *)(base + nifp->ring_ofs[0]), (void *)(base + nifp->ring_ofs[nifp->ni_tx_rings + nifp->ni_host_tx_rings])};
}

/* One end by the control interface, the other by the older one. */
static struct port open_master(void) {
  int fd = (int)MUST(open("/dev/netmap", O_RDWR | O_CLOEXEC));
  struct nmreq_register body = {.nr_mode = NR_REG_ALL_NIC};
  struct nmreq_header header = {NETMAP_API, NETMAP_REQ_REGISTER, 0, "pipe{0", 0, (uintptr_t)&body};
  MUST(ioctl(fd, NIOCCTRL, &header));
  return port_at(fd, body.nr_offset, body.nr_memsize);
}

static struct port open_slave(void) {
  int fd = (int)MUST(open("/dev/netmap", O_RDWR | O_CLOEXEC));
  struct nmreq request = {.nr_name = "pipe", .nr_version = NETMAP_API, .nr_flags = NR_REG_PIPE_SLAVE};
  MUST(ioctl(fd, NIOCREGIF, &request));
  return port_at(fd, request.nr_offset, request.nr_memsize);
}

static uint8_t *buffer_of(struct netmap_ring *ring, const struct netmap_slot *slot) {
  return (uint8_t *)ring + ring->buf_ofs + (size_t)slot->buf_idx * ring->nr_buf_size;
}

static bool is_empty(const volatile struct netmap_ring *ring) { return ring->head == ring->tail; }

static void advance(volatile struct netmap_ring *ring) {
  ring->cur = ring->head + 1 == ring->num_slots ? 0 : ring->head + 1;
  ring->head = ring->cur;
}

static void put(struct netmap_ring *ring, uint32_t number) {
  struct netmap_slot *slot = &ring->slot[ring->head];
  slot->len = (uint16_t)(LENGTH_MIN + number * 7 % LENGTHS);
  for (uint32_t i = 0; i < slot->len; i++) buffer_of(ring, slot)[i] = (uint8_t)(number * 31 + i);
  advance(ring);
}

static bool take(struct netmap_ring *ring, uint32_t number) {
  const struct netmap_slot *slot = &ring->slot[ring->head];
  bool same = slot->len == LENGTH_MIN + number * 7 % LENGTHS;
  for (uint32_t i = 0; same && i < slot->len; i++) same = buffer_of(ring, slot)[i] == (uint8_t)(number * 31 + i);
  advance(ring);
  return same;
}

static void by_commands(void) {
  struct port master = open_master(), slave = open_slave();
  for (uint32_t i = 0; i < 10; i++) put(master.tx, i);
  MUST(ioctl(slave.fd, NIOCRXSYNC));
  say("before TXSYNC: %s", is_empty(slave.rx) ? "nothing" : "packets");
  MUST(ioctl(master.fd, NIOCTXSYNC));
  say("before RXSYNC: %s", is_empty(slave.rx) ? "nothing" : "packets");
  MUST(ioctl(slave.fd, NIOCRXSYNC));
  uint32_t good = 0, count = 0;
  for (; !is_empty(slave.rx); count++) good += take(slave.rx, count);
  say("%u packets, %u as sent", count, good);
}

static void wait_by_poll(int fd, short events) {
  struct pollfd one = {.fd = fd, .events = events};
  MUST(poll(&one, 1, -1));
}

static void wait_by_select(int fd, short events) {
  fd_set set;
  FD_ZERO(&set);
  FD_SET(fd, &set);
  MUST(select(fd + 1, events & POLLIN ? &set : NULL, events & POLLOUT ? &set : NULL, NULL, NULL));
}

static void wait_by_epoll(int fd, short events) {
  static int set = -1;
  struct epoll_event event = {.events = (uint32_t)events};
  int known = set;
  if (known < 0) set = (int)MUST(epoll_create1(EPOLL_CLOEXEC));
  MUST(epoll_ctl(set, known < 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event));
  MUST(epoll_wait(set, &event, 1, -1));
}

typedef void waiter(int fd, short events);

static void send_all(waiter *wait_for) {
  struct port port = open_master();
  for (uint32_t i = 0; i < PACKETS; i++) {
    while (is_empty(port.tx)) wait_for(port.fd, POLLOUT);
    put(port.tx, i);
  }
  /* Until the kernel has taken all of them: every slot but one is the program's again. */
  while ((port.tx->tail + 1) % port.tx->num_slots != port.tx->head) {
    wait_for(port.fd, POLLOUT);
    pause_ms(1);
  }
}

/* No command synchronizes anything here. */
static void carry(waiter *wait_for) {
  struct port port = open_slave();
  pid_t sender = (pid_t)MUST(fork());
  if (sender == 0) {
    close(port.fd);
    send_all(wait_for);
    _exit(0);
  }
  uint32_t good = 0;
  for (uint32_t i = 0; i < PACKETS; i++) {
    while (is_empty(port.rx)) wait_for(port.fd, POLLIN);
    good += take(port.rx, i);
  }
  say("%u packets, %u as sent", PACKETS, good);
  /* Takes the last slots back, so that the sender sees room. */
  MUST(ioctl(port.fd, NIOCRXSYNC));
  say_end("the sender", sender);
}

static void by_poll(void) { carry(wait_by_poll); }
static void by_select(void) { carry(wait_by_select); }
static void by_epoll(void) { carry(wait_by_epoll); }

static void time_limits(void) {
  struct port port = open_slave();
  struct pollfd one = {.fd = port.fd, .events = POLLIN, .revents = -1};
  struct timeval limit = {0, 50000};
  fd_set set;
  FD_ZERO(&set);
  FD_SET(port.fd, &set);
  SAY("poll", poll(&one, 1, 50));
  say("revents: %#x", one.revents);
  SAY("poll that only looks", poll(&one, 1, 0));
  SAY("select", select(port.fd + 1, &set, NULL, NULL, &limit));
  say("in the set: %d", FD_ISSET(port.fd, &set) != 0);
  one.events = POLLIN | POLLOUT;
  SAY("poll for room", poll(&one, 1, -1));
  say("revents: %#x", one.revents);
}

static void on_alarm(int number) {
  (void)number;
  say("SIGALRM");
}

static void signals(void) {
  struct port port = open_slave();
  struct pollfd one = {.fd = port.fd, .events = POLLIN};
  struct itimerval soon = {.it_value.tv_usec = 50000};
  sigset_t alarms, none;
  sigemptyset(&none);
  sigemptyset(&alarms);
  sigaddset(&alarms, SIGALRM);
  install(SIGALRM, on_alarm, SA_RESTART);
  setitimer(ITIMER_REAL, &soon, NULL);
  SAY("poll", poll(&one, 1, -1));
  MUST(sigprocmask(SIG_BLOCK, &alarms, NULL));
  setitimer(ITIMER_REAL, &soon, NULL);
  SAY("ppoll with its own mask", ppoll(&one, 1, NULL, &none));
}

static void beside_another(void) {
  struct port port = open_slave();
  int ends[2];
  MUST(pipe(ends));
  pid_t writer = (pid_t)MUST(fork());
  if (writer == 0) {
    pause_ms(50);
    _exit(write(ends[1], "x", 1) == 1 ? 0 : 1);
  }
  struct pollfd both[] = {{.fd = port.fd, .events = POLLIN}, {.fd = ends[0], .events = POLLIN}, {.fd = -1, .events = POLLIN}};
  SAY("poll", poll(both, COUNT(both), -1));
  say("revents: %#x %#x %#x", both[0].revents, both[1].revents, both[2].revents);
  say_end("the writer", writer);
}

static void unbound(void) {
  struct pollfd one = {.fd = (int)MUST(open("/dev/netmap", O_RDWR | O_CLOEXEC)), .events = POLLIN};
  SAY("poll", poll(&one, 1, -1));
  say("revents: %#x", one.revents);
  SAY_OK("mmap", mmap(NULL, 4096, PROT_READ, MAP_SHARED, one.fd, 0));
}

/* What a program writes into its rings is checked by the driver. */
static void nonsense(void) {
  struct port master = open_master();
  master.tx->head = master.tx->cur = 12345;
  SAY("TXSYNC", ioctl(master.fd, NIOCTXSYNC));
  say("head %u, cur %u", master.tx->head, master.tx->cur);
}

int main(int argc, char **argv) {
  static const struct test_case cases[] = {
      {"by commands", by_commands},     {"by poll", by_poll},       {"by select", by_select},
      {"by epoll", by_epoll},           {"time limits", time_limits}, {"signals", signals},
      {"beside another file", beside_another}, {"unbound", unbound}, {"nonsense in a ring", nonsense},
  };
  return run_cases(cases, COUNT(cases), argc, argv);
}
