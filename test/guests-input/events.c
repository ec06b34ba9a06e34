/* Reads an input device in each way there is, and asks it what evtest doesn't. Prints the same as a guest and beside the driver. */
#include <errno.h>
#include <fcntl.h>
#include <linux/input.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define EVENTS_AT_ONCE 16

static const char *name_of(int error) { return error == 0 ? "ok" : strerrorname_np(error); }

static void show(const char *what, long result) {
  printf("%s: %ld %s\n", what, result, name_of(result < 0 ? errno : 0));
  fflush(stdout);
}

/* Prints the keys that one read gives: the console sets the lights when it likes. Returns 1 after the key that ends the test has been let go, -1 when the read failed. */
static int take(int device) {
  struct input_event events[EVENTS_AT_ONCE];
  ssize_t bytes = read(device, events, sizeof events);
  if (bytes < 0) return -1;
  int is_over = 0;
  for (size_t i = 0; i < (size_t)bytes / sizeof *events; i++) {
    if (events[i].type != EV_KEY) continue;
    printf("%u %u %d\n", events[i].type, events[i].code, events[i].value);
    if (events[i].code == KEY_F12 && events[i].value == 0) is_over = 1;
  }
  fflush(stdout);
  return is_over;
}

static void blocking(int device) {
  show("ready", 0);
  int result;
  while ((result = take(device)) == 0) continue;
  if (result < 0) show("read", result);
}

static void polled(int device) {
  struct pollfd question = {.fd = device, .events = POLLIN | POLLOUT};
  poll(&question, 1, 0);
  printf("at rest 0x%x\n", question.revents);
  show("read", take(device));
  show("ready", 0);
  question.events = POLLIN;
  for (int is_over = 0; is_over != 1;) {
    poll(&question, 1, -1);
    while ((is_over = take(device)) == 0) continue;
  }
  printf("afterwards %d\n", poll(&question, 1, 0));
}

static void by_signal(int device) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGIO);
  sigprocmask(SIG_BLOCK, &set, NULL);
  show("F_SETOWN", fcntl(device, F_SETOWN, getpid()));
  show("O_ASYNC", fcntl(device, F_SETFL, fcntl(device, F_GETFL) | O_ASYNC | O_NONBLOCK));
  show("ready", 0);
  int is_over = 0, number;
  while (is_over != 1) {
    sigwait(&set, &number);
    if (number == SIGIO)
      while ((is_over = take(device)) == 0) continue;
  }
  printf("signals came\n");
}

static void grabbed(int device) {
  show("EVIOCGRAB", ioctl(device, EVIOCGRAB, 1));
  blocking(device);
  show("EVIOCGRAB 0", ioctl(device, EVIOCGRAB, 0));
}

static void contend(int device) { show("EVIOCGRAB", ioctl(device, EVIOCGRAB, 1)); }

static void ask_sizes(int device) {
  char name[64];
  memset(name, '.', sizeof name);
  show("EVIOCGNAME(8)", ioctl(device, EVIOCGNAME(8), name));
  printf("%.12s\n", name);
  memset(name, '.', sizeof name);
  show("EVIOCGNAME(63)", ioctl(device, EVIOCGNAME(63), name));
  printf("%s %c\n", name, name[62]);
  unsigned char bits[128] = {0};
  show("EVIOCGBIT(0)", ioctl(device, EVIOCGBIT(0, sizeof bits), bits));
  printf("%02x %02x %02x\n", bits[0], bits[1], bits[2]);
  int slots[4] = {ABS_MT_POSITION_X};
  show("EVIOCGMTSLOTS", ioctl(device, EVIOCGMTSLOTS(sizeof slots), slots));
  show("EVIOCGNAME elsewhere", ioctl(device, EVIOCGNAME(64), (void *)8));
}

static void ask_masks(int device) {
  unsigned char keys[KEY_CNT / 8] = {0}, told[KEY_CNT / 8 + 8];
  struct input_mask mask = {.type = EV_KEY, .codes_size = sizeof keys, .codes_ptr = (unsigned long)keys};
  keys[KEY_F12 / 8] = 1 << KEY_F12 % 8;
  show("EVIOCSMASK", ioctl(device, EVIOCSMASK, &mask));
  memset(told, 0xaa, sizeof told);
  mask.codes_size = sizeof told;
  mask.codes_ptr = (unsigned long)told;
  show("EVIOCGMASK", ioctl(device, EVIOCGMASK, &mask));
  printf("%d %02x\n", memcmp(keys, told, sizeof keys), told[sizeof told - 1]);
  mask.codes_ptr = 8;
  show("EVIOCGMASK elsewhere", ioctl(device, EVIOCGMASK, &mask));
}

static void ask_rest(int device) {
  struct input_keymap_entry entry = {.len = 4, .scancode = {KEY_A}};
  show("EVIOCGKEYCODE_V2", ioctl(device, EVIOCGKEYCODE_V2, &entry));
  struct input_absinfo axis;
  show("EVIOCGABS", ioctl(device, EVIOCGABS(ABS_X), &axis));
  int clock = CLOCK_MONOTONIC, effects = -1, wrong = 99;
  show("EVIOCSCLOCKID", ioctl(device, EVIOCSCLOCKID, &clock));
  show("EVIOCSCLOCKID wrong", ioctl(device, EVIOCSCLOCKID, &wrong));
  show("EVIOCGEFFECTS", ioctl(device, EVIOCGEFFECTS, &effects));
  struct input_event light[] = {{.type = EV_LED, .code = LED_CAPSL, .value = 1}, {.type = EV_SYN}};
  show("light", write(device, light, sizeof light));
  unsigned char lights = 0;
  show("EVIOCGLED", ioctl(device, EVIOCGLED(1), &lights));
  printf("lights %x\n", lights);
}

/* The mask lets nothing but the last key through. */
static void ask(int device) {
  ask_sizes(device);
  ask_rest(device);
  ask_masks(device);
  blocking(device);
  show("EVIOCREVOKE wrong", ioctl(device, EVIOCREVOKE, 1));
  show("EVIOCREVOKE", ioctl(device, EVIOCREVOKE, 0));
  show("read", take(device));
}

/* Writes a key as if the device had sent it; with a light before it in the same write. */
static void inject(int device) {
  struct input_event events[] = {{.type = EV_LED, .code = LED_NUML, .value = 1}, {.type = EV_KEY, .code = KEY_Q, .value = 1}};
  show("inject", write(device, events, sizeof events));
}

int main(int count, char **arguments) {
  static const struct {
    const char *name;
    void (*run)(int);
    int flags;
  } ways[] = {{"blocking", blocking, 0}, {"polled", polled, O_NONBLOCK}, {"sigio", by_signal, 0}, {"grabbed", grabbed, 0},
              {"contend", contend, 0},   {"ask", ask, 0},                {"inject", inject, 0}};
  int device = -1;
  for (size_t i = 0; count == 3 && i < sizeof ways / sizeof *ways; i++) {
    if (strcmp(arguments[1], ways[i].name) != 0) continue;
    device = open(arguments[2], O_RDWR | ways[i].flags);
    if (device >= 0) ways[i].run(device);
  }
  if (device >= 0) return EXIT_SUCCESS;
  fprintf(stderr, "usage: events WAY DEVICE (%s)\n", strerror(errno));
  return EXIT_FAILURE;
}
