#include "links.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"

#define BRIDGE "postern0"
/* Holds any notice about one link; the kernel's own tools use as much (NLMSG_GOODSIZE is at most 8 KiB). */
#define NOTICE_BYTES 32768
/* The longest request here: a link message with a name and a nested kind. */
#define REQUEST_BYTES 256

struct request {
  struct nlmsghdr header;
  struct ifinfomsg link;
  char attributes[REQUEST_BYTES];
};

static struct rtattr *put(struct request *request, unsigned short type, const void *value, size_t length) {
  struct rtattr *attribute = (struct rtattr *)((char *)request + NLMSG_ALIGN(request->header.nlmsg_len));
  attribute->rta_type = type;
  attribute->rta_len = (unsigned short)RTA_LENGTH(length);
  if (length > 0) memcpy(RTA_DATA(attribute), value, length);
  request->header.nlmsg_len = NLMSG_ALIGN(request->header.nlmsg_len) + RTA_ALIGN(attribute->rta_len);
  return attribute;
}

static struct request request_for(int index, unsigned flags) {
  struct request request = {0};
  request.header.nlmsg_len = NLMSG_LENGTH(sizeof request.link);
  request.header.nlmsg_type = RTM_NEWLINK;
  request.header.nlmsg_flags = (unsigned short)(NLM_F_REQUEST | flags);
  request.link.ifi_index = index;
  request.link.ifi_flags = request.link.ifi_change = IFF_UP;
  return request;
}

static void ask(int netlink, const struct request *request) {
  if (send(netlink, request, request->header.nlmsg_len, 0) < 0) log_line("a network link can't be set up: %s", strerror(errno));
}

static void create_bridge(int netlink) {
  struct request request = request_for(0, NLM_F_CREATE | NLM_F_EXCL);
  put(&request, IFLA_IFNAME, BRIDGE, sizeof BRIDGE);
  struct rtattr *kind = put(&request, IFLA_LINKINFO, NULL, 0);
  put(&request, IFLA_INFO_KIND, "bridge", strlen("bridge"));
  kind->rta_len = (unsigned short)((char *)&request + request.header.nlmsg_len - (char *)kind);
  ask(netlink, &request);
}

/* A new link, or one that has changed: those that are up already and belong to the bridge are left alone. */
static void handle(int netlink, const struct nlmsghdr *notice) {
  const struct ifinfomsg *link = NLMSG_DATA(notice);
  const int bridge = (int)if_nametoindex(BRIDGE);
  const int is_ethernet = link->ifi_type == ARPHRD_ETHER;
  int remaining = (int)(notice->nlmsg_len - NLMSG_LENGTH(sizeof *link));
  if (link->ifi_index == bridge || (!is_ethernet && link->ifi_type != ARPHRD_NONE) || remaining < 0) return;
  for (const struct rtattr *at = IFLA_RTA(link); RTA_OK(at, remaining); at = RTA_NEXT(at, remaining))
    if (at->rta_type == IFLA_MASTER) return;
  if (!is_ethernet && (link->ifi_flags & IFF_UP) != 0) return;
  struct request request = request_for(link->ifi_index, 0);
  if (is_ethernet && bridge > 0) put(&request, IFLA_MASTER, &bridge, sizeof bridge);
  ask(netlink, &request);
}

static void serve(int netlink) {
  static char notices[NOTICE_BYTES] __attribute__((aligned(8)));
  for (;;) {
    ssize_t got = recv(netlink, notices, sizeof notices, 0);
    if (got < 0 && (errno == EINTR || errno == ENOBUFS)) continue;
    if (got <= 0) return;
    unsigned length = (unsigned)got;
    for (const struct nlmsghdr *at = (const void *)notices; NLMSG_OK(at, length); at = NLMSG_NEXT(at, length))
      if (at->nlmsg_type == RTM_NEWLINK) handle(netlink, at);
  }
}

/* Interfaces have no addresses of their own here: the kernel's own IPv6 would talk on them. */
static void silence_ipv6(void) {
  int descriptor = open("/proc/sys/net/ipv6/conf/default/disable_ipv6", O_WRONLY | O_CLOEXEC);
  if (descriptor < 0) return;
  if (write(descriptor, "1", 1) != 1) log_line("IPv6 stays enabled: %s", strerror(errno));
  close(descriptor);
}

void links_start(void) {
  if (access("/sys/module/bridge", F_OK) != 0) return;
  int netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_LINK};
  if (netlink < 0 || bind(netlink, (const struct sockaddr *)&address, sizeof address) != 0) {
    log_line("network links stay down: %s", strerror(errno));
  } else {
    silence_ipv6();
    create_bridge(netlink);
    pid_t process = fork();
    if (process < 0) log_line("network links stay down: %s", strerror(errno));
    if (process == 0) {
      serve(netlink);
      _exit(0);
    }
  }
  if (netlink >= 0) close(netlink);
}
