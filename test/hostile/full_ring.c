/* A guest that fills the ring to its backend process: as many threads wait in reads as the envelope allows operations, and all its other
 * files are closed at once. Each round must find every file released by the round before: the envelope allows no more than it opens.
 * Usage: full_ring ROUNDS. Prints `round` for each, then `beyond ERRNO`: what one more operation gets while as many wait as may. */
#include "../guests/guest.h"

#include <termios.h>

/* Of policies/pty.manifest.json. */
#define FILES_MAX 64
#define IN_FLIGHT_MAX 32

static void ignore(int number) { (void)number; }

static void *read_one(void *file) {
  char byte;
  /* It finds no room while the first thread's own question is under way. */
  while (read(*(int *)file, &byte, 1) < 0 && errno == ENOMEM) pause_ms(1);
  return NULL;
}

int main(int argc, char **argv) {
  static int files[FILES_MAX], slaves[IN_FLIGHT_MAX];
  pthread_t readers[IN_FLIGHT_MAX];
  struct winsize size;
  if (argc != 2) return 2;
  install(SIGUSR1, ignore, 0);
  for (long round = atol(argv[1]); round > 0; round--) {
    for (int i = 0; i < FILES_MAX; i++) files[i] = (int)MUST(open("/dev/ptmx", O_RDWR | O_NOCTTY));
    for (int i = 0; i < IN_FLIGHT_MAX; i++) {
      slaves[i] = files[i];
      readers[i] = start(read_one, &slaves[i]);
    }
    /* Whether all are under way shows in what one more gets. */
    while (ioctl(files[FILES_MAX - 1], TIOCGWINSZ, &size) == 0) pause_ms(1);
    if (round == 1) say("beyond %s", strerrorname_np(errno));
    for (int i = IN_FLIGHT_MAX; i < FILES_MAX; i++) close(files[i]);
    /* A reader is woken by a signal: its read ends with EINTR. */
    for (int i = 0; i < IN_FLIGHT_MAX; i++) {
      pthread_kill(readers[i], SIGUSR1);
      pthread_join(readers[i], NULL);
      close(files[i]);
    }
    say("round");
  }
  return 0;
}
