/* Carries packets between two TAP interfaces of the driver domain, byte for byte:
 *   packet_pump both COUNT            a sender and a receiver, a process each
 *   packet_pump send NAME COUNT       sends COUNT packets until each is acknowledged
 *   packet_pump receive NAME COUNT    compares what arrives with what must have been sent, and acknowledges it
 * Each prints what it has carried, and ends with 0 when every byte was right. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* IEEE 802's EtherType for local experiments: nobody else's frames have it. */
#define ETHER_TYPE 0x88b5
#define FRAME_BYTES_MIN 60
#define FRAME_BYTES_MAX 1514
#define FRAME_BYTES_STEP 37
#define RETRY_MS 20
/* Interfaces come up within milliseconds; a peer that is a guest may start seconds later. */
#define TRIES_MAX 1500
/* The last acknowledgement may be lost: the receiver answers repetitions for so many quiet rounds more. */
#define QUIET_ROUNDS 10

struct frame {
  uint8_t destination[6], source[6];
  uint16_t type;
  uint8_t is_acknowledgement;
  uint8_t reserved;
  uint32_t number;
  uint8_t payload[FRAME_BYTES_MAX - 20];
};

static void fail(const char *what) {
  fprintf(stderr, "packet_pump: %s: %s\n", what, strerror(errno));
  exit(1);
}

static int open_tap(const char *name) {
  struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  int tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (tap < 0) fail("/dev/net/tun");
  if (ioctl(tap, TUNSETIFF, &request) != 0) fail("TUNSETIFF");
  struct ifreq told = {0};
  if (ioctl(tap, TUNGETIFF, &told) != 0 || strcmp(told.ifr_name, name) != 0) fail("TUNGETIFF");
  return tap;
}

static size_t length_of(uint32_t number) {
  return FRAME_BYTES_MIN + number * FRAME_BYTES_STEP % (FRAME_BYTES_MAX - FRAME_BYTES_MIN + 1);
}

/* Every byte follows from the number, so that both sides know it. */
static size_t fill(struct frame *frame, uint32_t number, int is_acknowledgement) {
  memset(frame, 0, sizeof *frame);
  memset(frame->destination, 0xff, sizeof frame->destination);
  memcpy(frame->source, is_acknowledgement ? "\2\0\0\0\0\2" : "\2\0\0\0\0\1", sizeof frame->source);
  frame->type = (uint16_t)(ETHER_TYPE << 8 | ETHER_TYPE >> 8);
  frame->is_acknowledgement = (uint8_t)is_acknowledgement;
  frame->number = number;
  if (is_acknowledgement) return FRAME_BYTES_MIN;
  uint32_t word = number * 2654435761u + 1;
  for (size_t i = 0; i < sizeof frame->payload; i++) {
    word ^= word << 13, word ^= word >> 17, word ^= word << 5;
    frame->payload[i] = (uint8_t)word;
  }
  return length_of(number);
}

static void put(int tap, const struct frame *frame, size_t length) {
  ssize_t written = write(tap, frame, length);
  /* EIO: the interface is not up yet. */
  if (written < 0 && errno != EIO && errno != EAGAIN) fail("write");
}

/* The next frame of ours within RETRY_MS, or 0. */
static size_t take(int tap, struct frame *frame) {
  struct pollfd wanted = {.fd = tap, .events = POLLIN};
  while (poll(&wanted, 1, RETRY_MS) > 0) {
    ssize_t got = read(tap, frame, sizeof *frame);
    if (got < 0 && errno != EAGAIN && errno != EINTR && errno != EIO) fail("read");
    if (got >= FRAME_BYTES_MIN && frame->type == (uint16_t)(ETHER_TYPE << 8 | ETHER_TYPE >> 8)) return (size_t)got;
  }
  return 0;
}

static int send_all(int tap, uint32_t count) {
  unsigned long bytes = 0;
  for (uint32_t number = 0; number < count; number++) {
    struct frame frame, answer;
    size_t length = fill(&frame, number, 0);
    int tries = 0, acknowledged = 0;
    while (!acknowledged && tries++ < TRIES_MAX) {
      put(tap, &frame, length);
      while (!acknowledged && take(tap, &answer) > 0) acknowledged = answer.is_acknowledgement && answer.number == number;
    }
    if (!acknowledged) {
      fprintf(stderr, "packet_pump: packet %u was never acknowledged\n", number);
      return 1;
    }
    bytes += length;
  }
  printf("sent %u packets, %lu bytes\n", count, bytes);
  return 0;
}

static int receive_all(int tap, uint32_t count) {
  unsigned long bytes = 0;
  uint32_t next = 0;
  for (int quiet = 0; next < count ? quiet < TRIES_MAX : quiet < QUIET_ROUNDS; quiet++) {
    struct frame got, expected, acknowledgement;
    size_t length = take(tap, &got);
    if (length == 0 || got.is_acknowledgement) continue;
    quiet = 0;
    if (got.number > next) break;
    if (length != fill(&expected, got.number, 0) || memcmp(&got, &expected, length) != 0) {
      fprintf(stderr, "packet_pump: packet %u arrived with other bytes than it was sent with\n", got.number);
      return 1;
    }
    if (got.number == next) next++, bytes += length;
    put(tap, &acknowledgement, fill(&acknowledgement, got.number, 1));
  }
  printf("received %u packets, %lu bytes, all as sent\n", next, bytes);
  return next == count ? 0 : 1;
}

static int both(uint32_t count) {
  int status = 0;
  int sender = open_tap("pump-left");
  pid_t child = fork();
  if (child < 0) fail("fork");
  if (child == 0) {
    close(sender);
    int failed = receive_all(open_tap("pump-right"), count);
    fflush(stdout);
    _exit(failed);
  }
  int failed = send_all(sender, count);
  if (waitpid(child, &status, 0) != child) fail("waitpid");
  return failed || !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

int main(int argc, char **argv) {
  if (argc == 3 && strcmp(argv[1], "both") == 0) return both((uint32_t)atoi(argv[2]));
  if (argc == 4 && strcmp(argv[1], "send") == 0) return send_all(open_tap(argv[2]), (uint32_t)atoi(argv[3]));
  if (argc == 4 && strcmp(argv[1], "receive") == 0) return receive_all(open_tap(argv[2]), (uint32_t)atoi(argv[3]));
  fprintf(stderr, "usage: packet_pump both COUNT | send NAME COUNT | receive NAME COUNT\n");
  return 2;
}
