/* Drives the agent's local mode through the shared memory. Usage: test-agent --list, or test-agent AGENT CASE. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <asm/termbits.h>
#include <unistd.h>

#include "test_harness.h"

#define MASTER 3u
#define SLAVE 7u
/* Where things are in the arena. */
#define WORD_AT 0u
#define TERMIOS_AT 64u
#define INPUT_AT 4096u
#define OUTPUT_AT 8192u

static struct host host;
static struct guest guest;

static struct postern_op ioctl_on(uint32_t file, uint32_t command, uint64_t argument) {
  return (struct postern_op){.kind = POSTERN_OP_IOCTL, .file = file, .command = command, .argument = argument};
}

static struct postern_op read_on(uint32_t file, uint64_t length, uint32_t flags) {
  return (struct postern_op){.kind = POSTERN_OP_READ, .file = file, .flags = flags, .length = length, .head_offset = INPUT_AT};
}

static struct postern_op watch_on(uint32_t file, uint32_t events) {
  return (struct postern_op){.kind = POSTERN_OP_WATCH, .file = file, .command = events};
}

static struct postern_op release_of(uint32_t file) { return (struct postern_op){.kind = POSTERN_OP_RELEASE, .file = file}; }

static struct postern_op cancel_of(uint64_t id) { return (struct postern_op){.kind = POSTERN_OP_CANCEL, .argument = id}; }

static void write_text(uint32_t file, const char *text) {
  size_t length = strlen(text);
  memcpy(guest.arena + OUTPUT_AT, text, length);
  struct postern_op op = {.kind = POSTERN_OP_WRITE, .file = file, .length = length, .head_offset = OUTPUT_AT};
  CHECK(guest_do(&guest, op).result == (int64_t)length);
}

static bool input_is(const char *text) { return memcmp(guest.arena + INPUT_AT, text, strlen(text)) == 0; }

static uint32_t open_master(void) {
  CHECK(guest_open(&guest, MASTER, "ptmx", O_RDWR) == 0);
  uint32_t number = ~0u;
  CHECK(guest_do(&guest, ioctl_on(MASTER, TIOCGPTN, guest_pointer(&guest, WORD_AT))).result == 0);
  memcpy(&number, guest.arena + WORD_AT, sizeof number);
  memset(guest.arena + WORD_AT, 0, sizeof number);
  CHECK(guest_do(&guest, ioctl_on(MASTER, TIOCSPTLCK, guest_pointer(&guest, WORD_AT))).result == 0);
  return number;
}

/* A pseudo terminal whose slave passes bytes on as they are. */
static void open_pair(void) {
  char path[32];
  snprintf(path, sizeof path, "pts/%u", open_master());
  CHECK(guest_open(&guest, SLAVE, path, O_RDWR) == 0);
  struct termios termios;
  CHECK(guest_do(&guest, ioctl_on(SLAVE, TCGETS, guest_pointer(&guest, TERMIOS_AT))).result == 0);
  memcpy(&termios, guest.arena + TERMIOS_AT, sizeof termios);
  termios.c_iflag = termios.c_oflag = termios.c_lflag = 0;
  termios.c_cc[VMIN] = 1;
  termios.c_cc[VTIME] = 0;
  memcpy(guest.arena + TERMIOS_AT, &termios, sizeof termios);
  CHECK(guest_do(&guest, ioctl_on(SLAVE, TCSETS, guest_pointer(&guest, TERMIOS_AT))).result == 0);
}

static void files_open_work_and_close(void) {
  open_pair();
  write_text(MASTER, "to the slave");
  CHECK(guest_do(&guest, read_on(SLAVE, 4096, 0)).result == 12 && input_is("to the slave"));
  struct postern_op positional = read_on(SLAVE, 16, POSTERN_OP_POSITIONAL);
  CHECK(guest_do(&guest, positional).result == -ESPIPE);
  CHECK(guest_open(&guest, SLAVE, "ptmx", O_RDWR) == -EBUSY);
  CHECK(guest_do(&guest, release_of(SLAVE)).result == 0);
  CHECK(guest_do(&guest, release_of(SLAVE)).result == -EBADF);
  CHECK(guest_do(&guest, read_on(SLAVE, 1, 0)).result == -EBADF);
  CHECK(guest_open(&guest, SLAVE, "ptmx", O_RDWR) == 0);
}

static void devices_are_listed(void) {
  static char answer[POSTERN_FRAME_BYTES_MAX];
  uint32_t bytes = host_ask(&host, POSTERN_FRAME_DEVICES, NULL, 0, answer, sizeof answer - 1);
  answer[bytes] = 0;
  CHECK(answer[0] == '[' && answer[bytes - 1] == ']');
  CHECK(strstr(answer, "\"name\":\"ptmx\",\"major\":5,\"minor\":2"));
}

static void a_sleeping_operation_is_cancelled(void) {
  open_pair();
  for (int round = 0; round < 300; round++) {
    uint64_t sleeper = guest_submit(&guest, read_on(SLAVE, 16, POSTERN_OP_BLOCKING));
    /* Some at once, before it sleeps, and some later. */
    if (round % 3 == 0) usleep(200);
    CHECK(guest_do(&guest, cancel_of(sleeper)).result == 0);
    CHECK(guest_await(&guest, sleeper).result == -EINTR);
    CHECK(guest_do(&guest, cancel_of(sleeper)).result == -ENOENT);
  }
}

static void operations_overtake_a_sleeping_one(void) {
  open_pair();
  uint64_t sleeper = guest_submit(&guest, read_on(SLAVE, 16, POSTERN_OP_BLOCKING));
  CHECK(guest_do(&guest, ioctl_on(SLAVE, TIOCINQ, guest_pointer(&guest, WORD_AT))).result == 0);
  CHECK(!guest_has_news(&guest, 50), "the sleeping read has ended");
  write_text(MASTER, "late");
  CHECK(guest_await(&guest, sleeper).result == 4 && input_is("late"));
}

static void nonblock_is_of_the_operation(void) {
  open_pair();
  CHECK(guest_do(&guest, read_on(SLAVE, 16, POSTERN_OP_NONBLOCK)).result == -EAGAIN);
  uint64_t sleeper = guest_submit(&guest, read_on(SLAVE, 16, POSTERN_OP_BLOCKING));
  CHECK(!guest_has_news(&guest, 50), "the read did not sleep");
  CHECK(guest_do(&guest, cancel_of(sleeper)).result == 0);
  CHECK(guest_await(&guest, sleeper).result == -EINTR);
}

static void readiness_rises_and_falls(void) {
  open_pair();
  struct postern_completion first = guest_do(&guest, watch_on(SLAVE, POLLIN));
  CHECK(first.result == 0 && first.ready == 0);
  for (int round = 0; round < 500; round++) {
    write_text(MASTER, "xy");
    struct postern_completion rise = guest_await_ready(&guest);
    CHECK(rise.file == SLAVE && rise.ready == POLLIN);
    struct postern_completion half = guest_do(&guest, read_on(SLAVE, 1, POSTERN_OP_NONBLOCK));
    CHECK(half.result == 1 && half.ready == POLLIN);
    struct postern_completion rest = guest_do(&guest, read_on(SLAVE, 16, POSTERN_OP_NONBLOCK));
    CHECK(rest.result == 1 && rest.ready == 0, "result %ld, ready %u", (long)rest.result, rest.ready);
    struct postern_completion none = guest_do(&guest, read_on(SLAVE, 1, POSTERN_OP_NONBLOCK));
    CHECK(none.result == -EAGAIN && none.ready == 0, "result %ld, ready %u", (long)none.result, none.ready);
  }
}

/* Of operations that change nothing, and of transfers that others follow, the readiness is not asked; the last one tells it. */
static void readiness_is_asked_where_it_may_change(void) {
  open_pair();
  CHECK(guest_do(&guest, watch_on(SLAVE, POLLIN)).ready == 0);
  write_text(MASTER, "abc");
  CHECK(guest_await_ready(&guest).ready == POLLIN);
  struct postern_op asks = ioctl_on(SLAVE, TIOCINQ, guest_pointer(&guest, WORD_AT));
  CHECK(guest_do(&guest, asks).ready == POLLIN);
  asks.flags |= POSTERN_OP_STEADY;
  CHECK(guest_do(&guest, asks).ready == POSTERN_READY_UNKNOWN);
  enum { READS = 4 };
  uint64_t reads[READS];
  uint32_t asked = 0;
  guest_submit_together(&guest, read_on(SLAVE, 1, POSTERN_OP_NONBLOCK), reads, READS);
  for (int i = 0; i < READS; i++) {
    struct postern_completion read = guest_await(&guest, reads[i]);
    CHECK(read.result == (i < 3 ? 1 : -EAGAIN), "read %d: result %ld", i, (long)read.result);
    if (read.ready != POSTERN_READY_UNKNOWN) asked++;
    if (i == READS - 1) CHECK(read.ready == 0, "ready %u", read.ready);
  }
  CHECK(asked == 1, "asked %u times", asked);
}

static void only_watched_events_are_told(void) {
  open_pair();
  CHECK(guest_do(&guest, watch_on(SLAVE, POLLOUT)).ready == POLLOUT);
  write_text(MASTER, "x");
  CHECK(!guest_has_news(&guest, 50), "an event was told that is not watched");
  CHECK(guest_do(&guest, watch_on(SLAVE, POLLIN | POLLOUT)).ready == (POLLIN | POLLOUT));
  CHECK(guest_do(&guest, watch_on(SLAVE, 0)).ready == 0);
  write_text(MASTER, "x");
  CHECK(!guest_has_news(&guest, 50), "a file was told that is not watched");
  CHECK(guest_do(&guest, read_on(SLAVE, 16, 0)).ready == POSTERN_READY_UNKNOWN);
}

static void a_hangup_is_told(void) {
  open_pair();
  CHECK(guest_do(&guest, watch_on(MASTER, POLLIN)).ready == 0);
  CHECK(guest_do(&guest, release_of(SLAVE)).result == 0);
  struct postern_completion rise = guest_await_ready(&guest);
  CHECK(rise.file == MASTER && (rise.ready & POLLHUP));
}

static void a_release_waits_for_its_files_operations(void) {
  open_pair();
  uint64_t sleeper = guest_submit(&guest, read_on(SLAVE, 16, POSTERN_OP_BLOCKING));
  CHECK(guest_do(&guest, ioctl_on(SLAVE, TIOCINQ, guest_pointer(&guest, WORD_AT))).result == 0);
  uint64_t release = guest_submit(&guest, release_of(SLAVE));
  CHECK(!guest_has_news(&guest, 50), "the file was closed under its operation");
  CHECK(guest_open(&guest, SLAVE, "ptmx", O_RDWR) == -EBUSY);
  CHECK(guest_do(&guest, cancel_of(sleeper)).result == 0);
  CHECK(guest_await(&guest, sleeper).result == -EINTR);
  CHECK(guest_await(&guest, release).result == 0);
}

static void many_operations_sleep_at_once(void) {
  open_pair();
  uint64_t sleepers[POSTERN_RING_ENTRIES];
  for (uint32_t i = 0; i < POSTERN_RING_ENTRIES; i++) {
    sleepers[i] = guest_submit(&guest, read_on(SLAVE, 1, POSTERN_OP_BLOCKING));
  }
  CHECK(guest_do(&guest, read_on(SLAVE, 1, POSTERN_OP_BLOCKING)).result == -EBUSY);
  for (uint32_t i = 0; i < POSTERN_RING_ENTRIES; i++) CHECK(guest_do(&guest, cancel_of(sleepers[i])).result == 0);
  for (uint32_t i = 0; i < POSTERN_RING_ENTRIES; i++) CHECK(guest_await(&guest, sleepers[i]).result == -EINTR);
  CHECK(guest_do(&guest, release_of(SLAVE)).result == 0);
}

static void a_full_completion_ring_loses_nothing(void) {
  open_pair();
  uint64_t ids[2 * POSTERN_RING_ENTRIES];
  for (uint32_t i = 0; i < 2 * POSTERN_RING_ENTRIES; i++) {
    ids[i] = guest_submit(&guest, ioctl_on(MASTER, TIOCINQ, guest_pointer(&guest, WORD_AT)));
  }
  usleep(20000);
  for (uint32_t i = 0; i < 2 * POSTERN_RING_ENTRIES; i++) CHECK(guest_await(&guest, ids[i]).result == 0);
}

static int64_t open_raw(uint32_t file, uint32_t head_offset) {
  struct postern_op op = {.kind = POSTERN_OP_OPEN, .file = file, .command = O_RDWR, .head_offset = head_offset};
  return guest_do(&guest, op).result;
}

static void paths_stay_below_dev(void) {
  CHECK(guest_open(&guest, 0, "", O_RDWR) == -EINVAL);
  CHECK(guest_open(&guest, 0, "/dev/ptmx", O_RDWR) == -EINVAL);
  CHECK(guest_open(&guest, 0, "../dev/ptmx", O_RDWR) == -EINVAL);
  CHECK(guest_open(&guest, 0, "pts/../../etc/passwd", O_RDONLY) == -EINVAL);
  CHECK(guest_open(&guest, 0, "pts", O_RDONLY) == -ENODEV);
  CHECK(guest_open(&guest, 0, "not-there", O_RDWR | O_CREAT) == -ENOENT);
  char path[512];
  memset(path, 'x', sizeof path);
  path[sizeof path - 1] = 0;
  CHECK(guest_open(&guest, 0, path, O_RDWR) == -EINVAL);
  CHECK(open_raw(0, POSTERN_ARENA_BYTES) == -EINVAL);
  CHECK(open_raw(0, ~0u) == -EINVAL);
  memset(guest.arena + POSTERN_ARENA_BYTES - 8, 'x', 8);
  CHECK(open_raw(0, POSTERN_ARENA_BYTES - 8) == -EINVAL, "a path without an end was taken");
  CHECK(open_raw(POSTERN_FILES_MAX, 0) == -EINVAL);
}

static void bad_submissions_are_refused(void) {
  open_pair();
  const uint32_t kinds[] = {POSTERN_OP_RELEASE, POSTERN_OP_IOCTL, POSTERN_OP_READ,
                            POSTERN_OP_WRITE,   POSTERN_OP_MMAP,  POSTERN_OP_WATCH};
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    CHECK(guest_do(&guest, (struct postern_op){.kind = kinds[i], .file = POSTERN_FILES_MAX}).result == -EBADF);
    CHECK(guest_do(&guest, (struct postern_op){.kind = kinds[i], .file = ~0u}).result == -EBADF);
    CHECK(guest_do(&guest, (struct postern_op){.kind = kinds[i], .file = 100}).result == -EBADF);
  }
  CHECK(guest_do(&guest, (struct postern_op){.kind = 0}).result == -ENOSYS);
  CHECK(guest_do(&guest, (struct postern_op){.kind = ~0u}).result == -ENOSYS);
  struct postern_op transfer = read_on(SLAVE, POSTERN_ARENA_BYTES - INPUT_AT + 1, 0);
  CHECK(guest_do(&guest, transfer).result == -EINVAL);
  transfer.length = ~0ull;
  CHECK(guest_do(&guest, transfer).result == -EINVAL);
  transfer.length = 0;
  transfer.head_offset = POSTERN_ARENA_BYTES + 1;
  CHECK(guest_do(&guest, transfer).result == -EINVAL);
  CHECK(guest_do(&guest, watch_on(SLAVE, EPOLLET | POLLIN)).result == -EINVAL);
  CHECK(guest_do(&guest, ioctl_on(SLAVE, TCGETS, 8)).result == -EFAULT);
  struct postern_op passing = ioctl_on(SLAVE, TCGETS, 0);
  passing.descriptors = 1;
  CHECK(guest_do(&guest, passing).result == -EOPNOTSUPP, "the local domain passes descriptors");
  struct postern_op map = {.kind = POSTERN_OP_MMAP, .file = SLAVE, .length = 4096};
  CHECK(guest_do(&guest, map).result == -EOPNOTSUPP);
  map.argument = POSTERN_MAPPINGS_MAX;
  CHECK(guest_do(&guest, map).result == -EINVAL);
  map.argument = 0;
  map.length = 4095;
  CHECK(guest_do(&guest, map).result == -EINVAL);
  map.length = ~0xfffull;
  CHECK(guest_do(&guest, map).result == -EINVAL);
  CHECK(guest_do(&guest, (struct postern_op){.kind = POSTERN_OP_MUNMAP, .argument = ~0ull}).result == -EINVAL);
  CHECK(guest_do(&guest, (struct postern_op){.kind = POSTERN_OP_MUNMAP, .argument = 5}).result == -EINVAL);
}

/* A word that is likely to be wrong in an interesting way. */
static uint64_t odd_word(void) {
  static const uint64_t words[] = {0, 1, 7, 255, 256, 4095, 4096, POSTERN_ARENA_BYTES - 1, POSTERN_ARENA_BYTES,
                                   POSTERN_ARENA_BYTES + 1, 0x7fffffff, 0x80000000, 0xffffffff, ~0ull, ~0xfffull};
  uint64_t choice = (uint64_t)random() % (sizeof words / sizeof *words + 1);
  return choice < sizeof words / sizeof *words ? words[choice] : (uint64_t)random();
}

static void random_submissions_are_survived(void) {
  open_pair();
  srandom(20140301);
  for (int i = 0; i < 20000; i++) {
    struct postern_op op = {
        .kind = (uint32_t)random() % 11,
        .flags = POSTERN_OP_NONBLOCK | ((uint32_t)random() & POSTERN_OP_POSITIONAL),
        .file = random() % 2 ? SLAVE : (uint32_t)odd_word(),
        /* Command numbers of no driver: some terminal commands reach beyond the terminal. */
        .command = 0x5a00u | ((uint32_t)random() & 0xffff00ffu),
        .argument = odd_word(),
        .offset = odd_word(),
        .length = odd_word(),
        .head_offset = (uint32_t)odd_word(),
    };
    guest_do(&guest, op);
    guest.kept_count = 0;
  }
  guest_do(&guest, release_of(MASTER));
  guest_do(&guest, release_of(SLAVE));
  open_pair();
}

static void a_broken_ring_kills_one_process_only(void) {
  struct guest other;
  guest_start(&other, &host, 1);
  CHECK(guest_open(&other, 0, "ptmx", O_RDWR) == 0);
  __atomic_store_n(&guest.channel->submit_tail, 1000, __ATOMIC_SEQ_CST);
  host_ring(&host, 0);
  guest_await_state(&guest, POSTERN_CHANNEL_DEAD);
  CHECK(guest_open(&other, 1, "ptmx", O_RDWR) == 0);
  guest_stop(&guest);
  guest_start(&guest, &host, 0);
  open_pair();
  guest_stop(&other);
}

static void the_next_guest_finds_nothing(void) {
  open_pair();
  memset(guest.arena, 0xa5, POSTERN_ARENA_BYTES);
  guest_stop(&guest);
  for (uint32_t i = 0; i < POSTERN_ARENA_BYTES; i++) CHECK(guest.arena[i] == 0, "at %u", i);
  CHECK(guest.channel->submit_tail == 0 && guest.channel->complete_tail == 0);
  guest_start(&guest, &host, 0);
  CHECK(guest_do(&guest, read_on(SLAVE, 1, 0)).result == -EBADF);
}

static void a_stop_ends_sleeping_operations(void) {
  open_pair();
  guest_submit(&guest, read_on(SLAVE, 16, POSTERN_OP_BLOCKING));
  guest_submit(&guest, read_on(MASTER, 16, 0));
  usleep(20000);
  guest_stop(&guest);
  guest_start(&guest, &host, 0);
}

/* Of the locked-down agent only. */
static void a_lock_down_leaves_nothing_else(void) {
  CHECK(open_master() == 0, "the terminals are not private");
  CHECK(guest_open(&guest, 0, "null", O_RDWR) == -ENOENT);
  CHECK(guest_open(&guest, 0, "tty0", O_RDWR) == -ENOENT);
}

/* Of the locked-down agent only; makes a network interface, which goes with its file. */
static void a_tun_device_works_locked_down(void) {
  int64_t opened = guest_open(&guest, 0, "net/tun", O_RDWR);
  if (opened == -ENOENT || geteuid() != 0) return;
  CHECK(opened == 0, "net/tun: %ld", (long)opened);
  struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
  strcpy(request.ifr_name, "postern-t%d");
  memcpy(guest.arena + WORD_AT, &request, sizeof request);
  CHECK(guest_do(&guest, ioctl_on(0, TUNSETIFF, guest_pointer(&guest, WORD_AT))).result == 0);
  CHECK(guest_do(&guest, read_on(0, 1500, POSTERN_OP_NONBLOCK)).result == -EAGAIN);
  CHECK(guest_do(&guest, release_of(0)).result == 0);
}

static const struct test_case {
  const char *name;
  void (*run)(void);
  bool locked_only;
} cases[] = {
#define CASE(name) {#name, name, false}
    CASE(files_open_work_and_close),
    CASE(devices_are_listed),
    CASE(a_sleeping_operation_is_cancelled),
    CASE(operations_overtake_a_sleeping_one),
    CASE(nonblock_is_of_the_operation),
    CASE(readiness_rises_and_falls),
    CASE(readiness_is_asked_where_it_may_change),
    CASE(only_watched_events_are_told),
    CASE(a_hangup_is_told),
    CASE(a_release_waits_for_its_files_operations),
    CASE(many_operations_sleep_at_once),
    CASE(a_full_completion_ring_loses_nothing),
    CASE(paths_stay_below_dev),
    CASE(bad_submissions_are_refused),
    CASE(random_submissions_are_survived),
    CASE(a_broken_ring_kills_one_process_only),
    CASE(the_next_guest_finds_nothing),
    CASE(a_stop_ends_sleeping_operations),
    {"a_lock_down_leaves_nothing_else", a_lock_down_leaves_nothing_else, true},
    {"a_tun_device_works_locked_down", a_tun_device_works_locked_down, true},
};
#define CASE_COUNT (sizeof cases / sizeof *cases)

static void list(void) {
  for (size_t i = 0; i < CASE_COUNT; i++) printf("%s%s\n", cases[i].name, cases[i].locked_only ? " locked" : "");
}

static int run(const char *agent, const char *name) {
  for (size_t i = 0; i < CASE_COUNT; i++) {
    if (strcmp(cases[i].name, name) != 0) continue;
    host_start(&host, agent);
    guest_start(&guest, &host, 0);
    cases[i].run();
    int status = host_stop(&host);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the agent's wait status is %d", status);
    return EXIT_SUCCESS;
  }
  fprintf(stderr, "no case %s\n", name);
  return EXIT_FAILURE;
}

int main(int count, char **arguments) {
  if (count == 2 && strcmp(arguments[1], "--list") == 0) list();
  else if (count == 3) return run(arguments[1], arguments[2]);
  return EXIT_SUCCESS;
}
