/* A program that uses a device whose host is not to be relied upon: each way of using it is one word of its arguments. Afterwards it does
 * what any host answers well. */
#include "guest.h"

#include <dirent.h>

#define NODE "/dev/postern-test"
#define ORDINARY _IOWR('F', 1, char[64])
#define STRANGE _IOWR('F', 2, char[64])
#define CROWD_MAX 128

/* Opened before a child is made, whose first sleep is then in the operation that it is made for. */
static int shared = -1;

static int opened(void) { return shared >= 0 ? shared : (int)MUST(open(NODE, O_RDWR | O_CLOEXEC)); }

static unsigned descriptors(void) {
  DIR *folder = opendir("/proc/self/fd");
  unsigned count = 0;
  while (folder && readdir(folder)) count++;
  closedir(folder);
  return count;
}

static void do_ioctl(void) {
  char argument[64] = {0};
  int fd = opened();
  const unsigned before = descriptors();
  SAY("ioctl", ioctl(fd, STRANGE, argument));
  say("new descriptors: %d", (int)(descriptors() - before));
}

static void do_read(void) {
  char buffer[100];
  SAY("read", read(opened(), buffer, sizeof buffer));
}

static void do_mmap(void) { SAY_OK("mmap", mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, opened(), 0)); }

static void do_poll(void) {
  struct pollfd entry = {opened(), POLLIN | POLLOUT | POLLPRI | POLLRDHUP, 0};
  SAY("poll", poll(&entry, 1, 10000));
  say("revents: %#x", (unsigned)entry.revents);
}

static void *map_it(void *tid) {
  atomic_store((atomic_int *)tid, (int)syscall(SYS_gettid));
  do_mmap();
  return NULL;
}

/* One thread maps, for which the kernel locks the address space; another one then needs it. */
static void do_mmap_and_fault(void) {
  static atomic_int tid;
  char *fresh = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
  pthread_t mapper = start(map_it, &tid);
  await(&tid, 1);
  await_asleep(atomic_load(&tid));
  fresh[0] = 1;
  pthread_join(mapper, NULL);
}

static void ignore(int number) { (void)number; }

static pid_t child_of(void (*run)(void)) {
  pid_t child = (pid_t)MUST(fork());
  if (child == 0) {
    run();
    _exit(0);
  }
  await_asleep(child);
  return child;
}

static void stopped_by(int number, void (*run)(void)) {
  pid_t child = child_of(run);
  kill(child, number);
  say_end("it", child);
}

/* More than the ring has slots for: the first ones sleep for their answers, the others for a slot. */
static void do_crowd(void) {
  pid_t child[CROWD_MAX];
  unsigned killed = 0;
  for (unsigned i = 0; i < CROWD_MAX; i++) child[i] = child_of(do_ioctl);
  for (unsigned i = 0; i < CROWD_MAX; i++) kill(child[i], SIGKILL);
  for (unsigned i = 0; i < CROWD_MAX; i++) {
    int status;
    killed += MUST(waitpid(child[i], &status, 0)) == child[i] && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  }
  say("killed: %u of %u", killed, CROWD_MAX);
}

static void stopped_in(int number, void (*run)(void)) {
  shared = opened();
  stopped_by(number, run);
  close(shared);
  shared = -1;
}

static void kill_ioctl(void) { stopped_in(SIGKILL, do_ioctl); }
static void kill_read(void) { stopped_in(SIGKILL, do_read); }
static void kill_mmap(void) { stopped_in(SIGKILL, do_mmap); }
static void kill_mmap_and_fault(void) { stopped_in(SIGKILL, do_mmap_and_fault); }
static void signal_ioctl(void) {
  install(SIGUSR1, ignore, 0);
  stopped_in(SIGUSR1, do_ioctl);
}
static void do_open(void) { SAY_OK("open", open(NODE, O_RDWR | O_CLOEXEC)); }
static void kill_open(void) { stopped_by(SIGKILL, do_open); }

static void do_ordinary(void) {
  char argument[64] = {0};
  SAY("ordinary", ioctl(opened(), ORDINARY, argument));
}

static const struct test_case words[] = {
    {"ioctl", do_ioctl},         {"read", do_read},           {"mmap", do_mmap},
    {"poll", do_poll},           {"open", do_open},           {"crowd", do_crowd},
    {"kill-ioctl", kill_ioctl},  {"kill-read", kill_read},    {"kill-mmap", kill_mmap},
    {"kill-open", kill_open},    {"signal", signal_ioctl},    {"kill-mmap-and-fault", kill_mmap_and_fault},
    {"ordinary", do_ordinary},
};

static void run_word(const char *word) {
  for (size_t i = 0; i < COUNT(words); i++)
    if (strcmp(words[i].name, word) == 0) return words[i].run();
  say("there is no way '%s'", word);
}

int main(int argc, char **argv) {
  alarm(5 * CASE_SECONDS_MAX);
  for (int i = 1; i < argc; i++) run_word(argv[i]);
  return 0;
}
