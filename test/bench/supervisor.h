/* A bare seccomp user-notification supervisor: what the floors of the mechanism are made of. */
#ifndef POSTERN_BENCH_SUPERVISOR_H
#define POSTERN_BENCH_SUPERVISOR_H

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif
#define SYNC_WAKE_UP 1ull
#define IOCTL_SET_FLAGS SECCOMP_IOW(4, __u64)

static void must(int holds, const char *what) {
  if (holds) return;
  perror(what);
  exit(1);
}

/* Has every ioctl of this process notified. The listener. */
static int install(void) {
  struct sock_filter program[] = {
      {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr)},
      {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SYS_ioctl},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_USER_NOTIF},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
  };
  struct sock_fprog fprog = {sizeof program / sizeof *program, program};
  must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs");
  int listener = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                              SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, &fprog);
  must(listener >= 0, "seccomp");
  return listener;
}

static void send_descriptor(int socket, int descriptor) {
  char byte = 0;
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int))];
  } control = {.header = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
  *(int *)CMSG_DATA(&control.header) = descriptor;
  struct iovec vector = {&byte, 1};
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  must(sendmsg(socket, &message, 0) == 1, "sendmsg");
}

static int receive_descriptor(int socket) {
  char byte;
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int))];
  } control;
  struct iovec vector = {&byte, 1};
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  must(recvmsg(socket, &message, 0) == 1, "recvmsg");
  return *(int *)CMSG_DATA(&control.header);
}

/* Receives the next call. Whether there was one: the last caller may have ended. */
static int receive_call(int listener, struct seccomp_notif *notification) {
  *notification = (struct seccomp_notif){0};
  return ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, notification) == 0;
}

static void answer_call(int listener, const struct seccomp_notif *notification) {
  struct seccomp_notif_resp response = {.id = notification->id};
  must(ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response) == 0 || errno == ENOENT, "answer");
}

#endif
