/* The first process of a guest VM of the user's own, on an initramfs that has the frontend module and this: it loads the module, uses a
 * camera as a program would, unloads the module, loads it again, and powers off. */
#include "video.h"

#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>

#define MODULE "/postern_frontend.ko"
#define FRAMES 5u
#define SIGNAL_SECONDS_MAX 20
#define PIECE_BYTES 1000u
/* The i386 number of ioctl, which `int $0x80` takes in a 64-bit program too. */
#define I386_IOCTL 54

static int load(void) {
  int file = (int)MUST(open(MODULE, O_RDONLY | O_CLOEXEC));
  int result = (int)syscall(SYS_finit_module, file, "", 0);
  close(file);
  return result;
}

static int unload(void) { return (int)syscall(SYS_delete_module, "postern_frontend", O_NONBLOCK); }

/* The number of a 32-bit program's ioctl. */
static long ioctl_of_i386(int fd, unsigned command, unsigned argument) {
  long result;
  __asm__ volatile("int $0x80" : "=a"(result) : "a"(I386_IOCTL), "b"((long)fd), "c"((long)command), "d"((long)argument) : "memory", "r8", "r9", "r10", "r11");
  return result;
}

static void ask(int fd) {
  struct v4l2_capability capability;
  MUST(ioctl(fd, VIDIOC_QUERYCAP, &capability));
  say("driver %s", (char *)capability.driver);
}

static void frames(void) {
  struct video video = open_mapped(BUFFERS);
  struct v4l2_buffer buffer;
  unsigned filled = 0;
  start_stream(&video);
  for (unsigned i = 0; i < FRAMES; i++) {
    const char *bytes = video.buffer[MUST(dequeue(video.fd, &buffer))].bytes;
    for (unsigned at = 0; at < buffer.bytesused; at += 997) filled += bytes[at] != 0;
    MUST(enqueue(video.fd, buffer.index));
  }
  say("%u frames, %s", FRAMES, filled ? "with a picture" : "empty");
  close(video.fd);
  for (unsigned i = 0; i < video.count; i++) munmap(video.buffer[i].bytes, video.buffer[i].length);
}

/* A signal when a frame is there. */
static void signals(void) {
  struct video video = open_mapped(BUFFERS);
  const struct timespec patience = {.tv_sec = SIGNAL_SECONDS_MAX};
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGIO);
  MUST(sigprocmask(SIG_BLOCK, &set, NULL));
  MUST(fcntl(video.fd, F_SETOWN, getpid()));
  MUST(fcntl(video.fd, F_SETFL, O_RDWR | O_ASYNC));
  start_stream(&video);
  say("SIGIO: %s", sigtimedwait(&set, NULL, &patience) == SIGIO ? "came" : "did not come");
  close(video.fd);
  for (unsigned i = 0; i < video.count; i++) munmap(video.buffer[i].bytes, video.buffer[i].length);
}

static void pieces(void) {
  static char first[PIECE_BYTES], second[PIECE_BYTES];
  const struct iovec vectors[] = {{first, sizeof first}, {second, sizeof second}};
  int fd = open_video(0);
  SAY("readv of two pieces", readv(fd, vectors, 2));
  unsigned filled = 0;
  for (unsigned i = 0; i < PIECE_BYTES; i++) filled += first[i] != 0 && second[i] != 0;
  say("both pieces: %s", filled ? "filled" : "empty");
  SAY("writev", writev(fd, vectors, 2));
  SAY("lseek", lseek(fd, 100, SEEK_SET));
  close(fd);
}

static void use(void) {
  int fd = open_video(0);
  ask(fd);
  say("ioctl of a 32-bit program: %s", strerrorname_np((int)-ioctl_of_i386(fd, VIDIOC_QUERYCAP, 0)));
  SAY("rmmod while a file is open", unload());
  close(fd);
  frames();
  signals();
  pieces();
}

int main(void) {
  mkdir("/dev", 0755), mkdir("/proc", 0755), mkdir("/sys", 0755);
  (void)mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
  (void)mount("proc", "/proc", "proc", 0, NULL);
  (void)mount("sysfs", "/sys", "sysfs", 0, NULL);
  int console = open("/dev/console", O_RDWR);
  for (int fd = 0; fd <= 2; fd++) dup2(console, fd);
  pid_t child = fork();
  if (child == 0) {
    SAY("insmod", load());
    use();
    SAY("rmmod", unload());
    say("the device is %s", access(CAPTURE_NODE, F_OK) == 0 ? "still there" : "gone");
    SAY("insmod again", load());
    int fd = open_video(0);
    ask(fd);
    close(fd);
    say("done");
    _exit(0);
  }
  int status;
  waitpid(child, &status, 0);
  reboot(RB_POWER_OFF);
  for (;;) pause();
}
