import type { Device } from '../driver-vm/devices.js';
import { procLines } from './proc-view.js';
import { sysfsLines } from './sysfs-view.js';

/** Device nodes that no driver of consequence is behind: every guest keeps this machine's own. */
const HARMLESS = ['null', 'zero', 'full', 'random', 'urandom', 'tty'];
/** Whoever may run Postern decides which guest gets a device; in the guest its node is everyone's. */
const NODE_MODE = '666';

/** A guarded device file in a guest's view. */
export interface GuardedDevice {
  /** In the guest, absolute, below /dev. */
  path: string;
  device: Device;
}

/**
 * The launcher's plan (native/launcher/world.h) for a guest's private /dev, its /proc, and a /sys that shows the guarded
 * devices as beside their driver.
 */
export function worldPlan(
  guarded: readonly GuardedDevice[],
  networkAdministration: boolean,
  pollSynchronizes = false,
): string {
  const sys = sysfsLines(guarded.map(({ device }) => device));
  const lines = [
    ...(networkAdministration ? [['net-admin']] : []),
    ...(pollSynchronizes ? [['polls']] : []),
    ...HARMLESS.map((name) => ['keep', `/dev/${name}`]),
    ...sys.keep,
    ['nodev'],
    ['tmpfs', '/dev', '755'],
    ...HARMLESS.map((name) => ['attach', `/dev/${name}`]),
    ...standardLinks(),
    ...terminals(guarded),
    ['dir', '/dev/shm', '1777'],
    ['tmpfs', '/dev/shm', '1777'],
    ...guarded.map(({ path, device }) => [
      'node',
      path,
      NODE_MODE,
      String(device.major),
      String(device.minor),
    ]),
    ['proc', '/proc'],
    ...procLines(guarded.map(({ device }) => device)),
    ...sys.make,
    // What sets up the whole machine is root's by its mode, whatever capabilities a guest that is root has left.
    ['read-only', '/sys'],
  ];
  return lines.map((words) => words.join('\t')).join('\n');
}

function standardLinks(): string[][] {
  return [
    ['symlink', '/proc/self/fd', '/dev/fd'],
    ['symlink', '/proc/self/fd/0', '/dev/stdin'],
    ['symlink', '/proc/self/fd/1', '/dev/stdout'],
    ['symlink', '/proc/self/fd/2', '/dev/stderr'],
  ];
}

/** Pseudo terminals of the guest's own, unless their devices are guarded ones. */
function terminals(guarded: readonly GuardedDevice[]): string[][] {
  const isGuarded = guarded.some(({ path }) => path === '/dev/ptmx' || path.startsWith('/dev/pts/'));
  if (isGuarded) return [['dir', '/dev/pts', '755']];
  return [
    ['dir', '/dev/pts', '755'],
    ['devpts', '/dev/pts'],
    ['symlink', 'pts/ptmx', '/dev/ptmx'],
  ];
}
