/* A program that ends in the way that its first argument says, having opened a terminal. */
#include "pty.h"

static int master, slave;

static void on_term(int number) {
  (void)number;
  say("SIGTERM");
  _exit(6);
}

static void *sleep_in_read(void *unused) {
  char byte;
  (void)unused;
  (void)!read(slave, &byte, 1);
  return NULL;
}

/* A process that nobody waits for, in a session of its own. */
static void leave_orphan(void) {
  if (fork() != 0) return;
  setsid();
  signal(SIGHUP, SIG_IGN);
  signal(SIGTERM, SIG_IGN);
  close(STDOUT_FILENO);
  close(STDERR_FILENO);
  for (;;) pause();
}

int main(int argc, char **argv) {
  const char *how = argc > 1 ? argv[1] : "";
  char line[64];
  open_pair(&master, &slave);
  if (strcmp(how, "exit") == 0) return atoi(argv[2]);
  if (strcmp(how, "signal") == 0) raise(atoi(argv[2]));
  if (strcmp(how, "orphan") == 0) {
    leave_orphan();
    return 0;
  }
  if (strcmp(how, "echo") == 0) {
    while (fgets(line, sizeof line, stdin)) say("<%s>", strtok(line, "\n"));
    return 0;
  }
  if (strcmp(how, "term") == 0) install(SIGTERM, on_term, 0);
  if (strcmp(how, "threads") == 0) {
    leave_orphan();
    for (int i = 0; i < 4; i++) start(sleep_in_read, NULL);
    pause_ms(50);
  }
  say("ready");
  for (;;) pause();
}
