/* One ioctl, many times. The same binary runs natively, as a guest and beside the driver.
 * Usage: noop DEVICE COMMAND ROUNDS
 * Prints one line: `median NS p99 NS`. */
#include <fcntl.h>
#include <sys/ioctl.h>

#include "timing.h"

static int device;
static unsigned long command;

static void call(void *argument) {
  if (ioctl(device, command, argument) == 0) return;
  perror("noop: ioctl");
  exit(1);
}

int main(int argc, char **argv) {
  static char argument[4096];
  if (argc != 4) return 2;
  device = open(argv[1], O_RDWR | O_NOCTTY);
  if (device < 0) {
    perror(argv[1]);
    return 1;
  }
  command = strtoul(argv[2], NULL, 0);
  timing_report(call, argument, atoi(argv[3]));
  return 0;
}
