/* Becomes a QEMU whose guest has Postern's devices: vm-exec SOCKET QEMU ARGUMENTS...
 *
 * It tells the host that listens at SOCKET the arguments, gets a few more and the descriptors that they name, and executes QEMU, which
 * so stays what its starter has started: the same process, with its terminal, signals and inherited descriptors. A QEMU that is only
 * asked what it can do (libvirt does that) is executed as it is.
 *
 * The request is a line of JSON (schemas/vm-attach.schema.json); the answer one message: '-' and a complaint, or '+', the host's
 * process number, and more arguments, each ended by a zero byte.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* What Postern's own commands fail with. */
#define FAILURE_STATUS 125
/* The numbers that the host's arguments name (host/guest-vm/attachment.ts); high, so that they are nobody's. */
#define FIRST_DESCRIPTOR 900
#define DESCRIPTORS 5
#define ANSWER_BYTES_MAX 8192
#define ARGUMENTS_MAX 64
/* The byte that every connection to a host begins with (native/addon/connections.cc). */
#define GREETING 'P'

static void fail(const char *what, const char *why) {
  dprintf(STDERR_FILENO, "postern: %s: %s\n", what, why);
  exit(FAILURE_STATUS);
}

/* Whether no machine is to be run: a question for QEMU's version, help or abilities. */
static bool is_question(char **arguments) {
  for (char **at = arguments; *at; at++) {
    const char *name = at[0][0] == '-' && at[0][1] == '-' ? *at + 1 : *at;
    if (strcmp(name, "-version") == 0 || strcmp(name, "-help") == 0 || strcmp(name, "-h") == 0) return true;
    if (at[1] && strcmp(at[1], "help") == 0) return true;
    const bool is_machine = strcmp(name, "-machine") == 0 || strcmp(name, "-M") == 0;
    if (is_machine && at[1] && strncmp(at[1], "none", 4) == 0 && (at[1][4] == 0 || at[1][4] == ',')) return true;
  }
  return false;
}

static int connect_to(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address.sun_path) fail(path, "too long for a socket's path");
  strcpy(address.sun_path, path);
  int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connection < 0 || connect(connection, (struct sockaddr *)&address, sizeof address) != 0) {
    dprintf(STDERR_FILENO, "postern: no host listens at %s (%s): start one by `postern vm attach`\n", path, strerror(errno));
    exit(FAILURE_STATUS);
  }
  /* Whoever listens gets power over the guest. */
  struct ucred peer;
  socklen_t bytes = sizeof peer;
  if (getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) != 0 || (peer.uid != geteuid() && peer.uid != 0))
    fail(path, "another user listens there");
  return connection;
}

static void put_text(FILE *to, const char *text) {
  fputc('"', to);
  for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
    if (*at == '"' || *at == '\\') fprintf(to, "\\%c", *at);
    else if (*at < 0x20) fprintf(to, "\\u%04x", *at);
    else fputc(*at, to);
  }
  fputc('"', to);
}

static void tell(int connection, char **arguments) {
  char *line = NULL;
  size_t length = 0;
  FILE *to = open_memstream(&line, &length);
  if (!to) fail("the request", strerror(errno));
  fprintf(to, "%c{\"arguments\":[", GREETING);
  for (char **at = arguments; *at; at++) {
    if (at != arguments) fputc(',', to);
    put_text(to, *at);
  }
  fputs("]}\n", to);
  fclose(to);
  for (size_t sent = 0; sent < length;) {
    const ssize_t count = send(connection, line + sent, length - sent, MSG_NOSIGNAL);
    if (count <= 0) fail("the host", strerror(errno));
    sent += (size_t)count;
  }
  free(line);
}

/* Out of the way of what QEMU has inherited, and then to where the arguments name them. */
static void place(const int *received) {
  for (int i = 0; i < DESCRIPTORS; i++) {
    if (fcntl(FIRST_DESCRIPTOR + i, F_GETFD) >= 0) fail("a descriptor that Postern needs", "it is in use");
    if (dup2(received[i], FIRST_DESCRIPTOR + i) < 0) fail("a descriptor that Postern needs", strerror(errno));
    close(received[i]);
  }
}

static size_t receive(int connection, char *answer) {
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(DESCRIPTORS * sizeof(int))];
  } control;
  struct iovec vector = {answer, ANSWER_BYTES_MAX};
  struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
  const ssize_t got = recvmsg(connection, &message, MSG_CMSG_CLOEXEC);
  if (got <= 0) fail("the host", got < 0 ? strerror(errno) : "it has ended");
  answer[got] = 0;
  if (answer[0] != '+') fail("the host refuses this VM", answer + 1);
  int received[DESCRIPTORS];
  const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  if (!header || header->cmsg_type != SCM_RIGHTS || header->cmsg_len != CMSG_LEN(sizeof received)) fail("the host", "its answer lacks descriptors");
  memcpy(received, CMSG_DATA(header), sizeof received);
  place(received);
  return (size_t)got;
}

int main(int argc, char **argv) {
  static char answer[ANSWER_BYTES_MAX + 1];
  if (argc < 3) {
    dprintf(STDERR_FILENO, "usage: vm-exec SOCKET QEMU [ARGUMENTS...]\n");
    return FAILURE_STATUS;
  }
  char **arguments = argv + 2;
  if (!is_question(arguments)) {
    const int connection = connect_to(argv[1]);
    tell(connection, arguments);
    const size_t length = receive(connection, answer);
    char **all = calloc((size_t)argc + ARGUMENTS_MAX, sizeof *all);
    if (!all) fail("the arguments", strerror(errno));
    size_t count = 0;
    for (char **at = arguments; *at; at++) all[count++] = *at;
    char *next = answer + 1;
    /* Where only ancestors may look into a process, the host, which maps driver pages into this one, is named. */
    (void)prctl(PR_SET_PTRACER, strtoul(next, NULL, 10), 0, 0, 0);
    for (next += strlen(next) + 1; next < answer + length && count < (size_t)argc + ARGUMENTS_MAX - 1; next += strlen(next) + 1) all[count++] = next;
    arguments = all;
  }
  execvp(arguments[0], arguments);
  fail(arguments[0], strerror(errno));
}
