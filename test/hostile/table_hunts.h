/* Ways to the descriptor of the driver VM's memory, which is in a process for the moment of a mapping: hunts for it in that process's table
 * of descriptors, by whoever shares the table, owns its namespace or changes the code that makes the mapping. For pages.c only. */
#ifndef POSTERN_TEST_TABLE_HUNTS_H
#define POSTERN_TEST_TABLE_HUNTS_H

#include "own_camera.h"

#include <linux/futex.h>
#include <sys/wait.h>

static bool is_memory(int fd) {
  struct stat st;
  return fstat(fd, &st) == 0 && st.st_size >= MEMORY_BYTES_MIN;
}

static atomic_int *shared_words(void) {
  return (atomic_int *)MUST(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
}

static void map_and_unmap(unsigned rounds) {
  for (unsigned i = 0; i < rounds; i++) {
    void *bytes = mmap(NULL, camera.buffer[0].length, PROT_READ | PROT_WRITE, MAP_SHARED, camera.fd, camera.buffer[0].offset);
    if (bytes != MAP_FAILED) munmap(bytes, camera.buffer[0].length);
  }
}

/* One buffer, not mapped. */
static void open_small(void) {
  camera = (struct video){.fd = open_video(0), .count = 1};
  MUST(set_format(camera.fd, 320, 180, V4L2_PIX_FMT_YUYV));
  MUST(request_buffers(camera.fd, 1));
  struct v4l2_buffer buffer = buffer_named(0);
  MUST(ioctl(camera.fd, VIDIOC_QUERYBUF, &buffer));
  camera.buffer[0].length = buffer.length;
  camera.buffer[0].offset = buffer.m.offset;
}

static atomic_int *words; /* [0]: the hunt ends, [1]: what was caught, [2]: the hunter is there */

static int hunt_in_own_table(void *unused) {
  (void)unused;
  atomic_store(&words[2], 1);
  while (!atomic_load(&words[0])) {
    for (int fd = 3; fd < 24; fd++) {
      if (!is_memory(fd)) continue;
      int copy = fcntl(fd, F_DUPFD, 400);
      if (copy >= 0) atomic_store(&words[1], copy);
    }
  }
  _exit(0);
}

static char hunter_stack[1 << 16];

static void judge_hunt(void) {
  atomic_store(&words[0], 1);
  pause_ms(50);
  int caught = atomic_load(&words[1]);
  if (caught > 0) SUCCEEDED("descriptor %d was the driver VM's memory", caught);
  STOPPED("no descriptor of the memory was seen");
}

/* A sharer of the table whom nobody takes for one: its table is a thread's, not the process's. */
static void *map_beside_sharer(void *unused) {
  (void)unused;
  MUST(unshare(CLONE_FILES));
  MUST(clone(hunt_in_own_table, hunter_stack + sizeof hunter_stack, CLONE_FILES | CLONE_VM | SIGCHLD, NULL));
  await(&words[2], 1);
  map_and_unmap(200);
  judge_hunt();
  return NULL;
}

static void thread_with_own_table(void) {
  words = shared_words();
  open_small();
  pthread_join(start(map_beside_sharer, NULL), NULL);
}

static void *map_as_last_thread(void *unused) {
  (void)unused;
  pause_ms(200);
  MUST(clone(hunt_in_own_table, hunter_stack + sizeof hunter_stack, CLONE_FILES | CLONE_VM | SIGCHLD, NULL));
  await(&words[2], 1);
  map_and_unmap(200);
  judge_hunt();
  return NULL;
}

static void table_without_first_thread(void) {
  words = shared_words();
  open_small();
  start(map_as_last_thread, NULL);
  syscall(SYS_exit, 0);
}

static void table_in_nested_namespace(void) {
  words = shared_words();
  open_small();
  enter_namespaces(CLONE_NEWPID);
  MUST(clone(hunt_in_own_table, hunter_stack + sizeof hunter_stack, CLONE_FILES | CLONE_VM | SIGCHLD, NULL));
  await(&words[2], 1);
  map_and_unmap(200);
  judge_hunt();
}

/* A sharer that appears between the look for sharers and the stop of the threads. */
static void *breed_sharers(void *unused) {
  (void)unused;
  static char stack[1 << 16];
  while (!atomic_load(&words[0])) {
    atomic_store(&words[3], 0);
    pid_t child = clone(hunt_in_own_table, stack + sizeof stack, CLONE_FILES | CLONE_VM | SIGCHLD, NULL);
    pause_ms(3);
    if (child > 0) {
      kill(child, SIGKILL);
      waitpid(child, NULL, 0);
    }
    pause_ms(1);
  }
  return NULL;
}

static void sharer_just_in_time(void) {
  words = shared_words();
  open_small();
  pthread_t breeder = start(breed_sharers, NULL);
  map_and_unmap(400);
  atomic_store(&words[0], 1);
  pthread_join(breeder, NULL);
  judge_hunt();
}

/* Whoever has rights over the user namespace in which a program began may take its descriptors, whatever it says of itself. */
static void hunt_by_pidfd(pid_t prey) {
  int pidfd = (int)syscall(SYS_pidfd_open, prey, 0);
  char path[64];
  while (!atomic_load(&words[0])) {
    for (int fd = 3; fd < 24; fd++) {
      int copy = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);
      if (copy >= 0 && is_memory(copy)) atomic_store(&words[1], copy);
      else if (copy >= 0) close(copy);
      snprintf(path, sizeof path, "/proc/%d/fd/%d", prey, fd);
      struct stat st;
      if (stat(path, &st) != 0 || st.st_size < MEMORY_BYTES_MIN) continue;
      copy = open(path, O_RDWR);
      if (copy >= 0) atomic_store(&words[1], copy);
    }
  }
}

static char own_path[256];

static void owner_of_namespace(void) {
  words = shared_words();
  int fd = (int)syscall(SYS_memfd_create, "words", 0);
  MUST(ftruncate(fd, (off_t)PAGE));
  words = (atomic_int *)MUST(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  pid_t prey = (pid_t)MUST(fork());
  if (prey == 0) {
    char number[16];
    enter_namespaces(0);
    snprintf(number, sizeof number, "%d", fd);
    execl(own_path, own_path, "prey", number, NULL);
    _exit(9);
  }
  await(&words[2], 1);
  pid_t ender = (pid_t)MUST(fork());
  if (ender == 0) {
    waitpid(prey, NULL, 0);
    for (int i = 0; i < 2000 && !atomic_load(&words[3]); i++) pause_ms(5);
    atomic_store(&words[0], 1);
    _exit(0);
  }
  hunt_by_pidfd(prey);
  waitpid(prey, NULL, 0);
  int caught = atomic_load(&words[1]);
  if (caught > 0) SUCCEEDED("descriptor %d was the driver VM's memory", caught);
  STOPPED("no descriptor of the memory was seen");
}

/* The program of that prey. */
static int be_prey(int fd) {
  words = (atomic_int *)MUST(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  open_small();
  atomic_store(&words[2], 1);
  pause_ms(50);
  map_and_unmap(200);
  atomic_store(&words[3], 1);
  return 0;
}

/* The mapping is made by the guest's own `syscall` instruction. Another process changes it, in memory that both have, while it is being
 * stepped: what is not called can't close the memory's descriptor. */
static unsigned char *code;

static void flip_instruction(void) {
  MUST(prctl(PR_SET_PDEATHSIG, SIGKILL));
  atomic_store(&words[2], 1);
  while (!atomic_load(&words[0])) {
    /* xor %eax,%eax looks like a call that succeeded. */
    __atomic_store_n((uint16_t *)code, (uint16_t)0xc031, __ATOMIC_SEQ_CST);
    for (int i = 0; i < 200; i++) __asm__ volatile("pause");
    __atomic_store_n((uint16_t *)code, (uint16_t)0x050f, __ATOMIC_SEQ_CST);
    for (int i = 0; i < 400; i++) __asm__ volatile("pause");
  }
  _exit(0);
}

static long through_code(long number, long a, long b, long c, long d, long e, long f) {
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  long result = number;
  __asm__ volatile("call *%[code]"
                   : "+a"(result)
                   : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9), [code] "r"(code)
                   : "rcx", "r11", "memory");
  return result;
}

static void changing_instruction(void) {
  words = shared_words();
  open_small();
  code = (unsigned char *)MUST(mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  memcpy(code, "\x0f\x05\xc3", 3);
  pid_t flipper = (pid_t)MUST(fork());
  if (flipper == 0) flip_instruction();
  await(&words[2], 1);
  int kept = 0, mapped = 0;
  struct timespec begin, now;
  clock_gettime(CLOCK_MONOTONIC, &begin);
  do {
    long address = through_code(SYS_mmap, 0, (long)camera.buffer[0].length, PROT_READ | PROT_WRITE, MAP_SHARED, camera.fd, camera.buffer[0].offset);
    if (address > 4096) {
      mapped++;
      munmap((void *)address, camera.buffer[0].length);
    }
    for (int fd = 3; fd < 24; fd++)
      if (is_memory(fd)) kept = fd;
    clock_gettime(CLOCK_MONOTONIC, &now);
  } while (now.tv_sec - begin.tv_sec < 2 && kept == 0);
  atomic_store(&words[0], 1);
  waitpid(flipper, NULL, 0);
  if (kept > 0) SUCCEEDED("descriptor %d, the driver VM's memory, was never closed", kept);
  STOPPED("no descriptor was left behind in %d mappings", mapped);
}

/* A full table: the memory's descriptor comes to lie in the window, where even its close is the host's. */
static void full_table(void) {
  open_small();
  int file = (int)MUST(open("/dev/null", O_RDONLY)), last = file;
  while (last >= 0 && last < WINDOW_FIRST - 1) last = dup(file);
  unsigned mapped = 0;
  for (int i = 0; i < 20; i++) {
    void *bytes = mmap(NULL, camera.buffer[0].length, PROT_READ | PROT_WRITE, MAP_SHARED, camera.fd, camera.buffer[0].offset);
    if (bytes == MAP_FAILED) continue;
    mapped++;
    munmap(bytes, camera.buffer[0].length);
  }
  for (int fd = 3; fd <= WINDOW_LAST; fd++) {
    char path[64];
    struct stat st;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (stat(path, &st) == 0 && st.st_size >= MEMORY_BYTES_MIN) SUCCEEDED("descriptor %d is the driver VM's memory", fd);
  }
  STOPPED("%u mappings, and no descriptor was left behind", mapped);
}

#endif
