/* Arguments of a terminal's calls that are wrong: the errno is the kernel's. */
#include "pty.h"

#include <linux/openat2.h>
#include <limits.h>
#include <sys/uio.h>

#define PAGE 4096ul
#define KERNEL_ADDRESS ((void *)0xffff888000000000ul)
#define NON_CANONICAL ((void *)0x0000800000000000ul)

static int master, slave;

/* Two pages, of which the second is not there: `bytes` before the end of the first. */
static char *end_of_mapping(size_t bytes, int protection) {
  char *pages = (char *)MUST(mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  MUST(munmap(pages + PAGE, PAGE));
  MUST(mprotect(pages, PAGE, protection));
  return pages + PAGE - bytes;
}

static void pointers_of_ioctls(void) {
  open_pair(&master, &slave);
  struct termios settings;
  MUST(tcgetattr(slave, &settings));
  SAY("TCGETS to NULL", ioctl(slave, TCGETS, NULL));
  SAY("TCGETS to a kernel address", ioctl(slave, TCGETS, KERNEL_ADDRESS));
  SAY("TCGETS to no address", ioctl(slave, TCGETS, NON_CANONICAL));
  SAY("TCGETS to the end of the world", ioctl(slave, TCGETS, (void *)-8l));
  SAY("TCGETS to page zero", ioctl(slave, TCGETS, (void *)8));
  SAY("TCGETS across the end", ioctl(slave, TCGETS, end_of_mapping(8, PROT_READ | PROT_WRITE)));
  SAY("TCGETS up to the end", ioctl(slave, TCGETS, end_of_mapping(36, PROT_READ | PROT_WRITE)));
  SAY("TCGETS to read-only bytes", ioctl(slave, TCGETS, end_of_mapping(64, PROT_READ)));
  SAY("TCSETS from NULL", ioctl(slave, TCSETS, NULL));
  SAY("TCSETS from a kernel address", ioctl(slave, TCSETS, KERNEL_ADDRESS));
  SAY("TCSETS across the end", ioctl(slave, TCSETS, end_of_mapping(8, PROT_READ)));
  char *bytes = end_of_mapping(64, PROT_READ | PROT_WRITE);
  MUST(ioctl(slave, TCGETS, bytes));
  MUST(mprotect((void *)((uintptr_t)bytes & ~(PAGE - 1)), PAGE, PROT_READ));
  SAY("TCSETS from read-only bytes", ioctl(slave, TCSETS, bytes));
  MUST(mprotect((void *)((uintptr_t)bytes & ~(PAGE - 1)), PAGE, PROT_NONE));
  SAY("TCSETS from unreadable bytes", ioctl(slave, TCSETS, bytes));
  SAY("TIOCSWINSZ from NULL", ioctl(slave, TIOCSWINSZ, NULL));
  SAY("TIOCGPTN to NULL", ioctl(master, TIOCGPTN, NULL));
  SAY("TIOCSPTLCK from NULL", ioctl(master, TIOCSPTLCK, NULL));
  SAY("FIONREAD to NULL", ioctl(slave, FIONREAD, NULL));
  SAY("FIONBIO from NULL", ioctl(slave, FIONBIO, NULL));
}

static void commands(void) {
  char scratch[256] = {0};
  open_pair(&master, &slave);
  SAY("0", ioctl(slave, 0, scratch));
  SAY("all ones", ioctl(slave, 0xffffffff, scratch));
  SAY("a camera's", ioctl(slave, 0x80685600, scratch));
  SAY("the same type, unknown", ioctl(slave, 0x54ff, scratch));
  SAY("the same with a size", ioctl(slave, 0xc1005401, scratch));
  SAY("a master's command to the slave", ioctl(slave, TIOCGPTN, scratch));
  SAY("TIOCSPTLCK to the slave", ioctl(slave, TIOCSPTLCK, scratch));
  SAY("high bits of the command are not looked at", syscall(SYS_ioctl, slave, 0xabcd00000000ul | TCGETS, scratch));
  SAY("high bits of the descriptor are not looked at", syscall(SYS_ioctl, 0xabcd00000000ul | (unsigned)slave, TCGETS, scratch));
}

static void buffers(void) {
  open_pair(&master, &slave);
  char bytes[16];
  SAY("write from NULL", RAW(write, slave, NULL, 4));
  SAY("write from a kernel address", RAW(write, slave, KERNEL_ADDRESS, 4));
  SAY("write of nothing from NULL", RAW(write, slave, NULL, 0));
  SAY("write of the longest", RAW(write, slave, bytes, SIZE_MAX));
  SAY("write of half of all", RAW(write, slave, (void *)PAGE, SIZE_MAX / 2));
  MUST(fcntl(slave, F_SETFL, O_NONBLOCK));
  SAY("read of nothing", RAW(read, slave, bytes, 0));
  put(master, "input");
  struct pollfd one = {slave, POLLIN, 0};
  poll(&one, 1, 5000);
  SAY("read to a kernel address", RAW(read, slave, KERNEL_ADDRESS, 4));
  SAY("read of the longest", RAW(read, slave, bytes, SIZE_MAX));
  say_read("what is left", slave);
}

static void vectors(void) {
  open_pair(&master, &slave);
  char a[8] = "abcdefg", b[8] = "1234567";
  struct iovec two[2] = {{a, 3}, {b, 2}};
  SAY("writev", RAW(writev, slave, two, 2));
  say_read("master", master);
  SAY("writev of none", RAW(writev, slave, two, 0));
  SAY("writev of too many", RAW(writev, slave, two, IOV_MAX + 1));
  SAY("writev of minus one", RAW(writev, slave, two, -1l));
  SAY("writev from NULL", RAW(writev, slave, NULL, 1));
  SAY("writev from a kernel address", RAW(writev, slave, KERNEL_ADDRESS, 1));
  two[1].iov_len = SIZE_MAX;
  SAY("a negative length", RAW(writev, slave, two, 2));
  two[1] = (struct iovec){NULL, 0};
  SAY("an empty vector at NULL", RAW(writev, slave, two, 2));
  say_read("master", master);
  two[0] = (struct iovec){KERNEL_ADDRESS, 4};
  SAY("a vector in the kernel", RAW(writev, slave, two, 1));
  put(master, "for vectors");
  struct pollfd one = {slave, POLLIN, 0};
  poll(&one, 1, 5000);
  struct iovec in[3] = {{a, 3}, {NULL, 0}, {b, 7}};
  SAY("readv", RAW(readv, slave, in, 3));
  say("%.3s|%.7s", a, b);
  SAY("preadv", preadv(slave, in, 1, 0));
  SAY("pread", pread(slave, a, 1, 0));
  SAY("pwrite", pwrite(slave, a, 1, 0));
  SAY("pread at a negative offset", pread(slave, a, 1, -1));
}

static void ways_to_open(void) {
  char name[32];
  struct stat st;
  int fd;
  master = open_master(name, sizeof name);
  SAY("O_CREAT | O_EXCL", open(name, O_RDWR | O_NOCTTY | O_CREAT | O_EXCL, 0600));
  SAY_OK("O_CREAT", open(name, O_RDWR | O_NOCTTY | O_CREAT, 0600));
  SAY("O_DIRECTORY", open(name, O_RDWR | O_NOCTTY | O_DIRECTORY));
  fd = (int)SAY_OK("O_PATH", open(name, O_PATH));
  SAY("ioctl of it", ioctl(fd, TIOCGWINSZ, &st));
  SAY("read of it", read(fd, &st, 1));
  SAY_OK("O_NOFOLLOW", open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NOFOLLOW));
  SAY_OK("O_TRUNC", open(name, O_RDWR | O_NOCTTY | O_TRUNC));
  SAY_OK("O_APPEND", open(name, O_RDWR | O_NOCTTY | O_APPEND));
  SAY_OK("creat", creat(name, 0600));
  SAY("below it", open("/dev/ptmx/x", O_RDWR));
  SAY("NULL", syscall(SYS_open, NULL, O_RDWR, 0));
  SAY("empty", open("", O_RDWR));
  SAY("a kernel address", syscall(SYS_open, KERNEL_ADDRESS, O_RDWR, 0));
  SAY("no such terminal", open("/dev/pts/4000", O_RDWR | O_NOCTTY));
  SAY_OK("dots", open("/dev/../dev/./ptmx", O_RDWR | O_NOCTTY));
  int directory = (int)MUST(open("/dev", O_RDONLY | O_DIRECTORY));
  SAY_OK("openat", openat(directory, "ptmx", O_RDWR | O_NOCTTY));
  SAY_OK("openat of an absolute path", openat(-5, "/dev/ptmx", O_RDWR | O_NOCTTY));
  SAY("openat of a closed directory", openat(900, "ptmx", O_RDWR | O_NOCTTY));
  MUST(chdir("/dev"));
  SAY_OK("relative", open("ptmx", O_RDWR | O_NOCTTY));
  SAY_OK("relative with dots", open("../dev/ptmx", O_RDWR | O_NOCTTY));
  struct open_how how = {.flags = O_RDWR | O_NOCTTY};
  SAY_OK("openat2", syscall(SYS_openat2, directory, "ptmx", &how, sizeof how));
  SAY("openat2, short", syscall(SYS_openat2, directory, "ptmx", &how, 8));
  SAY("openat2, long", syscall(SYS_openat2, directory, "ptmx", &how, 2 * PAGE));
  SAY("openat2 from NULL", syscall(SYS_openat2, directory, "ptmx", NULL, sizeof how));
  how.resolve = 1ull << 40;
  SAY("openat2, unknown resolve", syscall(SYS_openat2, directory, "ptmx", &how, sizeof how));
  how.resolve = 0;
  how.flags |= 1ull << 40;
  SAY("openat2, unknown flags", syscall(SYS_openat2, directory, "ptmx", &how, sizeof how));
  how = (struct open_how){.flags = O_RDWR, .mode = 0600};
  SAY("openat2, mode without O_CREAT", syscall(SYS_openat2, directory, "ptmx", &how, sizeof how));
  how = (struct open_how){.flags = O_RDWR | O_NOCTTY, .resolve = RESOLVE_BENEATH};
  SAY("openat2, RESOLVE_BENEATH leaves", syscall(SYS_openat2, directory, "../dev/ptmx", &how, sizeof how));
  SAY("openat2, RESOLVE_BENEATH and absolute", syscall(SYS_openat2, directory, "/dev/ptmx", &how, sizeof how));
  SAY_OK("openat2, RESOLVE_BENEATH stays", syscall(SYS_openat2, directory, "ptmx", &how, sizeof how));
  how.resolve = RESOLVE_IN_ROOT;
  SAY("openat2, RESOLVE_IN_ROOT", syscall(SYS_openat2, directory, "/dev/ptmx", &how, sizeof how));
  SAY_OK("openat2, RESOLVE_IN_ROOT below", syscall(SYS_openat2, directory, "/ptmx", &how, sizeof how));
  SAY("openat2, RESOLVE_IN_ROOT without it", syscall(SYS_openat2, directory, "/pts/4000", &how, sizeof how));
}

static void links_to_it(void) {
  char folder[] = "/tmp/postern-links-XXXXXX", path[64], hop[64];
  if (!mkdtemp(folder)) _exit(99);
  snprintf(path, sizeof path, "%s/link", folder);
  snprintf(hop, sizeof hop, "%s/hop", folder);
  MUST(symlink("/dev/ptmx", path));
  MUST(symlink("link", hop));
  SAY_OK("a link", open(path, O_RDWR | O_NOCTTY));
  SAY_OK("a link to a link", open(hop, O_RDWR | O_NOCTTY));
  SAY("a link, O_NOFOLLOW", open(path, O_RDWR | O_NOCTTY | O_NOFOLLOW));
  struct open_how how = {.flags = O_RDWR | O_NOCTTY, .resolve = RESOLVE_NO_SYMLINKS};
  SAY("openat2, RESOLVE_NO_SYMLINKS", syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how));
  how.resolve = 0;
  SAY_OK("openat2", syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how));
  MUST(unlink(path));
  MUST(unlink(hop));
  MUST(rmdir(folder));
}

static void closed_descriptors(void) {
  struct winsize size;
  char byte = 0;
  open_pair(&master, &slave);
  close(slave);
  SAY("ioctl", ioctl(slave, TIOCGWINSZ, &size));
  SAY("read", read(slave, &byte, 1));
  SAY("write", write(slave, &byte, 1));
  SAY("close", close(slave));
  SAY("fstat", fstat(slave, &(struct stat){0}));
  SAY("a number in the window", ioctl(1010, TIOCGWINSZ, &size));
  SAY("a negative number", ioctl(-1, TIOCGWINSZ, &size));
  SAY("an ordinary file", ioctl((int)MUST(open("/dev/null", O_RDONLY)), TIOCGWINSZ, &size));
  MUST(dup2((int)MUST(open("/dev/null", O_RDWR)), 1005));
  SAY("an ordinary file in the window", ioctl(1005, TIOCGWINSZ, &size));
  SAY("read of it", read(1005, &byte, 1));
  SAY("write of it", write(1005, &byte, 1));
}

/* Settings that the kernel adjusts or refuses by value. */
static void values(void) {
  open_pair(&master, &slave);
  struct winsize size = {65535, 65535, 1, 2}, back;
  SAY("TIOCSWINSZ", ioctl(slave, TIOCSWINSZ, &size));
  MUST(ioctl(master, TIOCGWINSZ, &back));
  say("master sees %u x %u", back.ws_row, back.ws_col);
  int value = 0;
  SAY("TCXONC 99", ioctl(slave, TCXONC, 99));
  SAY("TCFLSH 99", ioctl(slave, TCFLSH, 99));
  SAY("TIOCGETD", ioctl(slave, TIOCGETD, &value));
  say("discipline %d", value);
  SAY("TIOCSETD to the same", ioctl(slave, TIOCSETD, &value));
  put(master, "abc");
  struct pollfd one = {slave, POLLIN, 0};
  poll(&one, 1, 5000);
  SAY("FIONREAD", ioctl(slave, FIONREAD, &value));
  say("waiting %d", value);
  SAY("TIOCEXCL", ioctl(slave, TIOCEXCL));
  SAY("TIOCGEXCL", ioctl(slave, TIOCGEXCL, &value));
  say("exclusive %d", value);
  SAY("TIOCNXCL", ioctl(slave, TIOCNXCL));
}

static void locked(void) {
  char name[32];
  int lock = 1, number;
  master = (int)MUST(open("/dev/ptmx", O_RDWR | O_NOCTTY));
  MUST(ioctl(master, TIOCGPTN, &number));
  snprintf(name, sizeof name, "/dev/pts/%d", number);
  SAY("locked from the start", open(name, O_RDWR | O_NOCTTY));
  SAY("TIOCGPTLCK", ioctl(master, TIOCGPTLCK, &lock));
  say("locked %d", lock);
  lock = 0;
  MUST(ioctl(master, TIOCSPTLCK, &lock));
  SAY_OK("unlocked", open(name, O_RDWR | O_NOCTTY));
}

static void refused(void) {
  open_pair(&master, &slave);
  int value = 15;
  SAY("TIOCSTI", ioctl(slave, TIOCSTI, "x"));
  SAY("TIOCSCTTY", ioctl(slave, TIOCSCTTY, 0));
  SAY("TIOCCONS", ioctl(slave, TIOCCONS, 0));
  SAY("TIOCVHANGUP", ioctl(slave, TIOCVHANGUP, 0));
  SAY("TIOCGPTPEER", ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY));
  SAY("TIOCSETD to another discipline", ioctl(slave, TIOCSETD, &value));
  SAY("TIOCGPGRP", ioctl(slave, TIOCGPGRP, &value));
  SAY("TIOCGSID", ioctl(slave, TIOCGSID, &value));
}

/* The numbers 62 and 63 are no terminals of this guest's. */
static void foreign(void) {
  SAY("open", open("/dev/pts/62", O_RDWR | O_NOCTTY));
  SAY("open", open("/dev/pts/63", O_RDONLY | O_NOCTTY | O_NONBLOCK));
}

static const struct test_case cases[] = {
    {"pointers of ioctls", pointers_of_ioctls},
    {"commands", commands},
    {"buffers", buffers},
    {"vectors", vectors},
    {"ways to open it", ways_to_open},
    {"links to it", links_to_it},
    {"closed descriptors", closed_descriptors},
    {"values", values},
    {"locked", locked},
    {"refused on purpose", refused}, /* as a guest only: this machine would do it */
    {"terminals of others", foreign},
};

int main(int argc, char **argv) { return run_cases(cases, COUNT(cases), argc, argv); }
