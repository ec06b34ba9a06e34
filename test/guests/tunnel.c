/* A network interface whose packets come from and go to a descriptor. */
#include "guest.h"

#include <arpa/inet.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <sys/socket.h>

/* From the block for tests between networks (RFC 2544). */
#define OWN "198.18.77.1"
#define OTHER "198.18.77.2"
#define PORT 7777

unsigned if_nametoindex(const char *name);

static int tun;
static struct ifreq interface;

static int attach(short flags) {
  memset(&interface, 0, sizeof interface);
  strcpy(interface.ifr_name, "pstest%d");
  interface.ifr_flags = flags;
  return ioctl(tun, TUNSETIFF, &interface);
}

/* The interface, up, with an address of its own. Its socket. */
static int bring_up(void) {
  tun = (int)MUST(open("/dev/net/tun", O_RDWR));
  MUST(attach(IFF_TUN | IFF_NO_PI));
  int udp = (int)MUST(socket(AF_INET, SOCK_DGRAM, 0));
  struct ifreq request = interface;
  struct sockaddr_in address = {.sin_family = AF_INET};
  inet_pton(AF_INET, OWN, &address.sin_addr);
  memcpy(&request.ifr_addr, &address, sizeof address);
  MUST(ioctl(udp, SIOCSIFADDR, &request));
  inet_pton(AF_INET, OTHER, &address.sin_addr);
  memcpy(&request.ifr_dstaddr, &address, sizeof address);
  MUST(ioctl(udp, SIOCSIFDSTADDR, &request));
  inet_pton(AF_INET, OWN, &address.sin_addr);
  MUST(ioctl(udp, SIOCGIFFLAGS, &request));
  request.ifr_flags |= IFF_UP;
  MUST(ioctl(udp, SIOCSIFFLAGS, &request));
  address.sin_port = htons(PORT);
  MUST(bind(udp, (struct sockaddr *)&address, sizeof address));
  return udp;
}

static void attaching(void) {
  char byte;
  tun = (int)SAY_OK("open", open("/dev/net/tun", O_RDWR));
  SAY("read before", read(tun, &byte, 1));
  SAY("write before", write(tun, &byte, 1));
  SAY("TUNGETIFF before", ioctl(tun, TUNGETIFF, &interface));
  SAY("TUNSETIFF of no kind", attach(0));
  SAY("TUNSETIFF", attach(IFF_TAP | IFF_NO_PI));
  say("named: %d", strncmp(interface.ifr_name, "pstest", 6) == 0 && interface.ifr_name[6] != '%');
  char name[IFNAMSIZ];
  strcpy(name, interface.ifr_name);
  say("there: %d", if_nametoindex(name) != 0);
  SAY("TUNSETIFF once more", attach(IFF_TAP | IFF_NO_PI));
  SAY("TUNGETIFF", ioctl(tun, TUNGETIFF, &interface));
  say("the same: %d, flags %x", strcmp(name, interface.ifr_name) == 0, interface.ifr_flags & (IFF_TUN | IFF_TAP | IFF_NO_PI));
  SAY("TUNSETIFF from NULL", ioctl(tun, TUNSETIFF, NULL));
  close(tun);
  /* A guest's file is released a moment after its close. */
  for (int i = 0; i < 500 && if_nametoindex(name) != 0; i++) pause_ms(2);
  say("gone: %d", if_nametoindex(name) == 0);
}

/* The next IPv4 packet of the interface's: the kernel sends others on its own account. */
static ssize_t read_packet(uint8_t *packet, size_t bytes) {
  for (;;) {
    ssize_t length = read(tun, packet, bytes);
    if (length < 0 || packet[0] >> 4 == 4) return length;
  }
}

static void packets(void) {
  uint8_t packet[2048];
  char text[32] = "";
  int udp = bring_up();
  struct sockaddr_in other = {.sin_family = AF_INET, .sin_port = htons(PORT)};
  inet_pton(AF_INET, OTHER, &other.sin_addr);
  for (int i = 0; i < 3; i++) {
    SAY("sendto", sendto(udp, "question", 8, 0, (struct sockaddr *)&other, sizeof other));
    struct pollfd one = {tun, POLLIN, 0};
    SAY("poll", poll(&one, 1, 5000));
    ssize_t length = read_packet(packet, sizeof packet);
    struct iphdr *ip = (void *)packet;
    struct udphdr *header = (void *)(packet + 20);
    say("%zd bytes, protocol %u, port %u, '%.8s'", length, ip->protocol, ntohs(header->dest), (char *)packet + 28);
    /* The answer: the same packet with its ends exchanged, which leaves the sums as they are. */
    uint32_t address = ip->saddr;
    ip->saddr = ip->daddr;
    ip->daddr = address;
    header->check = 0;
    memcpy(packet + 28, "answer!!", 8);
    SAY("write", write(tun, packet, (size_t)length));
    SAY("recv", recv(udp, text, sizeof text, 0));
    say("'%.8s'", text);
  }
  MUST(fcntl(tun, F_SETFL, O_NONBLOCK));
  while (read(tun, packet, sizeof packet) >= 0) {
  }
  say("empty: %s", strerrorname_np(errno));
  SAY("a packet that is none", write(tun, "x", 1));
}

static void *send_later(void *argument) {
  int udp = *(int *)argument;
  struct sockaddr_in other = {.sin_family = AF_INET, .sin_port = htons(PORT)};
  inet_pton(AF_INET, OTHER, &other.sin_addr);
  pause_ms(50);
  MUST(sendto(udp, "late", 4, 0, (struct sockaddr *)&other, sizeof other));
  return NULL;
}

static void waiting(void) {
  uint8_t packet[2048];
  int udp = bring_up();
  pthread_t sender = start(send_later, &udp);
  say("%zd bytes, '%.4s'", read_packet(packet, sizeof packet), (char *)packet + 28);
  pthread_join(sender, NULL);
}

static void refused(void) {
  tun = (int)MUST(open("/dev/net/tun", O_RDWR));
  SAY("several queues", attach(IFF_TUN | IFF_MULTI_QUEUE));
  MUST(attach(IFF_TUN));
  SAY("TUNSETPERSIST", ioctl(tun, TUNSETPERSIST, 1));
  SAY("TUNSETOWNER", ioctl(tun, TUNSETOWNER, 0));
  SAY("TUNSETGROUP", ioctl(tun, TUNSETGROUP, 0));
  SAY("TUNSETQUEUE", ioctl(tun, TUNSETQUEUE, &interface));
  SAY("an unknown command", ioctl(tun, _IO('T', 99), 0));
  unsigned features = ~0u;
  SAY("TUNGETFEATURES", ioctl(tun, TUNGETFEATURES, &features));
  say("several queues offered: %d", (features & IFF_MULTI_QUEUE) != 0);
}

static const struct test_case cases[] = {
    {"attaching", attaching},
    {"packets", packets},
    {"waiting for a packet", waiting},
    {"refused on purpose", refused},
};

int main(int argc, char **argv) { return run_cases(cases, COUNT(cases), argc, argv); }
