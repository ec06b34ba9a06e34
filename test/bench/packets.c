/* Packets of a TUN interface, timed by batches. The same binary runs natively and as a guest; with the fast frontend a batch is one call.
 * Usage: packets NAME BATCH ROUNDS [relayed]
 * Prints one line: `write PACKETS_PER_SECOND read PACKETS_PER_SECOND p99 NS` (of a batch written and read); if `relayed` by two processes (relay.h)
 * also `guest NS middle NS driver NS`: each party's work for a packet. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "relay.h"
#include "timing.h"

#include "../../native/frontend/postern_fast.h"

enum { BATCH_MAX = 64, PACKET_BYTES = 1024, HEADER_BYTES = 20, EXPERIMENT = 253 };

static uint8_t packets[BATCH_MAX][PACKET_BYTES];
static struct postern_batch_entry entries[BATCH_MAX];

static void must(int holds, const char *what) {
  if (holds) return;
  fprintf(stderr, "packets: %s: %s\n", what, strerror(errno));
  exit(1);
}

/* An IPv4 packet from one test network to another (RFC 5737), of the protocol number for experiments: nobody answers it. */
static void fill(uint8_t *packet) {
  static const uint8_t header[HEADER_BYTES] = {0x45, 0, PACKET_BYTES >> 8, PACKET_BYTES & 0xff, 0, 0, 0, 0, 64, EXPERIMENT,
                                               0, 0, 192, 0, 2, 1, 198, 51, 100, 1};
  memcpy(packet, header, sizeof header);
}

static int open_interface(const char *name) {
  struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  int tun = open("/dev/net/tun", O_RDWR | O_NONBLOCK);
  must(tun >= 0 && ioctl(tun, TUNSETIFF, &request) == 0, "TUNSETIFF");
  return tun;
}

/* A packet socket of the interface, which is brought up: what it sends is what the file gives. */
static int open_other_end(const char *name) {
  struct ifreq request = {0};
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  int end = socket(AF_PACKET, SOCK_DGRAM, htons(ETH_P_IP));
  must(end >= 0 && ioctl(end, SIOCGIFFLAGS, &request) == 0, "SIOCGIFFLAGS");
  request.ifr_flags |= IFF_UP;
  must(ioctl(end, SIOCSIFFLAGS, &request) == 0 && ioctl(end, SIOCGIFINDEX, &request) == 0, "SIOCSIFFLAGS");
  struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP), .sll_ifindex = request.ifr_ifindex};
  must(bind(end, (struct sockaddr *)&address, sizeof address) == 0, "bind");
  return end;
}

static void relay_batch(int count) {
  static uint32_t number;
  for (int i = 0; i < count; i++)
    relay_post(number + (uint32_t)i, entries[i].descriptor, entries[i].is_write, entries[i].buffer, (uint32_t)entries[i].bytes);
  for (int i = 0; i < count; i++) entries[i].result = relay_collect(number++, entries[i].buffer, &entries[i].error);
}

static void transfer(int tun, int is_write, int batch) {
  for (int i = 0; i < batch; i++) entries[i] = (struct postern_batch_entry){tun, is_write, packets[i], PACKET_BYTES, 0, 0};
  if (relay) {
    relay_batch(batch);
  } else if (postern_fast_batch) {
    postern_fast_batch(entries, (size_t)batch);
  } else {
    for (int i = 0; i < batch; i++) {
      entries[i].result = is_write ? write(tun, packets[i], PACKET_BYTES) : read(tun, packets[i], PACKET_BYTES);
      entries[i].error = entries[i].result < 0 ? errno : 0;
    }
  }
  for (int i = 0; i < batch; i++) {
    errno = entries[i].error;
    /* A packet of the kernel's own may come between those that are read. */
    must(is_write ? entries[i].result == PACKET_BYTES : entries[i].result > 0, is_write ? "write" : "read");
  }
}

/* The kernel's own packets (router solicitations) may be there too. */
static void drain(int tun) {
  uint8_t other[2048];
  while (read(tun, other, sizeof other) > 0) continue;
}

int main(int argc, char **argv) {
  if (argc < 4 || argc > 5) return 2;
  const int batch = atoi(argv[2]), rounds = atoi(argv[3]);
  if (batch < 1 || batch > BATCH_MAX) return 2;
  const int tun = open_interface(argv[1]), end = open_other_end(argv[1]);
  must(argc == 4 || relay_start(batch), "the processes that relay");
  const int warm_up = rounds / 10;
  double writing = 0, reading = 0;
  double *samples = malloc((size_t)rounds * sizeof *samples);
  must(samples != NULL, "malloc");
  for (int i = 0; i < batch; i++) fill(packets[i]);
  for (int round = -warm_up; round < rounds; round++) {
    double began = timing_now();
    transfer(tun, 1, batch);
    const double written = timing_now() - began;
    drain(tun);
    for (int i = 0; i < batch; i++) must(send(end, packets[i], PACKET_BYTES, 0) == PACKET_BYTES, "send");
    began = timing_now();
    transfer(tun, 0, batch);
    const double taken = timing_now() - began;
    if (round < 0) continue;
    writing += written;
    reading += taken;
    samples[round] = written + taken;
  }
  qsort(samples, (size_t)rounds, sizeof *samples, timing_compare);
  const double packets = 1e9 * batch * (double)rounds;
  printf("write %.1f read %.1f p99 %.1f\n", packets / writing, packets / reading, samples[(size_t)rounds * 99 / 100]);
  /* A write and a read are two batches. */
  if (relay)
    printf("guest %.1f middle %.1f driver %.1f\n", relay_median(RELAY_GUEST, 2 * warm_up, 2 * rounds),
           relay_median(RELAY_MIDDLE, 2 * warm_up, 2 * rounds), relay_median(RELAY_DRIVER, 2 * warm_up, 2 * rounds));
  if (relay) relay_stop();
  free(samples);
  return 0;
}
