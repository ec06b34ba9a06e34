/* Ways around the system call filter, and descriptors that it may not know. What must not happen: a call on the device that nobody judged. */
#include "attempt.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/ptrace.h>
#include <sys/user.h>

#define X32_BIT 0x40000000l
#define NODE "/dev/ptmx"
/* i386's numbers. */
enum { I386_OPEN = 5, I386_GETPID = 20, I386_IOCTL = 54 };
/* The user's 32-bit code segment of Linux. */
#define CODE_SEGMENT_32 0x23

static int master, slave;

static long int80(long number, long a, long b, long c) {
  long result;
  __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory", "r8", "r9", "r10", "r11");
  if (result < 0 && result > -4096) {
    errno = (int)-result;
    return -1;
  }
  return result;
}

/* Memory that a 32-bit call can name. */
static void *low_page(void) {
  return (void *)MUST(mmap(NULL, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0));
}

static void i386_open(void) {
  char *path = low_page();
  strcpy(path, NODE);
  judge_device((int)int80(I386_OPEN, (long)path, O_RDWR | O_NOCTTY, 0));
}

static void i386_ioctl(void) {
  struct winsize *size = low_page();
  open_pair(&master, &slave);
  judge_call("i386's ioctl", int80(I386_IOCTL, slave, TIOCGWINSZ, (long)size));
}

/* The same from 32-bit code, by a far call. */
static void from_32_bit_code(void) {
  char *page = low_page();
  /* mov $5,%eax; int $0x80; lret */
  static const unsigned char code[] = {0xb8, I386_OPEN, 0, 0, 0, 0xcd, 0x80, 0xcb};
  memcpy(page, code, sizeof code);
  strcpy(page + 1024, NODE);
  /* Not on the stack, which is another one then. */
  static struct {
    uint32_t offset;
    uint16_t segment;
  } __attribute__((packed)) target;
  target.offset = (uint32_t)(uintptr_t)page;
  target.segment = CODE_SEGMENT_32;
  long result, path = (long)(page + 1024), flags = O_RDWR | O_NOCTTY;
  char *stack = page + 8192 - 64;
  __asm__ volatile(
      "mov %%rsp, %%r12\n\t"
      "mov %[stack], %%rsp\n\t"
      "lcall *%[target]\n\t"
      "mov %%r12, %%rsp"
      : "=a"(result)
      : [stack] "r"(stack), [target] "m"(target), "b"(path), "c"(flags), "d"(0l)
      : "memory", "r8", "r9", "r10", "r11", "r12");
  int fd = (int)result;
  if (fd < 0) errno = -fd, fd = -1;
  judge_device(fd);
}

static void x32_ioctl(void) {
  static struct winsize size;
  open_pair(&master, &slave);
  judge_call("x32's ioctl", syscall(X32_BIT | 514, slave, TIOCGWINSZ, &size));
}

static void x32_open(void) { judge_device((int)syscall(X32_BIT | SYS_openat, AT_FDCWD, NODE, O_RDWR | O_NOCTTY)); }

/* The kernel takes the low half of a number, of a descriptor and of flags. */
static void high_halves(void) {
  int fd = (int)syscall(SYS_openat | 0x500000000l, (long)AT_FDCWD | 0x700000000l, NODE, O_RDWR | O_NOCTTY | 0x900000000l);
  judge_device(fd);
}

/* A return from a signal that goes to a system call instruction, with registers of its own choice. */
static long *opened_there;
static void on_usr1(int number, siginfo_t *info, void *context) {
  (void)number, (void)info;
  greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
  static unsigned char *code;
  code = low_page();
  /* syscall; mov %rax,(%rbx); mov $60,%eax ... goes on in the attempt through a trap */
  memcpy(code, "\x0f\x05\x48\x89\x03\xcc", 6);
  registers[REG_RIP] = (greg_t)code;
  registers[REG_RAX] = SYS_openat;
  registers[REG_RDI] = AT_FDCWD;
  registers[REG_RSI] = (greg_t)NODE;
  registers[REG_RDX] = O_RDWR | O_NOCTTY;
  registers[REG_RBX] = (greg_t)opened_there;
}
static void on_trap(int number) {
  (void)number;
  int fd = (int)*opened_there;
  if (fd < 0) errno = -fd, fd = -1;
  judge_device(fd);
}
static void by_sigreturn(void) {
  opened_there = low_page();
  struct sigaction action = {.sa_flags = SA_SIGINFO};
  action.sa_sigaction = on_usr1;
  MUST(sigaction(SIGUSR1, &action, NULL));
  install(SIGTRAP, on_trap, 0);
  raise(SIGUSR1);
}

static void ring(void) {
  char parameters[120] = {0};
  judge_call("io_uring_setup", syscall(SYS_io_uring_setup, 4, parameters));
}
static void ring_enter(void) {
  errno = 0;
  long result = syscall(SYS_io_uring_enter, 0, 0, 0, 0, NULL, 0);
  if (result == -1 && errno == ENOSYS) STOPPED("io_uring_enter: ENOSYS");
  SUCCEEDED("io_uring_enter is there: %s", result_text(result));
}
static void ring_register(void) {
  errno = 0;
  long result = syscall(SYS_io_uring_register, 0, 0, NULL, 0);
  if (result == -1 && errno == ENOSYS) STOPPED("io_uring_register: ENOSYS");
  SUCCEEDED("io_uring_register is there: %s", result_text(result));
}

static void asynchronous_write(void) {
  unsigned long context = 0;
  static char byte = 'x';
  struct {
    uint64_t data;
    uint32_t key, flags;
    uint16_t opcode;
    int16_t priority;
    uint32_t fd;
    uint64_t buffer, bytes;
    int64_t offset;
    uint64_t reserved;
    uint32_t more_flags, event_fd;
  } control = {.opcode = 1 /* IOCB_CMD_PWRITE */, .buffer = (uint64_t)&byte, .bytes = 1}, *list[] = {&control};
  open_pair(&master, &slave);
  control.fd = (uint32_t)slave;
  if (syscall(SYS_io_setup, 1, &context) != 0) STOPPED("io_setup: %s", strerrorname_np(errno));
  judge_call("io_submit", syscall(SYS_io_submit, context, 1, list));
}

/* ---- The filter itself. */

static long add_filter(uint32_t flags, uint32_t action, uint32_t number) {
  struct sock_filter program[] = {
      {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr)},
      {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, number},
      {BPF_RET | BPF_K, 0, 0, action},
      {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW},
  };
  struct sock_fprog fprog = {COUNT(program), program};
  MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &fprog);
}

static void filter_that_allows(void) {
  MUST(add_filter(0, SECCOMP_RET_ALLOW, SYS_openat));
  judge_device(open(NODE, O_RDWR | O_NOCTTY));
}
static void listener_of_its_own(void) {
  judge_call("a listener of its own", add_filter(SECCOMP_FILTER_FLAG_NEW_LISTENER, SECCOMP_RET_USER_NOTIF, SYS_getppid));
}
static void no_filter(void) {
  long result = prctl(PR_SET_SECCOMP, 0, 0, 0, 0);
  if (result != 0) STOPPED("prctl: %s", strerrorname_np(errno));
  judge_device(open(NODE, O_RDWR | O_NOCTTY));
}

static char traced_path[] = NODE;

/* A child that asks for getppid, which its tracer turns into an open. */
static void traced_child(bool has_filter) {
  MUST(ptrace(PTRACE_TRACEME, 0, 0, 0));
  raise(SIGSTOP);
  if (has_filter) MUST(add_filter(0, SECCOMP_RET_TRACE, SYS_getppid));
  long fd = syscall(SYS_getppid);
  _exit(fd < 0 ? 0 : is_device((int)fd) ? 77 : fd >= WINDOW_FIRST ? 78 : 79);
}

static void turn_into_open(pid_t child) {
  struct user_regs_struct registers;
  MUST(ptrace(PTRACE_GETREGS, child, 0, &registers));
  if (registers.orig_rax != SYS_getppid) return;
  registers.orig_rax = SYS_openat;
  registers.rdi = (unsigned long)AT_FDCWD;
  registers.rsi = (unsigned long)traced_path;
  registers.rdx = O_RDWR | O_NOCTTY;
  MUST(ptrace(PTRACE_SETREGS, child, 0, &registers));
}

static void judge_traced(bool has_filter) {
  int status;
  pid_t child = (pid_t)MUST(fork());
  if (child == 0) traced_child(has_filter);
  MUST(waitpid(child, &status, 0));
  MUST(ptrace(PTRACE_SETOPTIONS, child, 0, PTRACE_O_TRACESECCOMP | PTRACE_O_EXITKILL));
  bool is_entry = true;
  for (;;) {
    if (ptrace(has_filter ? PTRACE_CONT : PTRACE_SYSCALL, child, 0, 0) != 0) break;
    if (waitpid(child, &status, 0) != child || WIFEXITED(status) || WIFSIGNALED(status)) break;
    const bool at_seccomp = status >> 8 == (SIGTRAP | (PTRACE_EVENT_SECCOMP << 8));
    if (at_seccomp || (!has_filter && is_entry)) turn_into_open(child);
    is_entry = !is_entry;
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77) SUCCEEDED("the child got the device itself");
  if (WIFEXITED(status) && WEXITSTATUS(status) == 78) STOPPED("what it turned into was judged again: a placeholder");
  STOPPED("the call failed (%d)", status);
}

static void traced_at_entry(void) { judge_traced(false); }
static void traced_at_filter(void) { judge_traced(true); }

static void without_filter_by_tracing(void) {
  int status;
  pid_t child = (pid_t)MUST(fork());
  if (child == 0) {
    raise(SIGSTOP);
    _exit(is_device(open(NODE, O_RDWR | O_NOCTTY)) ? 77 : 0);
  }
  MUST(waitpid(child, &status, WUNTRACED));
  long result = ptrace(PTRACE_SEIZE, child, 0, 1 << 21 /* PTRACE_O_SUSPEND_SECCOMP */);
  int error = errno;
  kill(child, SIGCONT);
  if (result != 0) STOPPED("PTRACE_O_SUSPEND_SECCOMP: %s", strerrorname_np(error));
  SUCCEEDED("seccomp is suspended");
}

/* ---- Programs that might lose it. */

static char own_path[256];

static void judge_child(pid_t child) {
  int status;
  MUST(waitpid(child, &status, __WALL));
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77) SUCCEEDED("the child got the device itself");
  STOPPED("the child got a placeholder");
}

/* What such a child does. */
static int open_and_tell(void *unused) {
  (void)unused;
  int fd = (int)syscall(SYS_openat, AT_FDCWD, NODE, O_RDWR | O_NOCTTY);
  syscall(SYS_exit_group, is_device(fd) ? 77 : 0);
  return 0;
}

static void after_exec(void) {
  pid_t child = (pid_t)MUST(fork());
  if (child == 0) {
    execl(own_path, own_path, "open-and-tell", NULL);
    _exit(9);
  }
  judge_child(child);
}

static void after_clone(void) {
  static char stack[1 << 16];
  judge_child((pid_t)MUST(clone(open_and_tell, stack + sizeof stack, CLONE_UNTRACED | CLONE_VM | CLONE_FILES | SIGCHLD, NULL)));
}

static void after_vfork(void) {
  pid_t child = (pid_t)syscall(SYS_clone, CLONE_VFORK | SIGCHLD, NULL, NULL, NULL, NULL);
  MUST(child);
  if (child == 0) open_and_tell(NULL);
  judge_child(child);
}

static void after_clone3(void) {
  struct {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
  } arguments = {.flags = CLONE_FILES, .exit_signal = SIGCHLD};
  pid_t child = (pid_t)syscall(SYS_clone3, &arguments, sizeof arguments);
  MUST(child);
  if (child == 0) open_and_tell(NULL);
  judge_child(child);
}

/* A thread that is not the first executes: it takes the first one's number. */
static void *execute(void *unused) {
  (void)unused;
  execl(own_path, own_path, "open-and-tell", NULL);
  return NULL;
}
static void exec_by_a_thread(void) {
  pid_t child = (pid_t)MUST(fork());
  if (child == 0) {
    open_pair(&master, &slave);
    start(execute, NULL);
    for (;;) pause();
  }
  judge_child(child);
}

/* ---- Numbers. */

static void injectors_number(void) { judge_device((int)syscall(SYS_openat, -4242, NODE, O_RDWR)); }

static void launchers_socket(void) {
  for (int fd = 3; fd < 64; fd++)
    if (fcntl(fd, F_GETFD) != -1) SUCCEEDED("descriptor %d was left open", fd);
  STOPPED("no descriptor was left open");
}

/* What the terminal has to say is asked on a number that the filter does not watch. */
static void judge_watched(int fd) {
  struct winsize size = {.ws_row = 33};
  if (fd < 0) STOPPED("%s", strerrorname_np(errno));
  if (ioctl(fd, TIOCGWINSZ, &size) == 0 && fd < WINDOW_FIRST) SUCCEEDED("the terminal answers on descriptor %d", fd);
  if (fd >= WINDOW_FIRST) STOPPED("descriptor %d, in the window", fd);
  STOPPED("descriptor %d, on which nothing of the terminal answers: %s", fd, strerrorname_np(errno));
}

static void duplicated(void) { open_pair(&master, &slave), judge_watched(fcntl(slave, F_DUPFD, 3)); }
static void duplicated_over(void) { open_pair(&master, &slave), judge_watched(dup2(slave, 7)); }
static void duplicated_by_dup3(void) { open_pair(&master, &slave), judge_watched(dup3(slave, 8, O_CLOEXEC)); }
static void duplicated_high(void) { open_pair(&master, &slave), judge_watched(fcntl(slave, F_DUPFD_CLOEXEC, WINDOW_LAST + 1)); }
static void over_a_socket(void) { open_pair(&master, &slave), judge_watched(copy_outside(slave)); }

static void by_pidfd(void) {
  open_pair(&master, &slave);
  int own = (int)MUST(syscall(SYS_pidfd_open, getpid(), 0));
  judge_watched((int)syscall(SYS_pidfd_getfd, own, slave, 0));
}

static void inherited_by_exec(void) {
  char number[16];
  open_pair(&master, &slave);
  int copy = copy_outside(slave);
  pid_t child = (pid_t)MUST(fork());
  if (child == 0) {
    snprintf(number, sizeof number, "%d", copy);
    execl(own_path, own_path, "ask", number, NULL);
    _exit(9);
  }
  int status;
  MUST(waitpid(child, &status, 0));
  if (WEXITSTATUS(status) == 77) SUCCEEDED("the terminal answers on an inherited copy");
  STOPPED("nothing answers on an inherited copy");
}

/* ---- The placeholder as what it is, a socket. */

static void judge_socket(const char *what, long result) {
  if (result == -1) STOPPED("%s: %s", what, strerrorname_np(errno));
  SUCCEEDED("%s gave %ld", what, result);
}
static void sent_to(void) { open_pair(&master, &slave), judge_socket("sendto", sendto(slave, "x", 1, MSG_DONTWAIT, NULL, 0)); }
static void shut_down(void) { open_pair(&master, &slave), judge_socket("shutdown", shutdown(slave, SHUT_RDWR)); }
static void spliced(void) {
  int ends[2];
  MUST(pipe(ends));
  open_pair(&master, &slave);
  put(master, "spliced\n");
  judge_socket("splice", splice(slave, NULL, ends[1], NULL, 64, SPLICE_F_NONBLOCK));
}

/* A copy outside the window is a socket that the guest can use up. Only its own file may suffer. */
static void spoilt_outside(void) {
  int other_master, other_slave;
  struct winsize size;
  open_pair(&master, &slave);
  open_pair(&other_master, &other_slave);
  int copy = copy_outside(slave);
  static char noise[65536];
  int one = 1;
  for (int i = 0; i < 64; i++) (void)send(copy, noise, sizeof noise, MSG_DONTWAIT | MSG_NOSIGNAL);
  (void)setsockopt(copy, SOL_SOCKET, SO_SNDBUF, &one, sizeof one);
  (void)send(copy, "u", 1, MSG_OOB | MSG_DONTWAIT | MSG_NOSIGNAL);
  (void)shutdown(copy, SHUT_WR);
  struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
  (void)connect(copy, &nowhere, sizeof nowhere);
  for (int i = 0; i < 200; i++) (void)ioctl(slave, TIOCGWINSZ, &size);
  put(other_master, "well");
  char text[8] = {0};
  if (ioctl(other_slave, TIOCGWINSZ, &size) != 0 || read(other_slave, text, 4) != 4) SUCCEEDED("another file is spoilt: %s", strerrorname_np(errno));
  STOPPED("another file of the same guest goes on as ever");
}

/* ---- A number that means another file while it is used. */

static atomic_int racing = 1;
static int pairs[2][2];
static void *swap_files(void *unused) {
  (void)unused;
  for (unsigned i = 0; atomic_load(&racing); i++) dup2(pairs[i % 2][1], WINDOW_FIRST + 150);
  return NULL;
}

/* A file is a terminal of 10 or of 20 rows, and nothing between them. */
static void swapped(void) {
  unsigned wrong = 0;
  for (int i = 0; i < 2; i++) {
    open_pair(&pairs[i][0], &pairs[i][1]);
    struct winsize size = {.ws_row = (unsigned short)(10 * (i + 1)), .ws_col = (unsigned short)(10 * (i + 1))};
    MUST(ioctl(pairs[i][1], TIOCSWINSZ, &size));
  }
  MUST(dup2(pairs[0][1], WINDOW_FIRST + 150));
  pthread_t swapper = start(swap_files, NULL);
  for (int i = 0; i < 4000; i++) {
    struct winsize size = {0};
    if (ioctl(WINDOW_FIRST + 150, TIOCGWINSZ, &size) != 0) continue;
    wrong += size.ws_row != size.ws_col || (size.ws_row != 10 && size.ws_row != 20);
  }
  atomic_store(&racing, 0);
  pthread_join(swapper, NULL);
  if (wrong > 0) SUCCEEDED("%u answers of no file", wrong);
  STOPPED("each of 4000 answers was one file's");
}

/* The number is an ordinary file's while the call is judged. */
static void *swap_with_file(void *unused) {
  (void)unused;
  int file = (int)MUST(open("/dev/null", O_RDWR));
  while (atomic_load(&racing)) {
    dup2(pairs[0][0], WINDOW_FIRST + 150);
    dup2(file, WINDOW_FIRST + 150);
  }
  return NULL;
}
static void swapped_with_file(void) {
  open_pair(&pairs[0][0], &pairs[0][1]);
  pthread_t swapper = start(swap_with_file, NULL);
  unsigned native = 0;
  /* A command that is refused: only the driver itself would give the other end. */
  for (int i = 0; i < 4000; i++) {
    int peer = ioctl(WINDOW_FIRST + 150, TIOCGPTPEER, O_RDWR | O_NOCTTY);
    native += peer >= 0;
    if (peer >= 0) close(peer);
  }
  atomic_store(&racing, 0);
  pthread_join(swapper, NULL);
  if (native > 0) SUCCEEDED("%u calls went to the driver unjudged", native);
  STOPPED("4000 tries of a refused command");
}

/* What is judged must be what the driver gets. */
static int value;
static void *change_value(void *unused) {
  (void)unused;
  while (atomic_load(&racing)) {
    __atomic_store_n(&value, 15 /* N_HDLC's neighbour, which needs a module */, __ATOMIC_RELAXED);
    __atomic_store_n(&value, 0, __ATOMIC_RELAXED);
  }
  return NULL;
}
static void changing_argument(void) {
  unsigned judged = 0, other = 0;
  open_pair(&master, &slave);
  pthread_t racer = start(change_value, NULL);
  for (int i = 0; i < 3000; i++) {
    errno = 0;
    int discipline = 0;
    if (ioctl(slave, TIOCSETD, &value) == 0) {
      judged++;
      MUST(ioctl(slave, TIOCGETD, &discipline));
      other += discipline != 0;
    } else other += errno != EPERM;  /* The driver's own word for a discipline that is not there is EINVAL: it has seen the value. */
  }
  atomic_store(&racing, 0);
  pthread_join(racer, NULL);
  if (other > 0) SUCCEEDED("%u times the driver saw what was not judged", other);
  STOPPED("%u of 3000 calls were allowed, the others refused by what was read once", judged);
}

/* Two tables in one process: what the host has learnt of the one does not hold in the other. */
static void *ask_in_other_table(void *unused) {
  (void)unused;
  struct winsize size;
  MUST(unshare(CLONE_FILES));
  MUST(close(slave));
  int file = (int)MUST(open("/dev/null", O_RDWR));
  MUST(dup2(file, slave));
  for (int i = 0; i < 200; i++)
    if (ioctl(slave, TIOCGWINSZ, &size) == 0) return (void *)1;
  return NULL;
}
static void two_tables(void) {
  struct winsize size;
  open_pair(&master, &slave);
  for (int i = 0; i < 50; i++) MUST(ioctl(slave, TIOCGWINSZ, &size));
  void *wrong;
  pthread_join(start(ask_in_other_table, NULL), &wrong);
  if (wrong) SUCCEEDED("the terminal answered for /dev/null");
  if (ioctl(slave, TIOCGWINSZ, &size) != 0) SUCCEEDED("the terminal is lost to the other thread");
  STOPPED("each thread has its own table's file");
}

static const struct attempt attempts[] = {
    {"i386's open", "int $0x80", i386_open},
    {"i386's ioctl", "int $0x80 on a terminal", i386_ioctl},
    {"32-bit code", "a far call into a 32-bit segment, and int $0x80 there", from_32_bit_code},
    {"x32's ioctl", "a number with the x32 bit", x32_ioctl},
    {"x32's open", "a number with the x32 bit", x32_open},
    {"high halves", "a number, a directory and flags with high halves that the kernel ignores", high_halves},
    {"sigreturn", "a return from a signal to a system call instruction", by_sigreturn},
    {"io_uring_setup", "a ring whose operations no filter sees", ring},
    {"io_uring_enter", "the same", ring_enter},
    {"io_uring_register", "the same", ring_register},
    {"asynchronous I/O", "io_submit of a write", asynchronous_write},
    {"a filter that allows", "a second filter that allows what the first notifies", filter_that_allows},
    {"a listener of its own", "a second listener, that could place descriptors", listener_of_its_own},
    {"no filter", "prctl(PR_SET_SECCOMP, disabled)", no_filter},
    {"a tracer at the entry", "a tracer that turns getppid into an open", traced_at_entry},
    {"a tracer at a filter", "the same behind SECCOMP_RET_TRACE of its own", traced_at_filter},
    {"a tracer that suspends the filter", "PTRACE_O_SUSPEND_SECCOMP", without_filter_by_tracing},
    {"exec", "another program", after_exec},
    {"clone", "an untraced process with the same memory and descriptors", after_clone},
    {"vfork", "a process that its parent waits for", after_vfork},
    {"clone3", "a process by flags that no filter sees", after_clone3},
    {"exec by a thread", "a thread that takes its process's number, with terminals open", exec_by_a_thread},
    {"the injector's directory", "openat with the number that stands for the driver VM's memory", injectors_number},
    {"what the launcher left", "descriptors of the launcher and of the host", launchers_socket},
    {"F_DUPFD", "a copy below the window", duplicated},
    {"dup2", "a copy below the window", duplicated_over},
    {"dup3", "a copy below the window", duplicated_by_dup3},
    {"F_DUPFD_CLOEXEC", "a copy above the window", duplicated_high},
    {"SCM_RIGHTS", "a copy below the window, over a socket", over_a_socket},
    {"pidfd_getfd", "a copy below the window, of its own", by_pidfd},
    {"a copy over exec", "a copy below the window that another program inherits", inherited_by_exec},
    {"sendto", "the placeholder's socket", sent_to},
    {"shutdown", "the placeholder's socket", shut_down},
    {"splice", "the placeholder as an end of a splice", spliced},
    {"a spoilt placeholder", "to fill, shut and disconnect a copy outside the window", spoilt_outside},
    {"two files of one number", "dup2 of two terminals over a number that is used", swapped},
    {"a file and a device of one number", "dup2 over a number whose call is judged", swapped_with_file},
    {"an argument that changes", "to change the argument while it is judged", changing_argument},
    {"two tables of one process", "unshare(CLONE_FILES) in a thread, and another file under the same number", two_tables},
};

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "open-and-tell") == 0) return open_and_tell(NULL);
  if (argc == 3 && strcmp(argv[1], "ask") == 0) {
    struct winsize size;
    return ioctl(atoi(argv[2]), TIOCGWINSZ, &size) == 0 ? 77 : 0;
  }
  snprintf(own_path, sizeof own_path, "%s", argv[0]);
  return run_attempts(attempts, COUNT(attempts), argc, argv);
}
