/* A guest that asks for a command that no class knows, again and again. Usage: unknown_commands TIMES. Prints how many were ENOTTY. */
#include "../guests/guest.h"

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  int fd = (int)MUST(open("/dev/ptmx", O_RDWR | O_NOCTTY));
  long refused = 0;
  for (long i = atol(argv[1]); i > 0; i--) refused += ioctl(fd, _IO('?', 0x77)) == -1 && errno == ENOTTY;
  say("refused %ld", refused);
  return 0;
}
