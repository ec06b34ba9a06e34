/* A guest of the soak: it repeats one kind of work until its standard input ends, opens its device anew whenever it has gone, and for
 * each line on its standard input prints what it did since the last one:
 *   report OPERATIONS FAILED LOST LATE MEDIAN_US P99_US
 * LOST counts how often the device went, which must show as ENODEV; LATE, how often a driver said that its hardware or this program was late;
 * whatever else fails is printed as `failed WHAT ERRNO` and counted.
 * Usage: worker KIND [ROUNDS]: after so many rounds it ends by itself. */
#include "../guests/pty.h"
#include "../guests/video.h"

#include <linux/input.h>
#include <sound/asound.h>

/* What is kept of the times between two reports; of more, the latest. */
#define TIMES_MAX 65536u
/* Said in full; what follows is only counted. */
#define FAILURES_SAID 20u
/* Between two rounds, so that two processors have room for every guest; longer where a round is a whole stream or process. */
#define PAUSE_MS 2u
#define LONG_PAUSE_MS 40u
/* How long a guest that waits for its device keeps its host waiting for a report. */
#define WAIT_MS 200
#define KEYBOARD "/dev/input/event1"
#define PLAYBACK "/dev/snd/pcmC0D0p"
#define RATE 48000u
#define PERIOD_FRAMES 480u
#define PERIODS 8u
/* After so long without a period ALSA gives a write up with EIO (wait_for_avail in the kernel's sound/core/pcm_lib.c): a VM that gets no
 * processor for as long has had none. */
#define PERIOD_PATIENCE_US 100e3

static struct {
  double times[TIMES_MAX];
  unsigned long timed, operations, failed, lost, late;
} seen;
/* Whether the device has gone, so that it must be opened anew; and whether it has been there since it went last. */
static bool is_gone, was_there;

static double now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

/* Counts one operation; what fails otherwise than by a device that has gone is a failure. */
static bool worked(const char *what, long result) {
  seen.operations++;
  if (result >= 0) return was_there = true;
  if (errno == ENODEV) is_gone = true;
  else if (seen.failed++ < FAILURES_SAID) say("failed %s %s", what, strerrorname_np(errno));
  return false;
}

/* The same, timed. */
#define TIMED(call)                                             \
  ({                                                            \
    double timed_began = now_us();                              \
    long timed_result = (long)(call);                           \
    int timed_errno = errno;                                    \
    seen.times[seen.timed++ % TIMES_MAX] = now_us() - timed_began; \
    errno = timed_errno;                                        \
    worked(#call, timed_result);                                \
  })

static int device = -1, master = -1, slave = -1;
static struct {
  void *bytes;
  size_t length;
} mapped[BUFFERS];

static void unmap_all(void) {
  for (unsigned i = 0; i < BUFFERS; i++)
    if (mapped[i].bytes) munmap(mapped[i].bytes, mapped[i].length);
  memset(mapped, 0, sizeof mapped);
}

static bool map_buffers(int fd) {
  if (!worked("S_FMT", set_format(fd, 320, 180, V4L2_PIX_FMT_YUYV))) return false;
  int count = request_buffers(fd, BUFFERS);
  if (!worked("REQBUFS", count)) return false;
  for (unsigned i = 0; i < (unsigned)count && i < BUFFERS; i++) {
    struct v4l2_buffer buffer = buffer_named(i);
    if (!worked("QUERYBUF", ioctl(fd, VIDIOC_QUERYBUF, &buffer))) return false;
    void *bytes = mmap(NULL, buffer.length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, buffer.m.offset);
    if (!worked("mmap", bytes == MAP_FAILED ? -1 : 0)) return false;
    mapped[i].bytes = bytes;
    mapped[i].length = buffer.length;
    ((volatile char *)bytes)[buffer.length - 1] = (char)i;
  }
  return true;
}

static bool open_device(const char *path, int flags) {
  device = open(path, flags);
  return worked(path, device);
}

/* A stream of frames. */
static bool camera_begin(void) {
  if (!open_device(CAPTURE_NODE, O_RDWR) || !map_buffers(device)) return false;
  for (unsigned i = 0; i < BUFFERS; i++)
    if (!worked("QBUF", enqueue(device, i))) return false;
  return worked("STREAMON", stream(device, true));
}

static bool camera_round(void) {
  struct v4l2_buffer buffer;
  struct v4l2_control control = {.id = V4L2_CID_BRIGHTNESS};
  if (!worked("DQBUF", dequeue(device, &buffer))) return false;
  return TIMED(enqueue(device, buffer.index)) && TIMED(ioctl(device, VIDIOC_G_CTRL, &control));
}

/* Mappings that come and go. */
static bool nothing_to_begin(void) { return true; }

static bool mapper_round(void) {
  double began = now_us();
  bool done = open_device(CAPTURE_NODE, O_RDWR) && map_buffers(device);
  unmap_all();
  if (device >= 0) close(device);
  device = -1;
  seen.times[seen.timed++ % TIMES_MAX] = now_us() - began;
  return done;
}

/* Files that come and go. */
static bool opener_round(void) {
  struct v4l2_capability capability;
  if (!TIMED(device = open(CAPTURE_NODE, O_RDWR))) return false;
  bool done = TIMED(ioctl(device, VIDIOC_QUERYCAP, &capability));
  close(device);
  device = -1;
  return done;
}

/* Processes that come and go, each with a file of its own. */
static bool forker_round(void) {
  double began = now_us();
  pid_t child = (pid_t)MUST(fork());
  if (child == 0) {
    int fd = open(CAPTURE_NODE, O_RDWR);
    struct v4l2_capability capability;
    if (fd < 0 || ioctl(fd, VIDIOC_QUERYCAP, &capability) != 0) _exit(errno);
    _exit(0);
  }
  int status;
  MUST(waitpid(child, &status, 0));
  seen.times[seen.timed++ % TIMES_MAX] = now_us() - began;
  errno = WIFEXITED(status) ? WEXITSTATUS(status) : ECHILD;
  return worked("a child's open", errno == 0 ? 0 : -1);
}

static struct snd_interval exactly(unsigned value) { return (struct snd_interval){.min = value, .max = value, .integer = 1}; }

static void choose(struct snd_pcm_hw_params *params, int mask, unsigned bit) {
  struct snd_mask *chosen = &params->masks[mask - SNDRV_PCM_HW_PARAM_FIRST_MASK];
  memset(chosen, 0, sizeof *chosen);
  chosen->bits[bit / 32] = 1u << (bit % 32);
}

static void set_interval(struct snd_pcm_hw_params *params, int parameter, unsigned value) {
  params->intervals[parameter - SNDRV_PCM_HW_PARAM_FIRST_INTERVAL] = exactly(value);
}

static bool set_sound(int fd) {
  struct snd_pcm_hw_params params;
  memset(&params, 0, sizeof params);
  memset(params.masks, 0xff, sizeof params.masks);
  for (unsigned i = 0; i < COUNT(params.intervals); i++) params.intervals[i].max = ~0u;
  params.rmask = ~0u;
  choose(&params, SNDRV_PCM_HW_PARAM_ACCESS, (unsigned)SNDRV_PCM_ACCESS_RW_INTERLEAVED);
  choose(&params, SNDRV_PCM_HW_PARAM_FORMAT, (unsigned)SNDRV_PCM_FORMAT_S16_LE);
  choose(&params, SNDRV_PCM_HW_PARAM_SUBFORMAT, (unsigned)SNDRV_PCM_SUBFORMAT_STD);
  set_interval(&params, SNDRV_PCM_HW_PARAM_CHANNELS, 2);
  set_interval(&params, SNDRV_PCM_HW_PARAM_RATE, RATE);
  set_interval(&params, SNDRV_PCM_HW_PARAM_PERIOD_SIZE, PERIOD_FRAMES);
  set_interval(&params, SNDRV_PCM_HW_PARAM_PERIODS, PERIODS);
  return worked("HW_PARAMS", ioctl(fd, SNDRV_PCM_IOCTL_HW_PARAMS, &params));
}

/* What a write to a sound card that failed means: after EPIPE it has run dry and must begin again, after EIO that took ALSA's patience it goes on. */
static bool play_on(int error, double took_us) {
  const bool is_dry = error == EPIPE, is_starved = error == EIO && took_us >= PERIOD_PATIENCE_US;
  if (is_dry || is_starved) seen.late++;
  if (is_dry) return worked("PREPARE", ioctl(device, SNDRV_PCM_IOCTL_PREPARE));
  errno = error;
  return is_starved || worked("WRITEI_FRAMES", -1);
}

/* Sound that is played, however late the machine is. */
static bool sound_begin(void) {
  return open_device(PLAYBACK, O_RDWR) && set_sound(device) && worked("PREPARE", ioctl(device, SNDRV_PCM_IOCTL_PREPARE));
}

static bool sound_round(void) {
  static int16_t frames[PERIOD_FRAMES][2];
  struct snd_xferi transfer = {.buf = frames, .frames = PERIOD_FRAMES};
  struct snd_pcm_status status = {0};
  double began = now_us();
  if (ioctl(device, SNDRV_PCM_IOCTL_WRITEI_FRAMES, &transfer) != 0) return play_on(errno, now_us() - began);
  return TIMED(ioctl(device, SNDRV_PCM_IOCTL_STATUS, &status));
}

/* Keys that the host presses. */
static bool input_begin(void) { return open_device(KEYBOARD, O_RDONLY); }

static bool input_round(void) {
  struct input_event events[16];
  struct pollfd ready = {.fd = device, .events = POLLIN};
  int count = poll(&ready, 1, WAIT_MS);
  if (count < 0) return worked("poll", -1);
  if (count == 0) return true;
  return TIMED(read(device, events, sizeof events));
}

/* A terminal's calls, one after the other; with the fast frontend, where the host says so. */
static bool terminal_begin(void) {
  open_pair(&master, &slave);
  return true;
}

static bool terminal_round(void) {
  struct winsize size;
  char text[8];
  for (int i = 0; i < 8; i++)
    if (!TIMED(ioctl(slave, TIOCGWINSZ, &size))) return false;
  return TIMED(write(slave, "soaking", 7)) && TIMED(read(master, text, sizeof text));
}

static bool pairs_round(void) {
  double began = now_us();
  open_pair(&master, &slave);
  close(slave);
  close(master);
  seen.times[seen.timed++ % TIMES_MAX] = now_us() - began;
  return worked("a pair", 0);
}

/* A thread that sleeps in a read, and one that polls for its answer. */
static void *answer(void *unused) {
  char byte;
  while (read(slave, &byte, 1) == 1 && write(slave, &byte, 1) == 1) continue;
  return unused;
}

static bool poller_begin(void) {
  open_pair(&master, &slave);
  start(answer, NULL);
  return true;
}

static bool poller_round(void) {
  char byte = 'p';
  struct pollfd ready = {.fd = master, .events = POLLIN};
  double began = now_us();
  if (!worked("write", write(master, &byte, 1))) return false;
  int count;
  while ((count = poll(&ready, 1, 5000)) < 0 && errno == EINTR) continue;
  if (count == 0) errno = ETIME;
  if (!worked("poll", count == 1 ? 0 : -1) || !worked("read", read(master, &byte, 1))) return false;
  seen.times[seen.timed++ % TIMES_MAX] = now_us() - began;
  return true;
}

static const struct kind {
  const char *name;
  bool (*begin)(void), (*round)(void);
  unsigned pause_ms;
} kinds[] = {
    {"camera", camera_begin, camera_round, PAUSE_MS},
    {"mapper", nothing_to_begin, mapper_round, LONG_PAUSE_MS},
    {"opener", nothing_to_begin, opener_round, PAUSE_MS},
    {"forker", nothing_to_begin, forker_round, LONG_PAUSE_MS},
    {"sound", sound_begin, sound_round, PAUSE_MS},
    {"input", input_begin, input_round, PAUSE_MS},
    {"terminal", terminal_begin, terminal_round, PAUSE_MS},
    {"pairs", nothing_to_begin, pairs_round, PAUSE_MS},
    {"poller", poller_begin, poller_round, PAUSE_MS},
};

static int compare(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void report(void) {
  size_t kept = seen.timed < TIMES_MAX ? seen.timed : TIMES_MAX;
  qsort(seen.times, kept, sizeof *seen.times, compare);
  double median = kept ? seen.times[kept / 2] : 0, p99 = kept ? seen.times[kept * 99 / 100] : 0;
  say("report %lu %lu %lu %lu %.1f %.1f", seen.operations, seen.failed, seen.lost, seen.late, median, p99);
  seen.timed = seen.operations = seen.failed = seen.lost = seen.late = 0;
}

/* Reports when it is asked to; whether it is told to end. */
static bool should_end(void) {
  struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
  char byte;
  while (poll(&input, 1, 0) == 1) {
    if (read(STDIN_FILENO, &byte, 1) != 1) return true;
    if (byte == '\n') report();
  }
  return false;
}

static void let_go(void) {
  unmap_all();
  if (device >= 0) close(device);
  device = -1;
  if (is_gone && was_there) seen.lost++;
  is_gone = was_there = false;
  pause_ms(PAUSE_MS);
}

int main(int argc, char **argv) {
  const struct kind *kind = NULL;
  for (size_t i = 0; argc > 1 && i < COUNT(kinds); i++)
    if (strcmp(argv[1], kinds[i].name) == 0) kind = &kinds[i];
  if (!kind) {
    fprintf(stderr, "usage: worker KIND [ROUNDS]\n");
    return 2;
  }
  unsigned long wanted = argc > 2 ? strtoul(argv[2], NULL, 10) : ~0ul, rounds = 0;
  while (rounds < wanted && !should_end()) {
    bool goes_on = kind->begin();
    while (goes_on && rounds++ < wanted && !should_end()) {
      goes_on = kind->round();
      pause_ms(kind->pause_ms);
    }
    if (!goes_on) let_go();
  }
  report();
  return 0;
}
