/* A device with force feedback that a program makes (`device`), and a program that has it play an effect (`effect DEVICE`). */
#include <errno.h>
#include <fcntl.h>
#include <linux/uinput.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define EFFECTS_MAX 4

static int check(int result, const char *what) {
  if (result >= 0) return result;
  printf("%s: %s\n", what, strerror(errno));
  exit(EXIT_FAILURE);
}

static int make(void) {
  int device = check(open("/dev/uinput", O_RDWR), "open");
  struct uinput_setup setup = {.id = {.bustype = BUS_VIRTUAL, .vendor = 1, .product = 2}, .ff_effects_max = EFFECTS_MAX};
  struct uinput_abs_setup axis = {.code = ABS_X, .absinfo = {.minimum = -5, .maximum = 5}};
  /* Longer than the kernel takes. */
  char path[1200];
  memset(path, 'p', sizeof path);
  path[1100] = 0;
  strcpy(setup.name, "joystick");
  check(ioctl(device, UI_SET_EVBIT, EV_KEY), "UI_SET_EVBIT");
  check(ioctl(device, UI_SET_KEYBIT, BTN_TRIGGER), "UI_SET_KEYBIT");
  check(ioctl(device, UI_SET_EVBIT, EV_FF), "UI_SET_EVBIT");
  check(ioctl(device, UI_SET_FFBIT, FF_RUMBLE), "UI_SET_FFBIT");
  check(ioctl(device, UI_SET_FFBIT, FF_GAIN), "UI_SET_FFBIT");
  check(ioctl(device, UI_SET_FFBIT, FF_PERIODIC), "UI_SET_FFBIT");
  check(ioctl(device, UI_SET_FFBIT, FF_SINE), "UI_SET_FFBIT");
  printf("device: long path %d\n", ioctl(device, UI_SET_PHYS, path));
  check(ioctl(device, UI_SET_PHYS, "below/the/desk"), "UI_SET_PHYS");
  check(ioctl(device, UI_DEV_SETUP, &setup), "UI_DEV_SETUP");
  check(ioctl(device, UI_ABS_SETUP, &axis), "UI_ABS_SETUP");
  check(ioctl(device, UI_DEV_CREATE), "UI_DEV_CREATE");
  return device;
}

static void upload(int device, int request) {
  struct uinput_ff_upload data = {.request_id = (unsigned)request};
  check(ioctl(device, UI_BEGIN_FF_UPLOAD, &data), "UI_BEGIN_FF_UPLOAD");
  printf("device: upload of effect %d, type %x, replay %d, strong %d\n", data.effect.id, data.effect.type, data.effect.replay.length,
         data.effect.u.rumble.strong_magnitude);
  data.retval = data.effect.replay.length > 1000 ? -EINVAL : 0;
  check(ioctl(device, UI_END_FF_UPLOAD, &data), "UI_END_FF_UPLOAD");
}

static void erase(int device, int request) {
  struct uinput_ff_erase data = {.request_id = (unsigned)request};
  check(ioctl(device, UI_BEGIN_FF_ERASE, &data), "UI_BEGIN_FF_ERASE");
  printf("device: erasure of effect %u\n", data.effect_id);
  data.retval = 0;
  check(ioctl(device, UI_END_FF_ERASE, &data), "UI_END_FF_ERASE");
}

static int run_device(void) {
  int device = make();
  char name[64] = "";
  check(ioctl(device, UI_GET_SYSNAME(sizeof name), name), "UI_GET_SYSNAME");
  printf("device: made %s\n", name);
  struct input_event press[] = {{.type = EV_KEY, .code = BTN_TRIGGER, .value = 1}, {.type = EV_SYN}};
  /* The user says by a gain that it is done: an erasure whose device goes before it has returned is an error to it. */
  for (int done = 0; !done;) {
    struct input_event event;
    fflush(stdout);
    check((int)read(device, &event, sizeof event), "read");
    if (event.type == EV_UINPUT && event.code == UI_FF_UPLOAD) upload(device, event.value);
    if (event.type == EV_UINPUT && event.code == UI_FF_ERASE) erase(device, event.value);
    if (event.type == EV_FF && event.code == FF_GAIN) {
      printf("device: gain %d\n", event.value);
      done = 1;
    } else if (event.type == EV_FF) {
      printf("device: effect %u plays %d\n", event.code, event.value);
      check((int)write(device, press, sizeof press), "write");
    }
  }
  check(ioctl(device, UI_DEV_DESTROY), "UI_DEV_DESTROY");
  return EXIT_SUCCESS;
}

static int run_effect(const char *path) {
  int device = check(open(path, O_RDWR), path), most = 0;
  char where[32] = "";
  check(ioctl(device, EVIOCGPHYS(sizeof where), where), "EVIOCGPHYS");
  check(ioctl(device, EVIOCGEFFECTS, &most), "EVIOCGEFFECTS");
  printf("effect: %s, %d effects\n", where, most);
  struct ff_effect effect = {.type = FF_RUMBLE, .id = -1, .replay = {.length = 500}, .u.rumble = {.strong_magnitude = 4711}};
  struct ff_effect wave = {.type = FF_PERIODIC, .id = -1, .u.periodic = {.waveform = FF_CUSTOM, .custom_len = 4}};
  short samples[4] = {0};
  struct ff_effect unwanted = {.type = FF_RUMBLE, .id = -1, .replay = {.length = 5000}};
  wave.u.periodic.custom_data = samples;
  check(ioctl(device, EVIOCSFF, &effect), "EVIOCSFF");
  printf("effect: it is %d\n", effect.id);
  printf("effect: custom wave %d\n", ioctl(device, EVIOCSFF, &wave));
  printf("effect: its samples stay where they are: %d\n", wave.u.periodic.custom_data == samples);
  printf("effect: unwanted %d\n", ioctl(device, EVIOCSFF, &unwanted));
  struct input_event play = {.type = EV_FF, .code = (unsigned short)effect.id, .value = 3}, event = {0};
  check((int)write(device, &play, sizeof play), "write");
  do check((int)read(device, &event, sizeof event), "read");
  while (event.type != EV_KEY);
  printf("effect: key %x %d\n", event.code, event.value);
  check(ioctl(device, EVIOCRMFF, effect.id), "EVIOCRMFF");
  struct input_event gain = {.type = EV_FF, .code = FF_GAIN, .value = 100};
  check((int)write(device, &gain, sizeof gain), "write");
  return EXIT_SUCCESS;
}

int main(int count, char **arguments) {
  if (count == 2 && strcmp(arguments[1], "device") == 0) return run_device();
  if (count == 3 && strcmp(arguments[1], "effect") == 0) return run_effect(arguments[2]);
  fprintf(stderr, "usage: feedback device | feedback effect DEVICE\n");
  return EXIT_FAILURE;
}
