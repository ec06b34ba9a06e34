/* Operations that may not run beside others, and handles that end: TIOCEXCL and TIOCNXCL by the word of the test's policy. */
#include "pty.h"

static int master, slave;
static atomic_int reader_tid;

static void *read_master(void *unused) {
  (void)unused;
  atomic_store(&reader_tid, (int)gettid());
  say_read("reader", master);
  return NULL;
}

static void alone(void) {
  open_pair(&master, &slave);
  pthread_t reader = start(read_master, NULL);
  while (atomic_load(&reader_tid) == 0) pause_ms(1);
  await_asleep(atomic_load(&reader_tid));
  struct winsize size;
  SAY("beside the reader", ioctl(master, TIOCEXCL));
  SAY("another command beside it", ioctl(master, TIOCGWINSZ, &size));
  SAY("on another file", ioctl(slave, TIOCEXCL));
  put(slave, "now");
  pthread_join(reader, NULL);
  SAY("alone", ioctl(master, TIOCEXCL));
  SAY("after it", ioctl(master, TIOCGWINSZ, &size));
}

static void forgotten(void) {
  char name[32], other_name[32];
  int mine = open_master(name, sizeof name), other = open_master(other_name, sizeof other_name);
  SAY("known", close((int)MUST(open(name, O_RDWR | O_NOCTTY))));
  SAY("forget", ioctl(mine, TIOCNXCL));
  SAY("forgotten", open(name, O_RDWR | O_NOCTTY));
  SAY("what another file has learnt", close((int)MUST(open(other_name, O_RDWR | O_NOCTTY))));
  unsigned number;
  SAY("learnt again", ioctl(mine, TIOCGPTN, &number));
  SAY("known again", close((int)MUST(open(name, O_RDWR | O_NOCTTY))));
  close(other);
}

static const struct test_case cases[] = {
    {"alone", alone},
    {"forgotten", forgotten},
};

int main(int argc, char **argv) { return run_cases(cases, COUNT(cases), argc, argv); }
