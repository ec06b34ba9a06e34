import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { allOk, examineMachine } from '../../host/cli/doctor-checks.js';
import { Bench, type Cases } from './support.js';

/** What stops each attempt of test/guests/escapes.c. */
const STOPPED: Record<string, string[]> = {
  'other call tables': [
    ...['int80 getpid: ENOSYS', 'int80 ioctl: ENOSYS', 'x32 getpid: ENOSYS', 'x32 ioctl: ENOSYS'],
    'a number that is none: ENOSYS',
  ],
  io_uring: ['io_uring_setup: ENOSYS', 'io_uring_enter: ENOSYS', 'io_uring_register: ENOSYS'],
  'asynchronous I/O': ['what has come through: EAGAIN'],
  'socket calls': [
    ...['sendto', 'recvfrom', 'sendmsg', 'recvmsg', 'shutdown', 'connect', 'getsockname', 'getpeername'].map(
      (call) => `${call}: ENOTSOCK`,
    ),
    ...['setsockopt', 'getsockopt', 'accept', 'listen'].map((call) => `${call}: ENOTSOCK`),
    'splice: EINVAL',
    "master: 9 'untouched'",
  ],
  'opening the placeholder anew': ['open: ENXIO', 'openat2: ENXIO', 'open by /dev/fd: ENXIO'],
  'nodes of its own': [
    ...['mknod: EPERM', 'mknod in /dev: EPERM', 'mknod of a block device: EPERM', 'mount: EPERM'],
    ...['remount with devices: EPERM', 'umount: EPERM', 'bind: EPERM'],
  ],
  // Wherever the device file is mounted, what opens is the placeholder.
  'in a user namespace': [
    ...['mount a tmpfs: EPERM', 'mount devtmpfs: EPERM'],
    ...['remount /dev with devices: EPERM', 'umount /dev: EINVAL'],
    ...['bind the device: 0', 'open it there: a descriptor in the window: 1'],
    ...['bind /dev: 0', 'chroot: 0', 'open it in the chroot: a descriptor in the window: 1'],
    'open it relatively: a descriptor in the window: 1',
  ],
  'other processes': [
    ...['the oldest process that is seen: 1', 'ptrace of it: EPERM', 'process_vm_readv of it: EPERM'],
    ...['pidfd_getfd of it: EPERM', 'its descriptors: EACCES', 'its memory: EACCES', 'its root: EACCES'],
    'processes in /proc: 1, parent 1',
  ],
  'the filter itself': [
    ...['bpf: EPERM', "the launcher's socket: EBADF", "the injector's own call: EBADF"],
    ...['a listener of its own: EFAULT', 'kexec_load: EPERM'],
  ],
  'a path that changes': ['adds up: 1, escaped: 0'],
  'a value that changes': ['both were seen: 1, what was not judged: 0'],
  'descriptors that change': ['wrong files: 0'],
};

describe.skipIf(!allOk(examineMachine(), 'required'))('a guest that tries to get around the boundary', () => {
  let bench: Bench;
  let guest: Cases;

  beforeAll(async () => {
    bench = await Bench.local();
    guest = await bench.guestCases('escapes');
  });
  afterAll(() => bench.close());

  it('tries all of it', () => {
    expect([...guest.keys()]).toEqual(Object.keys(STOPPED));
  });

  it.each(Object.keys(STOPPED))('%s', (name) => {
    expect(guest.get(name)).toEqual(STOPPED[name]);
  });
});
