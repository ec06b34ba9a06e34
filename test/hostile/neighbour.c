/* Another guest of the same driver domain. It leaves a secret unread in its terminal and says the terminal's name; for each line that it
 * is sent it says whether its device still serves it; at its end, what it reads of the secret. */
#include "../guests/pty.h"

int main(int argc, char **argv) {
  char name[32], line[16], text[32] = {0};
  if (argc != 2) return 2;
  int master = open_master(name, sizeof name);
  int slave = (int)MUST(open(name, O_RDWR | O_NOCTTY));
  struct termios raw;
  MUST(tcgetattr(slave, &raw));
  cfmakeraw(&raw);
  MUST(tcsetattr(slave, TCSANOW, &raw));
  put(master, argv[1]);
  say("terminal %s", name);
  while (fgets(line, sizeof line, stdin)) {
    struct winsize size;
    if (ioctl(slave, TIOCGWINSZ, &size) != 0) {
      say("ioctl: %s", strerrorname_np(errno));
      continue;
    }
    int another = open("/dev/ptmx", O_RDWR | O_NOCTTY);
    if (another < 0) {
      say("open: %s", strerrorname_np(errno));
      continue;
    }
    close(another);
    say("well");
  }
  ssize_t got = read(slave, text, sizeof text - 1);
  say("secret %s", got > 0 ? text : strerrorname_np(errno));
  return 0;
}
