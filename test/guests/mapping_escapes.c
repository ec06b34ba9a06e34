/* Ways from the pages that a guest has been given to the rest of the driver VM's memory, and what stops each. */
#include "video.h"

#include <dirent.h>
#include <sys/prctl.h>
#include <sys/uio.h>

#define PAGE 4096ul
/* Far from what the kernel gives by itself, and where the host maps. */
#define RANGE_FIRST 0x200000000000ul
/* The driver VM's memory is larger than any file that these programs open. */
#define MEMORY_BYTES_MIN (64l << 20)

static void other_places(void) {
  struct video video = open_mapped(1);
  size_t length = video.buffer[0].length;
  off_t offset = (off_t)video.buffer[0].offset;
  char *elsewhere = (char *)MUST(mmap(NULL, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  SAY_OK("fixed", mmap(elsewhere, length, PROT_READ, MAP_SHARED | MAP_FIXED, video.fd, offset));
  SAY_OK("fixed without replacing", mmap(elsewhere + (1ul << 40), length, PROT_READ, MAP_SHARED | MAP_FIXED_NOREPLACE, video.fd, offset));
  SAY("in the range of driver pages", (unsigned long)video.buffer[0].bytes >> 40 == RANGE_FIRST >> 40);
}

static void growing(void) {
  struct video video = open_mapped(1);
  char *bytes = video.buffer[0].bytes;
  size_t length = (video.buffer[0].length + PAGE - 1) / PAGE * PAGE;
  char *elsewhere = (char *)MUST(mmap(NULL, 4 * length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  SAY_OK("mremap to more", mremap(bytes, length, 4 * length, MREMAP_MAYMOVE));
  SAY_OK("mremap of one page to two", mremap(bytes, PAGE, 2 * PAGE, MREMAP_MAYMOVE));
  SAY_OK("mremap to less", mremap(bytes, length, PAGE, 0));
  SAY_OK("mremap elsewhere", mremap(bytes, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, elsewhere));
  SAY_OK("mremap that leaves a copy", mremap(bytes, 0, length, MREMAP_MAYMOVE));
  SAY_OK("mremap into the range", mremap(elsewhere, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)(RANGE_FIRST + (1ul << 36))));
  SAY("remap_file_pages", RAW(remap_file_pages, bytes, PAGE, 0ul, 7ul, 0ul));
  bytes[0] = 1;
  say("still there: %d", bytes[0]);
}

static void by_proc(void) {
  (void)open_mapped(1);
  char path[64], line[256];
  FILE *maps = fopen("/proc/self/maps", "r");
  unsigned long first, end;
  int found = 0, opened = 0;
  while (fgets(line, sizeof line, maps)) {
    if (sscanf(line, "%lx-%lx", &first, &end) != 2 || first < RANGE_FIRST || first >= RANGE_FIRST + (1ul << 44)) continue;
    found++;
    snprintf(path, sizeof path, "/proc/self/map_files/%lx-%lx", first, end);
    opened += open(path, O_RDWR) >= 0;
    opened += open(path, O_RDONLY) >= 0;
  }
  say("runs of pages: %d, opened by /proc/self/map_files: %d", found > 0, opened);
  int files = 0;
  DIR *directory = opendir("/proc/self/fd");
  for (struct dirent *entry; (entry = readdir(directory));) {
    struct stat st;
    if (entry->d_name[0] != '.' && fstatat(dirfd(directory), entry->d_name, &st, 0) == 0) files += st.st_size >= MEMORY_BYTES_MIN;
  }
  say("descriptors of the memory: %d", files);
  SAY("dumpable as before", prctl(PR_GET_DUMPABLE));
}

/* A page that may only be read stays so, by whatever way it is written. */
static void writing_what_is_read_only(void) {
  struct video video = open_mapped(1);
  const char *bytes = (const char *)MUST(mmap(NULL, video.buffer[0].length, PROT_READ, MAP_SHARED, video.fd, video.buffer[0].offset));
  SAY("mprotect", mprotect((void *)bytes, PAGE, PROT_READ | PROT_WRITE));
  int memory = (int)MUST(open("/proc/self/mem", O_RDWR));
  SAY("/proc/self/mem", pwrite(memory, "x", 1, (off_t)bytes));
  struct iovec local = {"x", 1}, remote = {(void *)bytes, 1};
  SAY("process_vm_writev", process_vm_writev(getpid(), &local, 1, &remote, 1, 0));
  SAY("MADV_REMOVE", madvise((void *)bytes, PAGE, MADV_REMOVE));
  SAY("read into it", RAW(read, (int)MUST(open("/dev/zero", O_RDONLY)), bytes, 1));
}

/* What a guest does to its own pages concerns these pages alone. */
static void punching_holes(void) {
  struct video video = open_mapped(2);
  memset(video.buffer[0].bytes, 0x11, video.buffer[0].length);
  memset(video.buffer[1].bytes, 0x22, video.buffer[1].length);
  (void)madvise(video.buffer[0].bytes, video.buffer[0].length / PAGE * PAGE, MADV_REMOVE);
  (void)madvise(video.buffer[0].bytes, video.buffer[0].length / PAGE * PAGE, MADV_DONTNEED);
  size_t wrong = 0;
  for (size_t i = 0; i < video.buffer[1].length; i++) wrong += ((uint8_t *)video.buffer[1].bytes)[i] != 0x22;
  say("bytes of another buffer that changed: %zu", wrong);
  struct v4l2_capability capability;
  SAY("the driver goes on", ioctl(video.fd, VIDIOC_QUERYCAP, &capability));
  for (unsigned i = 0; i < 2; i++) MUST(enqueue(video.fd, i));
  MUST(stream(video.fd, true));
  struct v4l2_buffer buffer;
  for (int i = 0; i < 4; i++) {
    MUST(dequeue(video.fd, &buffer));
    MUST(enqueue(video.fd, buffer.index));
  }
  say("frames come");
}

static atomic_int mapping_ends;

/* Looks, as often as it can, for a descriptor of the memory in the process that maps. */
static void *hunt(void *argument) {
  pid_t prey = *(pid_t *)argument;
  long found = 0;
  char path[64];
  int pidfd = (int)syscall(SYS_pidfd_open, prey, 0);
  while (!atomic_load(&mapping_ends)) {
    for (int number = 3; number < 16; number++) {
      struct stat st;
      snprintf(path, sizeof path, "/proc/%d/fd/%d", prey, number);
      if (stat(path, &st) == 0) found += st.st_size >= MEMORY_BYTES_MIN;
      int copy = (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);
      if (copy < 0) continue;
      if (fstat(copy, &st) == 0) found += st.st_size >= MEMORY_BYTES_MIN;
      close(copy);
    }
  }
  return (void *)found;
}

static struct video shared;
static void *map_again(void *unused) {
  (void)unused;
  for (int i = 0; i < 60; i++) {
    char *bytes = mmap(NULL, shared.buffer[0].length, PROT_READ | PROT_WRITE, MAP_SHARED, shared.fd, shared.buffer[0].offset);
    if (bytes == MAP_FAILED) say("mmap: %s", strerrorname_np(errno));
    else munmap(bytes, shared.buffer[0].length);
  }
  return NULL;
}

static void say_hunt(pid_t prey) {
  void *found;
  pthread_t hunter = start(hunt, &prey);
  if (prey == getpid()) pthread_join(start(map_again, NULL), NULL);
  else say_end("the one that maps", prey);
  atomic_store(&mapping_ends, 1);
  pthread_join(hunter, &found);
  say("descriptors of the memory that were seen: %ld", (long)found);
}

static void hunted_by_another_process(void) {
  pid_t child = (pid_t)MUST(fork());
  if (child == 0) {
    shared = open_mapped(1);
    map_again(NULL);
    _exit(0);
  }
  say_hunt(child);
}

static void hunted_by_another_thread(void) {
  shared = open_mapped(1);
  say_hunt(getpid());
}

static int share_files(void *argument) {
  (void)argument;
  while (!atomic_load(&mapping_ends)) pause_ms(1);
  _exit(0);
}

/* A process that shares the table of descriptors would see the memory's: nothing is mapped then. */
static void shared_table(void) {
  static char stack[1 << 16];
  struct video video = {.fd = open_video(0)};
  MUST(set_format(video.fd, 320, 180, V4L2_PIX_FMT_YUYV));
  MUST(request_buffers(video.fd, 1));
  struct v4l2_buffer buffer = buffer_named(0);
  MUST(ioctl(video.fd, VIDIOC_QUERYBUF, &buffer));
  pid_t sharer = (pid_t)MUST(clone(share_files, stack + sizeof stack, CLONE_FILES | CLONE_VM | SIGCHLD, NULL));
  SAY_OK("with a sharer", mmap(NULL, buffer.length, PROT_READ, MAP_SHARED, video.fd, buffer.m.offset));
  atomic_store(&mapping_ends, 1);
  say_end("the sharer", sharer);
  SAY_OK("without", mmap(NULL, buffer.length, PROT_READ, MAP_SHARED, video.fd, buffer.m.offset));
}

static atomic_int racing = 1;
static struct v4l2_requestbuffers request;
static void *flip_memory(void *unused) {
  (void)unused;
  while (atomic_load(&racing)) {
    __atomic_store_n(&request.memory, V4L2_MEMORY_USERPTR, __ATOMIC_RELAXED);
    __atomic_store_n(&request.memory, V4L2_MEMORY_MMAP, __ATOMIC_RELAXED);
  }
  return NULL;
}

/* The policy lends the driver no memory of the guest's: it must never hear of USERPTR, however fast the argument changes. */
static void a_value_that_changes(void) {
  int fd = open_video(0), allowed = 0, refused = 0, escaped = 0;
  MUST(set_format(fd, 320, 180, V4L2_PIX_FMT_YUYV));
  pthread_t racer = start(flip_memory, NULL);
  for (int i = 0; i < 300 || allowed == 0 || refused == 0; i++) {
    request.count = 1;
    request.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
    if (ioctl(fd, VIDIOC_REQBUFS, &request) != 0) {
      refused++;
      escaped += errno != EINVAL;
      continue;
    }
    allowed++;
    struct v4l2_buffer buffer = buffer_named(0);
    MUST(ioctl(fd, VIDIOC_QUERYBUF, &buffer));
    escaped += buffer.memory != V4L2_MEMORY_MMAP;
  }
  atomic_store(&racing, 0);
  pthread_join(racer, NULL);
  say("both were seen: %d, what was not judged: %d", allowed > 0 && refused > 0, escaped);
}

static const struct test_case cases[] = {
    {"other places", other_places},
    {"growing", growing},
    {"by /proc", by_proc},
    {"writing what is read-only", writing_what_is_read_only},
    {"punching holes", punching_holes},
    {"hunted by another process", hunted_by_another_process},
    {"hunted by another thread", hunted_by_another_thread},
    {"a shared table of descriptors", shared_table},
    {"a value that changes", a_value_that_changes},
};

int main(int argc, char **argv) { return run_cases(cases, COUNT(cases), argc, argv); }
