/* A guest that does to its cameras whatever a seed says: opens, commands with plausible and with bad arguments, mappings, reads, polls,
 * duplicates, children that do the same, closes. The same seed makes the same choices wherever the answers are the same.
 *   sequences SEED OPERATIONS COMMANDS NODE...   COMMANDS: the class's command numbers, in hexadecimal, with commas between
 *   sequences honest NODE                        streams a few frames, as a program does that means no harm */
#include "../guests/video.h"

#define FILES_MAX 12
#define MAPPINGS_MAX 8
#define COMMANDS_MAX 512
#define ARGUMENT_BYTES (16u << 10)
#define HONEST_FRAMES 4
/* Whatever sleeps in a driver is interrupted after so long, again and again. */
#define INTERRUPTION_US 20000

static uint64_t lot;
static uint32_t commands[COMMANDS_MAX];
static unsigned command_count, node_count, operations_done, operations_succeeded;
static char **nodes;
static int files[FILES_MAX];
static unsigned file_count;
static struct { void *at; size_t bytes; } mappings[MAPPINGS_MAX];
static unsigned mapping_count;
static struct v4l2_buffer last_buffer;
static uint8_t argument[ARGUMENT_BYTES] __attribute__((aligned(4096))), nested[ARGUMENT_BYTES];

/* xorshift64*, by Vigna. */
static uint32_t below(uint32_t limit) {
  lot ^= lot >> 12, lot ^= lot << 25, lot ^= lot >> 27;
  return (uint32_t)((lot * 2685821657736338717ull) >> 33) % limit;
}

static void note(long result) {
  operations_done++;
  operations_succeeded += result >= 0;
}

static int some_file(void) { return file_count == 0 ? -1 : files[below(file_count)]; }

static void keep_file(int fd) {
  note(fd);
  if (fd < 0) return;
  if (file_count < FILES_MAX) files[file_count++] = fd;
  else close(fd);
}

static void do_open(void) {
  static const int flags[] = {O_RDWR, O_RDWR | O_NONBLOCK, O_RDONLY, O_WRONLY, O_RDWR | O_CLOEXEC, O_RDWR | O_TRUNC | O_APPEND};
  keep_file(open(nodes[below(node_count)], flags[below(COUNT(flags))]));
}

/* A word as arguments have them: small numbers, flags, one too many, and nonsense. */
static uint32_t some_word(void) {
  switch (below(8)) {
    case 0: return 1u << below(32);
    case 1: return below(4096);
    case 2: return 0u - below(4);
    case 3: return (below(1 << 16) << 16) | below(1 << 16);
    default: return below(5);
  }
}

static uint64_t some_pointer(void) {
  switch (below(10)) {
    case 0: return 0;
    case 1: return 0xffffffff81000000u + ((uint64_t)0xffffffff << 32); /* the kernel's */
    case 2: return (uintptr_t)argument + ARGUMENT_BYTES - 8;           /* soon at an end */
    case 3: return 0x7ffffffff000u - below(64);
    case 4: return (uint64_t)some_word() << 32 | some_word();
    default: return (uintptr_t)nested + 8 * below(64);
  }
}

static void fill(uint8_t *to, size_t bytes) {
  for (size_t at = 0; at + 4 <= bytes; at += 4) {
    uint32_t word = some_word();
    memcpy(to + at, &word, sizeof word);
  }
  for (size_t at = 0; at + 8 <= bytes; at += 8) {
    if (below(6) != 0) continue;
    uint64_t pointer = some_pointer();
    memcpy(to + at, &pointer, sizeof pointer);
  }
}

/* What a program asks that wants frames: without it, little of a driver is reached. */
static void do_sensibly(int fd) {
  struct v4l2_buffer buffer = buffer_named(below(BUFFERS));
  int type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
  switch (below(7)) {
    case 0: return note(request_buffers(fd, below(BUFFERS + 1)));
    case 1:
      last_buffer = buffer;
      return note(ioctl(fd, VIDIOC_QUERYBUF, &last_buffer));
    case 2: return note(ioctl(fd, VIDIOC_QBUF, &buffer));
    case 3: return note(ioctl(fd, VIDIOC_DQBUF, &buffer));
    case 4: return note(ioctl(fd, VIDIOC_STREAMON, &type));
    case 5: return note(ioctl(fd, VIDIOC_STREAMOFF, &type));
    default: return note(set_format(fd, 320, 180, V4L2_PIX_FMT_YUYV));
  }
}

static void do_ioctl(void) {
  const int fd = some_file();
  if (below(2) == 0) return do_sensibly(fd);
  const uint32_t command = below(32) == 0 ? (uint32_t)some_word() << 16 | some_word() : commands[below(command_count)];
  fill(argument, 512);
  fill(nested, 512);
  uint64_t at = below(12) == 0 ? some_pointer() : (uintptr_t)argument;
  note(ioctl(fd, command, at));
}

static void do_mmap(void) {
  static const int rights[] = {PROT_READ | PROT_WRITE, PROT_READ, PROT_WRITE, PROT_NONE, PROT_READ | PROT_EXEC};
  const bool is_sensible = below(4) != 0;
  const size_t bytes = is_sensible && last_buffer.length != 0 ? last_buffer.length : below(64) * 4096u;
  const off_t offset = is_sensible ? last_buffer.m.offset : (off_t)some_word() * 4096;
  void *at = mmap(NULL, bytes, rights[below(COUNT(rights))], below(8) == 0 ? MAP_PRIVATE : MAP_SHARED, some_file(), offset);
  note(at == MAP_FAILED ? -1 : 0);
  if (at == MAP_FAILED) return;
  if (mapping_count < MAPPINGS_MAX) mappings[mapping_count].at = at, mappings[mapping_count++].bytes = bytes;
  else munmap(at, bytes);
}

/* Its first page by way of the kernel, so that a fault is an errno. */
static void do_touch(void) {
  if (mapping_count == 0) return;
  int ends[2];
  const unsigned which = below(mapping_count);
  if (pipe(ends) != 0) return;
  note(write(ends[1], mappings[which].at, 64));
  close(ends[0]), close(ends[1]);
}

static void do_munmap(void) {
  if (mapping_count == 0) return;
  const unsigned which = below(mapping_count);
  note(munmap(mappings[which].at, mappings[which].bytes));
  mappings[which] = mappings[--mapping_count];
}

static void do_poll(void) {
  struct pollfd polled[2] = {{some_file(), (short)below(64), 0}, {some_file(), POLLIN | POLLPRI, 0}};
  note(poll(polled, 2, (int)below(10)));
}

static void do_dup(void) {
  const int fd = some_file();
  keep_file(below(3) != 0 ? dup(fd) : fcntl(fd, F_DUPFD_CLOEXEC, 900 + (int)below(200)));
}

static void do_close(void) {
  if (file_count == 0) return;
  const unsigned which = below(file_count);
  note(close(files[which]));
  files[which] = files[--file_count];
}

static void live(unsigned operations, unsigned generation);

/* A child has its parent's files and mappings, and a seed of its own; sometimes nobody waits for it, sometimes it is killed. */
static void do_fork(unsigned generation) {
  const uint64_t seed = (uint64_t)below(1u << 30) << 20 | below(1u << 20) | 1;
  const unsigned fate = below(4), operations = 4 + below(12);
  if (generation >= 2) return;
  const pid_t child = fork();
  note(child);
  if (child == 0) {
    lot = seed;
    live(operations, generation + 1);
    _exit(0);
  }
  if (child < 0 || fate == 0) return;
  if (fate == 1) kill(child, SIGKILL);
  while (waitpid(child, NULL, 0) < 0 && errno == EINTR) {
  }
}

static void interrupted(int signal) { (void)signal; }

static void live(unsigned operations, unsigned generation) {
  const struct itimerval interval = {{0, INTERRUPTION_US}, {0, INTERRUPTION_US}};
  setitimer(ITIMER_REAL, &interval, NULL);
  for (unsigned i = 0; i < operations; i++) {
    const unsigned which = file_count == 0 ? 0 : below(32);
    if (which < 2) do_open();
    else if (which < 20) do_ioctl();
    else if (which < 23) do_mmap();
    else if (which == 23) do_touch();
    else if (which == 24) do_munmap();
    else if (which == 25) note(read(some_file(), nested, below(ARGUMENT_BYTES)));
    else if (which == 26) note(write(some_file(), nested, below(ARGUMENT_BYTES)));
    else if (which < 29) do_poll();
    else if (which == 29) do_dup();
    else if (which == 30) do_close();
    else do_fork(generation);
  }
}

static void read_commands(char *list) {
  for (char *text = strtok(list, ","); text != NULL && command_count < COMMANDS_MAX; text = strtok(NULL, ","))
    commands[command_count++] = (uint32_t)strtoul(text, NULL, 16);
}

static int stream_honestly(void) {
  struct video video = open_mapped(BUFFERS);
  start_stream(&video);
  for (int frame = 0; frame < HONEST_FRAMES; frame++) {
    struct v4l2_buffer buffer;
    if (dequeue(video.fd, &buffer) < 0 || enqueue(video.fd, buffer.index) != 0) return 1;
  }
  say("frames: %d", HONEST_FRAMES);
  return 0;
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "honest") == 0) return stream_honestly();
  if (argc < 5) return 2;
  lot = strtoull(argv[1], NULL, 10) * 0x9e3779b97f4a7c15ull | 1;
  read_commands(argv[3]);
  nodes = argv + 4;
  node_count = (unsigned)argc - 4;
  if (command_count == 0) return 2;
  const struct sigaction action = {.sa_handler = interrupted};
  sigaction(SIGALRM, &action, NULL);
  live((unsigned)strtoul(argv[2], NULL, 10), 0);
  say("operations: %u, succeeded: %u", operations_done, operations_succeeded);
  return 0;
}
