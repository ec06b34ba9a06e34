/* A process that is no guest, with a secret in its memory: the harness looks whether it stays what it was. Says where it is, and ends with
 * its standard input. */
#include "../guests/guest.h"

static volatile char secret[16];

int main(int argc, char **argv) {
  char byte;
  if (argc != 2 || strlen(argv[1]) != sizeof secret) return 2;
  signal(SIGCONT, SIG_DFL);
  memcpy((char *)secret, argv[1], sizeof secret);
  say("secret at %lx", (unsigned long)secret);
  while (read(STDIN_FILENO, &byte, 1) > 0) {
  }
  return 0;
}
