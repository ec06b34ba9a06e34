/* One ioctl, many times. The same binary runs natively, as a guest and beside the driver.
 * Usage: noop DEVICE COMMAND ROUNDS [ERRNO]
 * ERRNO: the command is refused with it.
 * Prints one line: `median NS p99 NS`. */
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>

#include "timing.h"

static int device;
static unsigned long command;
static int expected;

static void call(void *argument) {
  if (ioctl(device, command, argument) == 0 ? expected == 0 : errno == expected) return;
  perror("noop: ioctl");
  exit(1);
}

int main(int argc, char **argv) {
  static char argument[4096];
  if (argc < 4 || argc > 5) return 2;
  if (argc == 5) expected = atoi(argv[4]);
  device = open(argv[1], O_RDWR | O_NOCTTY);
  if (device < 0) {
    perror(argv[1]);
    return 1;
  }
  command = strtoul(argv[2], NULL, 0);
  timing_report(call, argument, atoi(argv[3]));
  return 0;
}
