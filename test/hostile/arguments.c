/* Addresses and lengths of the guest's choice, and more of everything than it may have. What must not happen: bytes that were not granted
 * move, or somebody else notices. */
#include "attempt.h"

#include <linux/userfaultfd.h>

#define PAGE 4096ul
#define KERNEL 0xffffffff81000000ul
#define NON_CANONICAL 0x800000000000ul
#define WRAPPING (~0ul - 7)

static int master, slave;

static void *pages(size_t count, int protection) {
  return (void *)MUST(mmap(NULL, count * PAGE, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

/* ---- Addresses. */

static void judge_addresses(const char *what, long (*call)(unsigned long address)) {
  static const unsigned long addresses[] = {0, 8, 0x10000, KERNEL, 0xffff888000000000ul, 0xffffffffff600000ul, NON_CANONICAL, WRAPPING, ~0ul};
  open_pair(&master, &slave);
  MUST(fcntl(master, F_SETFL, O_NONBLOCK));
  for (size_t i = 0; i < COUNT(addresses); i++) {
    errno = 0;
    long result = call(addresses[i]);
    if (result >= 0) SUCCEEDED("%s at %#lx gave %ld", what, addresses[i], result);
    if (errno != EFAULT) SUCCEEDED("%s at %#lx: %s, expected EFAULT", what, addresses[i], strerrorname_np(errno));
  }
  /* Nothing of it has reached the driver. */
  char byte;
  if (read(master, &byte, 1) != -1) SUCCEEDED("the driver got a byte %#x", byte);
  STOPPED("%s at 9 addresses that are not the guest's: EFAULT, and the driver got nothing", what);
}
static long ask_at(unsigned long address) { return RAW(ioctl, slave, TIOCGWINSZ, address); }
static long set_from(unsigned long address) { return RAW(ioctl, slave, TIOCSWINSZ, address); }
static long write_from(unsigned long address) { return RAW(write, slave, address, 64ul); }
static long vector_at(unsigned long address) { return RAW(writev, slave, address, 2ul); }
static long vector_of(unsigned long address) {
  struct iovec vector = {(void *)address, 64};
  return RAW(writev, slave, &vector, 1ul);
}
static void answers_anywhere(void) { judge_addresses("an answer", ask_at); }
static void arguments_from_anywhere(void) { judge_addresses("an argument", set_from); }
static void writes_from_anywhere(void) { judge_addresses("a write", write_from); }
static void vectors_anywhere(void) { judge_addresses("a list of buffers", vector_at); }
static void buffers_anywhere(void) { judge_addresses("a buffer of a list", vector_of); }

static void reads_to_anywhere(void) {
  static const unsigned long addresses[] = {0x10000, KERNEL, NON_CANONICAL, WRAPPING};
  char text[8] = {0};
  open_pair(&master, &slave);
  for (size_t i = 0; i < COUNT(addresses); i++) {
    put(master, "secret");
    errno = 0;
    long result = RAW(read, slave, addresses[i], 6ul);
    if (result >= 0) SUCCEEDED("a read to %#lx gave %ld", addresses[i], result);
    MUST(tcflush(slave, TCIOFLUSH));
  }
  put(master, "after");
  if (read(slave, text, sizeof text) != 5 || strcmp(text, "after") != 0) SUCCEEDED("the driver is out of step: '%s'", text);
  STOPPED("reads to 4 addresses that are not the guest's: %s", strerrorname_np(EFAULT));
}

static void answer_into_read_only(void) {
  char *page = pages(1, PROT_READ);
  open_pair(&master, &slave);
  errno = 0;
  long result = ioctl(slave, TIOCGWINSZ, page);
  if (result == 0 || page[0] != 0) SUCCEEDED("a page that may only be read was written");
  STOPPED("an answer into a read-only page: %s", strerrorname_np(errno));
}

/* An answer of which the last bytes have no place. */
static void answer_across_an_end(void) {
  char *two = pages(2, PROT_READ | PROT_WRITE);
  MUST(munmap(two + PAGE, PAGE));
  open_pair(&master, &slave);
  errno = 0;
  long result = ioctl(slave, TIOCGWINSZ, two + PAGE - 4);
  if (result == 0) SUCCEEDED("8 bytes were written where there are 4");
  STOPPED("an answer across the end of what is mapped: %s", strerrorname_np(errno));
}

/* Every byte beside what was granted stays as it was. */
static void beside_the_grant(void) {
  unsigned char *page = pages(1, PROT_READ | PROT_WRITE);
  unsigned wrong = 0;
  open_pair(&master, &slave);
  for (size_t at = 0; at + sizeof(struct winsize) <= 512; at += 7) {
    memset(page, 0xa5, PAGE);
    MUST(ioctl(slave, TIOCGWINSZ, page + at));
    for (size_t i = 0; i < PAGE; i++) wrong += (i < at || i >= at + sizeof(struct winsize)) && page[i] != 0xa5;
    memset(page, 0xa5, PAGE);
    put(master, "four");
    MUST(read(slave, page + at, 64));
    for (size_t i = 0; i < PAGE; i++) wrong += (i < at || i >= at + 4) && page[i] != 0xa5;
  }
  if (wrong > 0) SUCCEEDED("%u bytes beside the grant changed", wrong);
  STOPPED("no byte beside 144 answers changed");
}

/* ---- Lengths. */

static void judge_lengths(const char *what, long (*call)(size_t bytes)) {
  static const size_t lengths[] = {0x7ffff000, 0x7fffffff, 0x80000000, 0xfffffff8, 0xffffffff, 1ul << 32, (1ul << 32) + 4, 1ul << 47, ~0ul >> 1, ~0ul - 4, ~0ul};
  open_pair(&master, &slave);
  MUST(fcntl(slave, F_SETFL, O_NONBLOCK));
  for (size_t i = 0; i < COUNT(lengths); i++) {
    errno = 0;
    long result = call(lengths[i]);
    if (result > 65536) SUCCEEDED("%s of %#zx bytes gave %ld", what, lengths[i], result);
    MUST(tcflush(slave, TCIOFLUSH));
  }
  struct winsize size;
  if (ioctl(slave, TIOCGWINSZ, &size) != 0) SUCCEEDED("afterwards the driver is gone");
  STOPPED("%s of 11 lengths up to 2^64: never more than one transfer's", what);
}
static char *room;
static long long_read(size_t bytes) { return RAW(read, slave, room, bytes); }
static long long_write(size_t bytes) { return RAW(write, slave, room, bytes); }
static long long_vector(size_t bytes) {
  struct iovec vectors[3] = {{room, 16}, {room, bytes}, {room, bytes}};
  return RAW(readv, slave, vectors, 3ul);
}
static long many_vectors(size_t count) {
  static struct iovec vectors[2048];
  for (size_t i = 0; i < COUNT(vectors); i++) vectors[i] = (struct iovec){room, 16};
  return RAW(writev, slave, vectors, count);
}
static void long_reads(void) { room = pages(32, PROT_READ | PROT_WRITE), judge_lengths("a read", long_read); }
static void long_writes(void) { room = pages(32, PROT_READ | PROT_WRITE), judge_lengths("a write", long_write); }
static void long_vectors(void) { room = pages(32, PROT_READ | PROT_WRITE), judge_lengths("a list of buffers", long_vector); }
static void too_many_vectors(void) { room = pages(32, PROT_READ | PROT_WRITE), judge_lengths("so many buffers", many_vectors); }

/* A list of buffers that is one of its buffers: what is read would change where the next bytes go. */
static void vector_over_itself(void) {
  struct iovec vectors[2];
  static char innocent[256];
  open_pair(&master, &slave);
  memset(innocent, 0, sizeof innocent);
  vectors[0] = (struct iovec){&vectors[1], sizeof vectors[1]};
  vectors[1] = (struct iovec){pages(1, PROT_READ | PROT_WRITE), 16};
  struct iovec forged = {innocent, 16};
  MUST(write(master, &forged, sizeof forged));
  put(master, "0123456789abcdef");
  pause_ms(20);
  long got = readv(slave, vectors, 2);
  for (size_t i = 0; i < sizeof innocent; i++)
    if (innocent[i] != 0) SUCCEEDED("bytes went where the driver's data said (%ld)", got);
  STOPPED("the list is as it was when the call began (%ld bytes)", got);
}

/* Commands whose size says more than anything may have. */
static void long_commands(void) {
  unsigned answered = 0;
  open_pair(&master, &slave);
  for (unsigned direction = 0; direction < 4; direction++)
    for (unsigned number = 0; number < 256; number += 5)
      answered += RAW(ioctl, slave, (unsigned long)direction << 30 | 16383ul << 16 | 'T' << 8 | number, KERNEL) >= 0;
  if (answered > 0) SUCCEEDED("%u commands of 16 KiB were answered", answered);
  STOPPED("208 commands of 16 KiB: %s", strerrorname_np(errno));
}

/* ---- Memory that changes. */

static atomic_int racing = 1;
static char *vanishing;
static void *vanish(void *unused) {
  (void)unused;
  while (atomic_load(&racing)) {
    (void)mprotect(vanishing, PAGE, PROT_NONE);
    (void)mprotect(vanishing, PAGE, PROT_READ | PROT_WRITE);
    (void)munmap(vanishing, PAGE);
    (void)mmap(vanishing, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  }
  return NULL;
}
static void vanishing_argument(void) {
  unsigned answered = 0, other = 0;
  open_pair(&master, &slave);
  vanishing = pages(1, PROT_READ | PROT_WRITE);
  pthread_t racer = start(vanish, NULL);
  for (int i = 0; i < 3000; i++) {
    errno = 0;
    if (ioctl(slave, i % 2 ? TIOCGWINSZ : TIOCSWINSZ, vanishing) == 0) answered++;
    else other += errno != EFAULT;
  }
  atomic_store(&racing, 0);
  pthread_join(racer, NULL);
  struct winsize size;
  if (other > 0 || ioctl(slave, TIOCGWINSZ, &size) != 0) SUCCEEDED("%u calls ended otherwise than by EFAULT", other);
  STOPPED("3000 calls, %u answered, the others EFAULT", answered);
}

/* A page whose fault is answered when the guest likes: who reads it waits for the guest. */
static void argument_that_faults_for_ever(void) {
  int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | 1 /* UFFD_USER_MODE_ONLY */);
  if (fd < 0) STOPPED("userfaultfd: %s", strerrorname_np(errno));
  int whole = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
  if (whole >= 0) close(fd), fd = whole;
  char *page = pages(1, PROT_READ | PROT_WRITE);
  struct uffdio_api api = {.api = UFFD_API};
  struct uffdio_register wanted = {.range = {(uint64_t)page, PAGE}, .mode = UFFDIO_REGISTER_MODE_MISSING};
  MUST(ioctl(fd, UFFDIO_API, &api));
  MUST(ioctl(fd, UFFDIO_REGISTER, &wanted));
  open_pair(&master, &slave);
  pid_t child = (pid_t)MUST(fork());
  if (child == 0) {
    /* The fault is the parent's memory no more: a process of its own has its own pages. */
    _exit(0);
  }
  waitpid(child, NULL, 0);
  pthread_t caller = start((void *(*)(void *))(void *)ask_at, page);
  pause_ms(500);
  /* Whether the host serves others meanwhile. */
  int other_master, other_slave;
  struct winsize size;
  struct timespec begin, end;
  clock_gettime(CLOCK_MONOTONIC, &begin);
  open_pair(&other_master, &other_slave);
  MUST(ioctl(other_slave, TIOCGWINSZ, &size));
  clock_gettime(CLOCK_MONOTONIC, &end);
  static char zeros[PAGE];
  struct uffdio_copy copy = {.dst = (uint64_t)page, .src = (uint64_t)zeros, .len = PAGE};
  (void)ioctl(fd, UFFDIO_COPY, &copy);
  pthread_join(caller, NULL);
  STOPPED("the host went on while its fault was open, after %ld s", (long)(end.tv_sec - begin.tv_sec));
}

/* ---- More of everything. Whether another guest could go on meanwhile is looked at from outside. */

static void every_descriptor(void) {
  unsigned opened = 0;
  int fd;
  while ((fd = open("/dev/ptmx", O_RDWR | O_NOCTTY)) >= 0 && opened < 4096) opened++;
  int error = errno;
  if (opened >= 4096) SUCCEEDED("4096 open files, and no end");
  STOPPED("%u open files, then %s", opened, strerrorname_np(error));
}

static void every_process(void) {
  unsigned opened = 0, refused = 0;
  int pipes[2];
  MUST(pipe(pipes));
  for (int i = 0; i < 150; i++) {
    pid_t child = (pid_t)MUST(fork());
    if (child == 0) {
      MUST(prctl(PR_SET_PDEATHSIG, SIGKILL));
      int fd = open("/dev/ptmx", O_RDWR | O_NOCTTY);
      MUST(write(pipes[1], fd >= 0 ? "o" : "r", 1));
      for (;;) pause();
    }
    char byte;
    MUST(read(pipes[0], &byte, 1));
    if (byte == 'o') opened++;
    else refused++;
  }
  if (refused == 0) SUCCEEDED("150 processes with a device each, and no end");
  STOPPED("%u processes have the device, %u were refused", opened, refused);
}

static void *blocked_read(void *unused) {
  char byte;
  (void)unused;
  (void)!read(slave, &byte, 1);
  return NULL;
}
static void blocking_flood(void) {
  open_pair(&master, &slave);
  for (int i = 0; i < 300; i++) start(blocked_read, NULL);
  pause_ms(1000);
  STOPPED("300 threads in a read that never ends");
}

static void *endless_calls(void *unused) {
  struct winsize size;
  (void)unused;
  while (atomic_load(&racing)) ioctl(slave, TIOCGWINSZ, &size);
  return NULL;
}
static void flood(void) {
  open_pair(&master, &slave);
  for (int i = 0; i < 16; i++) start(endless_calls, NULL);
  pause_ms(1500);
  await_look();
  atomic_store(&racing, 0);
  STOPPED("16 threads that call without end");
}

static void denied_flood(void) {
  open_pair(&master, &slave);
  unsigned through = 0;
  for (int i = 0; i < 20000; i++) through += ioctl(slave, TIOCSTI, "x") == 0;
  if (through > 0) SUCCEEDED("%u of 20000 refused commands went through", through);
  STOPPED("20000 refused commands: %s", strerrorname_np(errno));
}

/* ---- Ends in the middle. */

static void *work(void *unused) {
  struct winsize size;
  char byte;
  (void)unused;
  for (unsigned i = 0;; i++) {
    switch (i % 6) {
      case 0: (void)ioctl(slave, TIOCGWINSZ, &size); break;
      case 1: (void)!write(slave, "0123456789", 10); break;
      case 2: (void)!read(master, &byte, 1); break;
      case 3: close(open("/dev/ptmx", O_RDWR | O_NOCTTY)); break;
      case 4: close(dup(slave)); break;
      case 5: (void)tcflush(slave, TCIOFLUSH); break;
    }
  }
  return NULL;
}
static void killed_in_the_middle(void) {
  for (int i = 0; i < 120; i++) {
    pid_t child = (pid_t)MUST(fork());
    if (child == 0) {
      open_pair(&master, &slave);
      MUST(fcntl(master, F_SETFL, O_NONBLOCK));
      start(work, NULL);
      if (i % 3 == 0) start(blocked_read, NULL);
      if (i % 3 == 1) {
        pause_ms((unsigned)i % 7);
        _exit(0);
      }
      work(NULL);
    }
    struct timespec wait = {0, 200000 * (i % 40)};
    nanosleep(&wait, NULL);
    kill(child, i % 2 ? SIGKILL : SIGTERM);
    waitpid(child, NULL, 0);
  }
  open_pair(&master, &slave);
  put(master, "well");
  char text[8] = {0};
  if (read(slave, text, 4) != 4) SUCCEEDED("afterwards the driver is gone");
  STOPPED("120 processes ended in the middle of something, and the device goes on");
}

static void on_alarm(int number) { (void)number; }
static void signalled_in_the_middle(void) {
  struct itimerval often = {{0, 300}, {0, 300}}, never = {{0, 0}, {0, 0}};
  unsigned wrong = 0, interrupted = 0;
  open_pair(&master, &slave);
  install(SIGALRM, on_alarm, 0);
  MUST(setitimer(ITIMER_REAL, &often, NULL));
  for (int i = 0; i < 1500; i++) {
    struct winsize size = {.ws_row = (unsigned short)(i + 1)}, back = {0};
    if (ioctl(slave, TIOCSWINSZ, &size) != 0 || ioctl(slave, TIOCGWINSZ, &back) != 0) {
      interrupted++;
      continue;
    }
    wrong += back.ws_row != size.ws_row;
  }
  setitimer(ITIMER_REAL, &never, NULL);
  if (wrong > 0) SUCCEEDED("%u answers were of another call", wrong);
  STOPPED("1500 pairs of calls under 3000 signals a second: %u interrupted, none mixed up", interrupted);
}

static void stopped_in_the_middle(void) {
  pid_t child = (pid_t)MUST(fork());
  if (child == 0) {
    open_pair(&master, &slave);
    for (;;) {
      struct winsize size;
      (void)ioctl(slave, TIOCGWINSZ, &size);
    }
  }
  pause_ms(100);
  for (int i = 0; i < 100; i++) {
    MUST(kill(child, SIGSTOP));
    int own, its;
    struct winsize size;
    if (i % 10 == 0) {
      open_pair(&own, &its);
      if (ioctl(its, TIOCGWINSZ, &size) != 0) SUCCEEDED("while one process is stopped, another is not served");
      close(own);
      close(its);
    }
    MUST(kill(child, SIGCONT));
    pause_ms(1);
  }
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  STOPPED("100 stops in the middle of calls");
}

static const struct attempt attempts[] = {
    {"answers at any address", "TIOCGWINSZ to unmapped, kernel, non-canonical and wrapping addresses", answers_anywhere},
    {"arguments from any address", "TIOCSWINSZ from such addresses", arguments_from_anywhere},
    {"writes from any address", "bytes of the kernel for the driver", writes_from_anywhere},
    {"lists of buffers at any address", "writev", vectors_anywhere},
    {"buffers at any address", "writev", buffers_anywhere},
    {"reads to any address", "bytes of the driver for the kernel", reads_to_anywhere},
    {"an answer into a read-only page", "to have the host write what the guest may not", answer_into_read_only},
    {"an answer across an end", "of which the last bytes have no place", answer_across_an_end},
    {"bytes beside a grant", "to get more back than was granted", beside_the_grant},
    {"reads near 2^32 and 2^64", "lengths up to 2^64 - 1", long_reads},
    {"writes near 2^32 and 2^64", "lengths up to 2^64 - 1", long_writes},
    {"lists whose sum wraps around", "readv with lengths up to 2^64 - 1", long_vectors},
    {"lists of too many buffers", "writev with counts up to 2^64 - 1", too_many_vectors},
    {"a list over itself", "a list of buffers of which one is the list", vector_over_itself},
    {"commands of 16 KiB", "sizes beyond every table, in all directions", long_commands},
    {"an argument that vanishes", "mprotect and munmap of the argument during calls", vanishing_argument},
    {"an argument that faults for ever", "an argument in a page whose fault the guest answers (userfaultfd)", argument_that_faults_for_ever},
    {"every open file", "open without end", every_descriptor},
    {"every backend process", "150 processes with the device open", every_process},
    {"a flood of blocking reads", "300 threads in reads that never end", blocking_flood},
    {"a flood of calls", "16 threads that call without end", flood},
    {"a flood of refusals", "20000 refused commands", denied_flood},
    {"ends in the middle", "120 processes killed or exited in the middle of operations of each kind", killed_in_the_middle},
    {"signals in the middle", "3000 signals a second during calls", signalled_in_the_middle},
    {"stops in the middle", "SIGSTOP and SIGCONT during calls", stopped_in_the_middle},
};

int main(int argc, char **argv) { return run_attempts(attempts, COUNT(attempts), argc, argv); }
