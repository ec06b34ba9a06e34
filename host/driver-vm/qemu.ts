import { accessSync, constants, realpathSync, statSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { ROOT } from '../root.js';
import { AUDIO_BACKEND } from './hardware.js';
import { screenArguments } from './screen.js';

export const QEMU = 'qemu-system-x86_64';
const NOBODY = '65534';
/** Takes from QEMU what its VM does not need (native/launcher/confine.c). */
export const CONFINE = join(ROOT, 'native', 'build', 'confine');

/** Descriptors that QEMU inherits, by their numbers there. They are part of the command line, and so the same at every start. */
export const QEMU_DESCRIPTORS = {
  memory: 3,
  qmp: 4,
  control: 5,
  doorbell: 6,
  console: 7,
  kernel: 8,
  initramfs: 9,
  /** Restoring: the saved device state. */
  state: 10,
  /** Where pictures of the display go (screen.ts). */
  screen: 11,
  /** Recording: where the sound goes. */
  recording: 12,
  /** Rendering: the key to the X server. */
  authority: 13,
  /** A guest VM: where the aperture's memory and events come from (host/guest-vm). */
  aperture: 14,
  /** A guest VM: the driver domain's memory, which the host maps into the aperture, and the same for reading only. */
  driverMemory: 15,
  driverMemoryReadOnly: 16,
  /** The program that confines it, which nobody need be able to reach by its path; closed before QEMU begins. */
  confine: 17,
  /** A guest VM: the socket that another driver domain's memory comes through, when the first one has ended. */
  gifts: 18,
} as const;

export interface QemuOptions {
  memoryMiB: number;
  sharedRoot: boolean;
  accelerator: 'tcg' | 'kvm';
  /** What the drivers need to find (hardware.ts). */
  devices: readonly string[];
  /** Whether what the sound cards play goes, as a WAV file, to an inherited descriptor. */
  recording?: boolean;
  /** Whether a graphics card renders, for which QEMU needs OpenGL from an X server (display-server.ts). */
  rendering?: boolean;
  /** Whether this is a guest VM, whose devices are another VM's. */
  aperture?: boolean;
}

/**
 * Panic at once and without a reboot; nobody who presses keys, be they a guest's own device's, restarts the VM or reaches its kernel; no start-up self-tests and mitigations, which only cost time in a VM that nothing else runs in. Nor is
 * the timer's interrupt tried, which a VM that does not get its turn in time fails, and panics.
 */
const KERNEL_ARGUMENTS =
  'console=ttyS0 quiet panic=-1 nokaslr mitigations=off cryptomgr.notests rodata=off random.trust_cpu=on' +
  ' sysctl.kernel.sysrq=0 sysctl.kernel.ctrl-alt-del=0 no_timer_check';

/**
 * QEMU's arguments: one CPU, the serial ports of the agent, and nothing that the driver VM could reach the world by.
 * Everything that comes from outside is an inherited descriptor, so that QEMU needs no right to any path.
 */
export function qemuArguments(options: QemuOptions): string[] {
  const { memoryMiB, sharedRoot, accelerator, devices } = options;
  const fd = QEMU_DESCRIPTORS;
  const path = (descriptor: number): string => `/proc/self/fd/${descriptor}`;
  const socket = (id: string, descriptor: number): string[] => [
    '-chardev',
    `socket,id=${id},fd=${descriptor}`,
  ];
  return [
    ...[
      '-nodefaults',
      '-no-user-config',
      '-no-reboot',
      '-name',
      `postern-${options.aperture ? 'guest' : 'driver'}-vm`,
    ],
    ...['-display', options.rendering ? 'sdl,gl=on' : 'none'],
    ...['-machine', 'q35,memory-backend=ram,usb=off', '-accel', accelerator],
    // maxcpus=2: with a single possible CPU, QEMU would drop the atomicity of the VM's memory accesses towards the host.
    ...['-cpu', accelerator === 'kvm' ? 'host' : 'max', '-smp', '1,maxcpus=2', '-m', `${memoryMiB}M`],
    '-object',
    `memory-backend-file,id=ram,size=${memoryMiB}M,mem-path=${path(fd.memory)},share=on`,
    ...['-kernel', path(fd.kernel), '-initrd', path(fd.initramfs), '-append', KERNEL_ARGUMENTS],
    ...socket('qmp', fd.qmp),
    ...['-mon', 'chardev=qmp,mode=control'],
    ...socket('control', fd.control),
    ...socket('doorbell', fd.doorbell),
    ...socket('console', fd.console),
    ...['-serial', 'chardev:console'],
    ...['-device', 'virtio-serial-pci,id=ports,max_ports=4'],
    ...['-device', 'virtserialport,bus=ports.0,nr=1,chardev=control,name=postern.control'],
    ...['-device', 'virtserialport,bus=ports.0,nr=2,chardev=doorbell,name=postern.doorbell'],
    ...audioArguments(options),
    ...devices,
    ...screenArguments(fd.screen),
    ...(options.aperture
      ? [...socket('aperture', fd.aperture), '-device', 'ivshmem-doorbell,chardev=aperture,vectors=1']
      : []),
    ...['-device', 'pvpanic-pci', '-action', 'panic=exit-failure'],
    ...(sharedRoot
      ? ['-virtfs', 'local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap']
      : []),
    ...['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'],
  ];
}

/** Sound cards play into the void, or into a file as they play; what they record is silence. */
function audioArguments({ devices, recording }: QemuOptions): string[] {
  if (!devices.some((device) => device.includes(`audiodev=${AUDIO_BACKEND}`))) return [];
  const format = 'out.frequency=48000,out.channels=2,out.format=s16';
  const file = `wav,id=${AUDIO_BACKEND},path=/proc/self/fd/${QEMU_DESCRIPTORS.recording},${format}`;
  return ['-audiodev', recording ? file : `none,id=${AUDIO_BACKEND}`];
}

/** What a QEMU needs beyond its descriptors. */
export interface QemuNeeds {
  /** This machine's root, to share it for reading. */
  sharedRoot: boolean;
  /** An X server, which it finds by an abstract socket: that is the network's. */
  rendering: boolean;
}

/**
 * The command that starts QEMU: killed by the kernel when this process's thread ends. It has no network, reads nothing but the system's
 * libraries and its own data, writes nothing, and reaches no other process. Its descriptor `confine` must be CONFINE.
 */
export function qemuCommand(
  qemuArgumentList: readonly string[],
  { sharedRoot, rendering }: QemuNeeds,
): UnprivilegedCommand {
  const { confine } = QEMU_DESCRIPTORS;
  const reads = [dirname(dirname(realpathSync(qemuPath()))), ...(sharedRoot ? ['/'] : [])];
  const confined = unprivileged(
    [
      ...[`/proc/self/fd/${confine}`, '--close', String(confine)],
      // A user namespace would show it every file of the shared root as nobody's.
      ...(rendering || sharedRoot ? ['--share-network'] : []),
      ...reads.flatMap((path) => ['--read', path]),
      ...['--', QEMU, ...qemuArgumentList],
    ],
    'KILL',
  );
  return sharedRoot && !rendering && isRoot() ? withoutNetwork(confined) : confined;
}

/** Root needs no user namespace for a network namespace. */
function withoutNetwork({ command, commandArguments }: UnprivilegedCommand): UnprivilegedCommand {
  return { command: 'unshare', commandArguments: ['--net', '--', command, ...commandArguments] };
}

/** A program with its arguments, as spawn takes them. */
export interface UnprivilegedCommand {
  command: string;
  commandArguments: string[];
}

/**
 * The command that starts a program without privileges, as nobody where this process may choose; it gets `signal` when this process's
 * thread ends.
 */
export function unprivileged(argv: readonly string[], signal: 'KILL' | 'TERM'): UnprivilegedCommand {
  const asNobody = ['--reuid', NOBODY, '--regid', NOBODY, '--clear-groups', '--bounding-set', '-all'];
  const privileges = [...(isRoot() ? asNobody : []), '--inh-caps', '-all', '--no-new-privs'];
  return {
    command: 'setpriv',
    commandArguments: [...privileges, '--pdeathsig', signal, '--', ...argv],
  };
}

function isRoot(): boolean {
  return process.getuid?.() === 0;
}

/**
 * Names the QEMU binary so that another one, or another version of it, has another name: a snapshot is only good for the one
 * that took it.
 * @throws Error when QEMU is not installed
 */
export function qemuIdentity(): string {
  const path = realpathSync(qemuPath());
  const { size, mtimeMs } = statSync(path);
  return `${path} ${size} ${mtimeMs}`;
}

/** The first QEMU on PATH that may be run. */
function qemuPath(): string {
  const paths = (process.env.PATH ?? '').split(delimiter).map((folder) => join(folder, QEMU));
  const found = paths.find(mayRun);
  if (found === undefined)
    throw new Error(`${QEMU} is not on PATH: the driver VM needs it. Install the package qemu-system-x86.`);
  return found;
}

function mayRun(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
