/** A program of attempts in this folder. */
export interface HostileProgram {
  name: string;
  /** local: over this machine's own terminals; vm: over vivid in a driver VM. */
  domain: 'local' | 'vm';
  /** Attempts that are not run without Postern, and why. */
  neverWithout: Readonly<Record<string, string>>;
  /** Attempts that must reach their aim without Postern: what stops them is then Postern, and the check can fail. */
  succeedWithout: readonly string[];
  /** Attempts that the host may end by killing who makes them. */
  mayBeKilled: readonly string[];
}

const OF_ITSELF = 'it would be this machine’s own';
const NO_MEMORY = 'beside the driver there is no such descriptor';
const SECRET = 'it needs another guest, and a host that gives pages back';

export const PROGRAMS: readonly HostileProgram[] = [
  {
    name: 'paths',
    domain: 'local',
    neverWithout: { 'another name': OF_ITSELF, 'a hard link': OF_ITSELF },
    succeedWithout: [
      'the plain name',
      '/dev/../dev',
      'a symlink',
      'thirty symlinks',
      'O_PATH',
      'openat2 beneath /dev',
      'openat2 with /dev as root',
      'an openat2 of the future',
      'a directory descriptor',
      'a working directory',
      'creat',
      'mknod in /tmp',
      'mknod in /dev',
      'mknod in /dev/shm',
      'a bind mount and chroot',
      'pivot_root',
      'a devpts of its own',
      'a devpts by old magic',
      'a detached tree',
      'mount_setattr',
      'a remount',
      'its own root',
      'the placeholder anew',
      "another guest's terminal",
      'every terminal',
    ],
    mayBeKilled: [],
  },
  {
    name: 'calls',
    domain: 'local',
    neverWithout: {},
    succeedWithout: [
      'high halves',
      'sigreturn',
      'asynchronous I/O',
      'a filter that allows',
      'a listener of its own',
      'a tracer at the entry',
      'a tracer at a filter',
      'exec',
      'clone',
      'vfork',
      'clone3',
      'exec by a thread',
      "the injector's directory",
      'F_DUPFD',
      'dup2',
      'dup3',
      'SCM_RIGHTS',
      'pidfd_getfd',
      'a copy over exec',
      'splice',
    ],
    mayBeKilled: [],
  },
  {
    name: 'processes',
    domain: 'local',
    neverWithout: {
      ...{ 'ptrace of init': OF_ITSELF, 'kill of init': OF_ITSELF, kexec_load: OF_ITSELF },
      ...{ init_module: OF_ITSELF, iopl: OF_ITSELF },
    },
    succeedWithout: [
      'ptrace of an outsider',
      'process_vm_readv of an outsider',
      'process_vm_writev of an outsider',
      '/proc/PID/mem of an outsider',
      '/proc/PID/root of an outsider',
      '/proc/PID/environ of an outsider',
      'pidfd_getfd of an outsider',
      'kill of an outsider',
      'prlimit of an outsider',
      'setns',
      'setns by pidfd',
      'F_SETOWN',
      'capset',
      'a setuid program',
      'a program with capabilities',
      'core_pattern',
      '/proc/sys',
      '/sys/power',
      '/sys/kernel',
      'an undumpable process',
    ],
    mayBeKilled: [],
  },
  {
    name: 'arguments',
    domain: 'local',
    neverWithout: {},
    succeedWithout: ['every backend process', 'a flood of refusals'],
    mayBeKilled: [],
  },
  {
    name: 'pages',
    domain: 'vm',
    neverWithout: {
      ...{ 'a mapping without a first thread': SECRET, 'a mapping in a PID namespace below': SECRET },
      ...{ 'a mapping handed on': SECRET, 'pages in a pipe': SECRET, 'pages in a socket': SECRET },
      ...{ "a thread's own table": NO_MEMORY, 'a table without a first thread': NO_MEMORY },
      ...{ 'a table shared from a PID namespace below': NO_MEMORY, 'a sharer just in time': NO_MEMORY },
      ...{ 'the owner of the user namespace': NO_MEMORY, 'an instruction that changes': NO_MEMORY },
      ...{ 'a full table': NO_MEMORY },
    },
    succeedWithout: ['foreign offsets', "another file's offset", 'mprotect of driver pages'],
    mayBeKilled: ['an instruction that changes'],
  },
];
