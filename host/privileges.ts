import { native } from './native.js';

/** Capabilities by the kernel's numbers (linux/capability.h): what the host of guests may need after its set-up, and for what. */
const CAPABILITIES = {
  /** Files of a user whose folder root may not enter by its mode: a repository, a log, a guest's folders on the way to its file. */
  DAC_OVERRIDE: 1,
  DAC_READ_SEARCH: 2,
  /** Ending QEMU and the X server, which are nobody's, and guests that have become another user. */
  KILL: 5,
  /** Starting a QEMU anew as nobody, without privileges, when the one before has crashed. */
  SETGID: 6,
  SETUID: 7,
  SETPCAP: 8,
  /** For tunnels of the local driver domain. */
  NET_ADMIN: 12,
  /** Reading a guest's memory, borrowing its descriptors, stopping its threads, whoever it has become. */
  SYS_PTRACE: 19,
  /** The namespaces and mounts of the local domain's agent, and its device nodes. */
  SYS_ADMIN: 21,
  MKNOD: 27,
} as const;
type Capability = keyof typeof CAPABILITIES;

const FOR_GUESTS: readonly Capability[] = ['DAC_OVERRIDE', 'DAC_READ_SEARCH', 'KILL', 'SYS_PTRACE'];
const FOR_QEMU: readonly Capability[] = ['SETGID', 'SETUID', 'SETPCAP'];
const FOR_AGENT: readonly Capability[] = ['SYS_ADMIN', 'MKNOD', 'NET_ADMIN'];

/**
 * What each process of Postern's has left once it is set up. `vm`, `local`: it mediates for guests, whose driver domain of that kind it
 * starts anew when it ends. `command`: it waits for a guest of another host.
 */
const KEPT: Readonly<Record<'vm' | 'local' | 'command', readonly Capability[]>> = {
  vm: [...FOR_GUESTS, ...FOR_QEMU],
  local: [...FOR_GUESTS, ...FOR_QEMU, ...FOR_AGENT],
  command: [],
};

/**
 * Gives up, in every thread of this process, the capabilities that it does not need from here on, and the way to new ones (no_new_privs).
 * Without root there are none, and only the latter happens.
 * @throws Error when a thread keeps some
 */
export function leavePrivileges(role: keyof typeof KEPT): void {
  native.keepCapabilities(KEPT[role].map((name) => CAPABILITIES[name]));
}
