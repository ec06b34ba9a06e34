/* Input latency: one program makes a device and sends events, which say when they were sent; another one reads them.
 * Usage: latency make INTERVAL_US: makes a device by /dev/uinput and sends an event each INTERVAL_US until it gets SIGTERM; then it prints
 *        `write NS` (the median of what sending took).
 *        latency read DEVICE EVENTS: prints `median NS p99 NS` of what passed from sending to having read.
 * Both must have the same clock. */
#include <fcntl.h>
#include <linux/input.h>
#include <linux/uinput.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "timing.h"

enum { EVENTS_MAX = 1 << 16, WARM_UP = 10 };
/* An event has 32 bits for its value, of which one is the sign: time in nanoseconds, modulo two seconds. */
#define CLOCK_MASK 0x7fffffffu

static double samples[EVENTS_MAX];
static volatile sig_atomic_t is_over;

static void end(int number) {
  (void)number;
  is_over = 1;
}

static void must(int holds, const char *what) {
  if (holds) return;
  perror(what);
  exit(1);
}

static uint32_t clock_word(void) { return (uint32_t)((uint64_t)timing_now() & CLOCK_MASK); }

static int make_device(void) {
  const int device = open("/dev/uinput", O_RDWR);
  must(device >= 0, "/dev/uinput");
  must(ioctl(device, UI_SET_EVBIT, EV_MSC) == 0 && ioctl(device, UI_SET_MSCBIT, MSC_RAW) == 0, "UI_SET_MSCBIT");
  struct uinput_setup setup = {.id = {.bustype = BUS_VIRTUAL}, .name = "latency"};
  must(ioctl(device, UI_DEV_SETUP, &setup) == 0 && ioctl(device, UI_DEV_CREATE) == 0, "UI_DEV_CREATE");
  return device;
}

static void make(useconds_t interval_us) {
  const struct sigaction action = {.sa_handler = end};
  must(sigaction(SIGTERM, &action, NULL) == 0, "sigaction");
  const int device = make_device();
  int count = 0;
  while (!is_over) {
    usleep(interval_us);
    const double began = timing_now();
    struct input_event events[] = {{.type = EV_MSC, .code = MSC_RAW, .value = (int32_t)clock_word()}, {.type = EV_SYN}};
    const ssize_t written = write(device, events, sizeof events);
    if (is_over) break;
    must(written == sizeof events, "write");
    samples[count++ % EVENTS_MAX] = timing_now() - began;
  }
  if (count > EVENTS_MAX) count = EVENTS_MAX;
  must(count > 0, "no event was sent");
  qsort(samples, (size_t)count, sizeof *samples, timing_compare);
  printf("write %.1f\n", samples[count / 2]);
}

static void take(const char *path, int wanted) {
  const int device = open(path, O_RDONLY);
  must(device >= 0, path);
  for (int count = -WARM_UP; count < wanted;) {
    struct input_event event;
    must(read(device, &event, sizeof event) == sizeof event, "read");
    if (event.type != EV_MSC) continue;
    const uint32_t passed = (clock_word() - (uint32_t)event.value) & CLOCK_MASK;
    if (count >= 0) samples[count] = passed;
    count++;
  }
  qsort(samples, (size_t)wanted, sizeof *samples, timing_compare);
  printf("median %.1f p99 %.1f\n", samples[wanted / 2], samples[wanted * 99 / 100]);
}

int main(int argc, char **argv) {
  if (argc == 3 && strcmp(argv[1], "make") == 0) {
    make((useconds_t)atoi(argv[2]));
    return 0;
  }
  const int wanted = argc == 4 && strcmp(argv[1], "read") == 0 ? atoi(argv[3]) : 0;
  if (wanted < 1 || wanted > EVENTS_MAX) return 2;
  take(argv[2], wanted);
  return 0;
}
