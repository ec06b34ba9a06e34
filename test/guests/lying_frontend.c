/* A frontend that lies: it gets its process's ring by the same call as the library, and posts what no honest one would. Each case prints what
 * became of it; nothing of it may reach the driver, another file or the host's own memory. */
#include "pty.h"

#include <sys/prctl.h>

#include "../../native/protocol/fast.h"

#define TRAPPED_FIRST 3
#define ROUNDS 2000

static struct postern_fast_ring *ring;
static int master, slave, ring_file;

static struct postern_fast_ring *get_ring(void) {
  ring_file = (int)MUST(RAW(openat, POSTERN_FAST_DIRFD, "", O_RDWR));
  void *memory = mmap(NULL, POSTERN_FAST_RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, ring_file, 0);
  if (memory == MAP_FAILED) _exit(96);
  return memory;
}

static void set_up(void) {
  open_pair(&master, &slave);
  ring = get_ring();
}

/* The host looks at the ring after a trapped call of this process, for a while. */
static void wake_host(void) {
  for (int i = 0; i < TRAPPED_FIRST; i++) {
    int bytes;
    MUST(RAW(ioctl, slave, TIOCOUTQ, &bytes));
  }
}

static const char *how(uint32_t answer) {
  if (answer == POSTERN_FAST_ANSWERED) return "answered";
  return answer == POSTERN_FAST_SYSCALL ? "make the call" : "?";
}

/* Posts in the slot until the host has seen it; the answer. */
static uint32_t post(uint32_t slot, struct postern_fast_call call) {
  struct postern_fast_slot *at = &ring->slots[slot];
  for (;;) {
    wake_host();
    at->call = call;
    __atomic_store_n(&at->answer, 0, __ATOMIC_SEQ_CST);
    __atomic_fetch_or(&ring->posted, 1u << slot, __ATOMIC_SEQ_CST);
    for (int looks = 0; looks < 20000; looks++) {
      const uint32_t answer = __atomic_load_n(&at->answer, __ATOMIC_ACQUIRE);
      if (answer != 0) return answer;
      if (looks % 64 == 0) sched_yield();
    }
  }
}

static struct postern_fast_call ioctl_of(int fd, uint32_t command, uint32_t bytes) {
  return (struct postern_fast_call){.kind = POSTERN_FAST_IOCTL, .descriptor = fd, .command = command, .bytes = bytes, .argument = 0x1000};
}

static void say_post(const char *label, struct postern_fast_call call) {
  const uint32_t answer = post(0, call);
  if (answer == POSTERN_FAST_ANSWERED)
    say("%s: answered, %lld %s, %u bytes", label, (long long)ring->slots[0].value,
        ring->slots[0].error != 0 ? strerrorname_np((int)ring->slots[0].error) : "0", ring->slots[0].reply_bytes);
  else
    say("%s: %s", label, how(answer));
}

static void still_works(void) {
  put(master, "x");
  say_read("the terminal", slave);
}

static void honest(void) {
  set_up();
  say_post("a command without an argument", ioctl_of(slave, TIOCNXCL, 0));
  say_post("a command whose bytes come out", ioctl_of(slave, TIOCOUTQ, 0));
  say_post("a refused command", ioctl_of(slave, TIOCSTI, 0));
  say_post("an unknown command", ioctl_of(slave, 0x12345678, 0));
  struct winsize size = {.ws_row = 11, .ws_col = 22};
  memcpy(ring->slots[0].payload, &size, sizeof size);
  say_post("a command whose bytes go in", ioctl_of(slave, TIOCSWINSZ, sizeof size));
  struct winsize seen;
  MUST(RAW(ioctl, slave, TIOCGWINSZ, &seen));
  say("what the driver got: %u %u", seen.ws_row, seen.ws_col);
}

static void numbers(void) {
  set_up();
  const int numbers[] = {-1, -2147483647 - 1, 0, 1, 831, 1023, 1024, 2147483647};
  for (size_t i = 0; i < COUNT(numbers); i++) say_post("a descriptor that is none", ioctl_of(numbers[i], TIOCNXCL, 0));
  MUST(dup2(MUST(open("/dev/null", O_RDWR)), 1000));
  say_post("an ordinary file in the window", ioctl_of(1000, TIOCNXCL, 0));
  still_works();
}

static void kinds_and_lengths(void) {
  set_up();
  struct postern_fast_call call = ioctl_of(slave, TIOCSWINSZ, 8);
  const uint32_t lengths[] = {0, 7, 9, POSTERN_FAST_PAYLOAD_BYTES, POSTERN_FAST_PAYLOAD_BYTES + 1, 0x7fffffff, 0xffffffff};
  for (size_t i = 0; i < COUNT(lengths); i++) {
    call.bytes = lengths[i];
    say_post("a head of another length", call);
  }
  for (uint32_t kind = 0; kind < 6; kind += kind == 0 ? 4 : 1) {
    call = ioctl_of(slave, TIOCNXCL, 0);
    call.kind = kind;
    say_post("a kind that is none", call);
  }
  MUST(fcntl(slave, F_SETFL, O_RDWR | O_NONBLOCK));
  call = (struct postern_fast_call){.kind = POSTERN_FAST_READ, .descriptor = slave, .length = ~0ull};
  say_post("a read of everything", call);
  call.length = POSTERN_FAST_PAYLOAD_BYTES;
  say_post("a read of nothing there", call);
  call = (struct postern_fast_call){.kind = POSTERN_FAST_WRITE, .descriptor = slave, .bytes = 0xffffffff};
  say_post("a write of everything", call);
  MUST(fcntl(slave, F_SETFL, O_RDWR));
  call.bytes = 1;
  say_post("a write that may sleep", call);
  still_works();
}

static void access_mode(void) {
  set_up();
  char name[32];
  int number;
  MUST(ioctl(master, TIOCGPTN, &number));
  snprintf(name, sizeof name, "/dev/pts/%d", number);
  const int reader = (int)MUST(open(name, O_RDONLY | O_NOCTTY | O_NONBLOCK));
  say_post("a write of a file that is open for reading", (struct postern_fast_call){.kind = POSTERN_FAST_WRITE, .descriptor = reader, .bytes = 1});
}

static void closed_meanwhile(void) {
  set_up();
  say_post("before", ioctl_of(slave, TIOCNXCL, 0));
  const int other = (int)MUST(dup(slave));
  MUST(close(slave));
  const int closed = slave;
  slave = other;
  say_post("after close", ioctl_of(closed, TIOCNXCL, 0));
  MUST(dup2(MUST(open("/dev/null", O_RDWR)), closed));
  say_post("another file in its place", ioctl_of(closed, TIOCNXCL, 0));
  say_post("its copy", ioctl_of(other, TIOCNXCL, 0));
}

static atomic_int stop;

/* Rewrites what was posted, all the time. */
static void *scribble(void *unused) {
  (void)unused;
  uint64_t state = 88172645463325252ull;
  while (!atomic_load(&stop)) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    const uint32_t slot = 1 + state % (POSTERN_FAST_SLOTS - 1);
    ((volatile uint64_t *)&ring->slots[slot])[state / 64 % (POSTERN_FAST_SLOT_BYTES / 8)] = state;
    ring->slots[slot].call.descriptor = state & 1 << 20 ? slave : (int)state;
    ring->slots[slot].call.command = state & 1 << 21 ? TIOCSWINSZ : (uint32_t)state;
    if (state % 5 == 0) __atomic_fetch_or(&ring->posted, (uint32_t)state & ~1u, __ATOMIC_SEQ_CST);
    if (state % 7 == 0) ring->host_asleep = (uint32_t)state & 1;
  }
  return NULL;
}

static void scribbled(void) {
  set_up();
  pthread_t threads[2];
  for (int i = 0; i < 2; i++) threads[i] = start(scribble, NULL);
  int wrong = 0;
  for (int i = 0; i < ROUNDS; i++) {
    int bytes = -1;
    wrong += RAW(ioctl, slave, TIOCOUTQ, &bytes) != 0 || bytes != 0;
  }
  atomic_store(&stop, 1);
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  say("trapped calls that went wrong: %d", wrong);
  struct termios raw;
  MUST(tcgetattr(slave, &raw));
  cfmakeraw(&raw);
  MUST(tcsetattr(slave, TCSANOW, &raw));
  MUST(RAW(ioctl, slave, TCFLSH, TCIOFLUSH));
  still_works();
}

static void the_file(void) {
  set_up();
  SAY("shrink", ftruncate(ring_file, 0));
  SAY("grow", ftruncate(ring_file, 1 << 20));
  SAY("seal against writing", fcntl(ring_file, F_ADD_SEALS, F_SEAL_WRITE));
  SAY("punch a hole", fallocate(ring_file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, POSTERN_FAST_RING_BYTES));
  still_works();
}

static void a_childs_posts(void) {
  set_up();
  post(0, ioctl_of(slave, TIOCNXCL, 0));
  const pid_t child = fork();
  if (child == 0) {
    const int own = (int)MUST(open("/dev/ptmx", O_RDWR | O_NOCTTY));
    say_post("a number that only the child has, in its parent's ring", ioctl_of(own, TIOCNXCL, 0));
    ring = get_ring();
    slave = own;
    say_post("in its own", ioctl_of(own, TIOCNXCL, 0));
    _exit(0);
  }
  /* The host looks at the parent's ring when the parent is trapped. */
  while (waitpid(child, NULL, WNOHANG) == 0) wake_host();
  still_works();
}

static void many_rings(void) {
  set_up();
  for (int i = 0; i < 300; i++) {
    const int file = (int)MUST(RAW(openat, POSTERN_FAST_DIRFD, "", O_RDWR));
    MUST(close(file));
  }
  ring = get_ring();
  say_post("in the last of 301", ioctl_of(slave, TIOCNXCL, 0));
}

static const struct test_case cases[] = {
    {"honest", honest},
    {"numbers", numbers},
    {"kinds and lengths", kinds_and_lengths},
    {"access mode", access_mode},
    {"closed meanwhile", closed_meanwhile},
    {"scribbled", scribbled},
    {"the file", the_file},
    {"a child's posts", a_childs_posts},
    {"many rings", many_rings},
};

int main(int argc, char **argv) { return run_cases(cases, COUNT(cases), argc, argv); }
