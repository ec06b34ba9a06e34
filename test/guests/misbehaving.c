/* Calls that a misbehaving policy spoils, with a good call after each. The test's policy faults for these commands alone. */
#include "pty.h"

static int master, slave;

static void say_both(const char *label, unsigned long command, int value) {
  struct winsize size;
  SAY(label, ioctl(slave, command, &value));
  SAY("the next call", ioctl(slave, TIOCGWINSZ, &size));
}

static void one_call_each(void) {
  open_pair(&master, &slave);
  say_both("a trap", TIOCGSOFTCAR, 0);
  say_both("an endless loop", TIOCGEXCL, 0);
  say_both("a reply that the row has not", TCFLSH, 0);
  say_both("grants beyond the envelope", TIOCMBIS, 0);
  say_both("an answer at no place for one", TIOCMGET, 0);
  say_both("an errno that is none", TIOCOUTQ, 0);
  say_both("a refused command that is allowed", TIOCSTI, 'x');
  say_both("a trap after the driver's answer", FIONREAD, 0);
  say_both("an endless list of lessons", TIOCGETD, 0);
  put(master, "still works");
  say_read("slave", slave);
}

static void until_it_is_quarantined(void) {
  struct winsize size;
  int value = 0, good = 0;
  open_pair(&master, &slave);
  for (int i = 0; i < 8; i++) {
    ioctl(slave, TIOCGSOFTCAR, &value);
    good += ioctl(slave, TIOCGWINSZ, &size) == 0;
  }
  say("good calls before: %d", good);
  SAY("a good call afterwards", ioctl(slave, TIOCGWINSZ, &size));
  SAY("open", open("/dev/ptmx", O_RDWR | O_NOCTTY));
  SAY("close", close(slave));
}

/* What another guest does meanwhile. */
static void undisturbed(void) {
  struct winsize size;
  int failed = 0;
  open_pair(&master, &slave);
  for (int i = 0; i < 2000; i++) failed += ioctl(slave, TIOCGWINSZ, &size) != 0;
  say("calls that failed: %d", failed);
}

static const struct test_case cases[] = {
    {"one call each", one_call_each},
    {"until it is quarantined", until_it_is_quarantined},
    {"undisturbed", undisturbed},
};

int main(int argc, char **argv) { return run_cases(cases, COUNT(cases), argc, argv); }
