import { readFileSync, statSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { allOk, examineMachine } from '../../host/cli/doctor-checks.js';
import { QEMU_DESCRIPTORS } from '../../host/driver-vm/qemu.js';
import { descendantsOf, RunningPostern, until } from '../cli/postern.js';

/** The first frame of a camera that nobody has used, the same whenever it is taken. */
const STILL =
  'v4l2-ctl --set-ctrl=osd_text_mode=2 --set-fmt-video=width=320,height=180,pixelformat=YUYV --stream-mmap' +
  ' --stream-count=1 --stream-to=/dev/shm/frame >/dev/null 2>&1 && sha256sum </dev/shm/frame';
/** Streams until its driver domain ends, then opens the device anew until there is another. */
const PROGRAM =
  `${STILL}; for round in 1 2; do echo "streams $round"; v4l2-ctl --stream-mmap --stream-count=1000000 >/dev/null 2>&1; ` +
  `echo "ended $?"; until ${STILL}; do sleep 0.2; done; done; exec sleep 1000`;
/** Two restarts of a driver VM, on a busy machine. */
const RUN_TIMEOUT_MS = 180_000;

describe.skipIf(!allOk(examineMachine(), 'required'))('a guest VM whose driver VM is killed', () => {
  it(
    'has its devices again when there is another, twice over, and keeps nothing of the one before',
    async () => {
      const running = new RunningPostern(['vm', 'run', '--device', 'video0', '--', 'sh', '-c', PROGRAM]);
      try {
        for (const round of [1, 2]) {
          await running.printed(`streams ${round}\n`);
          const guest = machineOf(running, 'guest');
          const before = driverMemoryOf(running);
          await until(() => isMapped(guest, before), 'the stream to be under way');
          process.kill(machineOf(running, 'driver'), 'SIGKILL');
          await until(() => running.out.split('ended ').length === round + 1, 'the stream to end');
          await until(() => running.out.split('  -\n').length === round + 2, 'a frame of the next driver VM');
          expect(isMapped(guest, before)).toBe(false);
          const { driverMemory, driverMemoryReadOnly } = QEMU_DESCRIPTORS;
          const now = driverMemoryOf(running);
          expect([inodeOf(guest, driverMemory), inodeOf(guest, driverMemoryReadOnly)]).toEqual([now, now]);
        }
        running.child.kill('SIGTERM');
        expect(await running.end()).toEqual({ status: null, signal: 'SIGTERM' });
        const stills = running.out.match(/^[0-9a-f]{64}/gm) ?? [];
        expect(stills.length).toBe(3);
        expect(new Set(stills).size).toBe(1);
      } finally {
        running.child.kill('SIGKILL');
      }
    },
    RUN_TIMEOUT_MS,
  );
});

/** The process of one of the two QEMUs. */
function machineOf(running: RunningPostern, which: 'driver' | 'guest'): number {
  const found = descendantsOf(running.child.pid as number).find((pid) =>
    readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(`postern-${which}-vm`),
  );
  if (found === undefined) throw new Error(`There is no ${which} VM.`);
  return found;
}

const driverMemoryOf = (running: RunningPostern): number =>
  inodeOf(machineOf(running, 'driver'), QEMU_DESCRIPTORS.memory);
const inodeOf = (pid: number, descriptor: number): number => statSync(`/proc/${pid}/fd/${descriptor}`).ino;

/** Whether a process has any of the file mapped. */
function isMapped(pid: number, inode: number): boolean {
  return readFileSync(`/proc/${pid}/maps`, 'utf8')
    .split('\n')
    .some((line) => line.split(/ +/)[4] === String(inode));
}
