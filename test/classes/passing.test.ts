import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { allOk, examineMachine } from '../../host/cli/doctor-checks.js';
import { everyServedDevice } from '../../host/cli/driver-domain.js';
import { compileGuestProgram } from '../../host/cli/guest-program.js';
import type { DriverVm } from '../../host/driver-vm/driver-vm.js';
import { Bench, type Cases, caseNames } from '../mediator/support.js';

const checks = examineMachine();
const hasDriverVm = allOk(checks, 'required') && allOk(checks, 'driver-vm');
/** One camera, and two graphics cards: one that shares memory and fences, one with a screen. */
const DRIVERS = ['vivid n_devs=1', 'vgem', 'virtio-gpu'];

/** What each case must show wherever it runs, so that no two failures are taken for agreement. */
const SHOWN: Record<string, string[]> = {
  'exported buffers': ['same bytes: 1', 'written through: 7', 'written: 0', 'still mapped: 91'],
  'from the camera into vgem': ['told as given: 1, bytes 230400', 'same picture: 1, not black: 1'],
  'from the camera into virtio_gpu': ['same picture: 1, not black: 1'],
  "the camera's buffers in vgem": ['same file: 1, same number: 0', 'same pages: 1', 'the other one: 1'],
  'strange numbers': [' import: EBADF', ' import: EINVAL', ' queue: EINVAL', ' as a fence: EINVAL'],
  fences: ['fence: none', 'third: 1, none', 'fences 1: unbound of vgem, status 0', 'told: 1', 'fence: IN '],
  copies: ['mapped by the child: 1', 'same pages: 1', 'child: exit 0', 'written by the child: 34'],
  sent: ['mapped as it came: 1', 'sync: 0', 'same picture: 1', 'used by the other: 1', 'child: exit 0'],
  'fences of a commit': [
    'none made: -1',
    'made: 1, closed on exec: 1, none',
    'shown: 1',
    'to a bad address: EFAULT',
  ],
  prepared: ['nonsense: EINVAL', 'prepared: 0', 'as given: 1', 'queued: 0'],
  'closed in use': ['a frame: 0', 'it is there: 1'],
};

/** dma-buf.manifest.json's sessionsMax. */
const DESCRIPTORS_MAX = 128;
/** vivid's colour bars of 75 percent, left to right. */
const BARS = [0xbfbfbf, 0xbfbf00, 0x00bfbf, 0x00bf00, 0xbf00bf, 0xbf0000, 0x0000bf, 0x000000];

describe.skipIf(!hasDriverVm)('descriptors that pass between drivers', () => {
  let bench: Bench<DriverVm>;
  let guest: Cases;
  let direct: Cases;

  beforeAll(async () => {
    bench = await Bench.vm(DRIVERS, true);
    direct = await bench.directCases('passing');
    guest = await bench.guestCases('passing', { devices: await everyServedDevice(bench.domain) });
  });
  afterAll(() => bench.close());

  it.each(caseNames('passing'))('%s: as beside the drivers', (name) => {
    expect(guest.get(name)).toEqual(direct.get(name));
    expect(guest.get(name)).toEqual(expect.arrayContaining(SHOWN[name] ?? ['what it must show']));
  });

  describe('and guests', () => {
    const program = compileGuestProgram('passing_guests');
    const folder = mkdtempSync(join(tmpdir(), 'postern-passing-'));
    afterAll(() => rmSync(folder, { recursive: true }));

    /** What every attempt with another guest's descriptor comes to; a number in the window is looked at by the host, and is nothing. */
    const POWERLESS = [
      ...['import: EINVAL', 'import elsewhere: EINVAL', 'queue: EINVAL', 'map: 0', 'size: 0', 'seek: ESPIPE'],
      ...['sync: ENOTTY', 'query: ENOTTY'],
    ];

    it('a descriptor that one sends to another is of no use there, and stays what it is here', async () => {
      const path = join(folder, 'socket');
      const devices = await everyServedDevice(bench.domain);
      const owner = await bench.start([program, 'give', path], { devices });
      await owner.printed('listening');
      const { out } = await bench.guest([program, 'take', path], { devices });
      const lines = out.trim().split('\n');
      expect(lines.shift()).toBe('received: 1');
      const attempts = lines
        .join('\n')
        .split(/^== .*\n/m)
        .slice(1);
      expect(attempts).toHaveLength(4);
      for (const attempt of attempts) expect(attempt.trim().split('\n')).toEqual(POWERLESS);
      expect((await owner.end).out).toContain(
        'bytes that the other changed: 0\nimported by the owner: ok\nsought by the owner: 0\nclosed by the owner: 0',
      );
    });

    it('find none of the others by any number', async () => {
      const devices = await everyServedDevice(bench.domain);
      const path = join(folder, 'unused');
      const owner = await bench.start([program, 'give', path], { devices });
      await owner.printed('listening');
      const { out } = await bench.guest([program, 'guess'], { devices });
      expect(out).toBe('imported: 0, queued: 0, handles of others: 0\n');
      owner.launcher.kill('SIGTERM');
      await owner.end;
    });

    it('have as many as their class allows', async () => {
      const { out } = await bench.guest([program, 'exhaust'], {
        devices: await everyServedDevice(bench.domain),
      });
      expect(out.split('\n')).toEqual([
        `exported: ${DESCRIPTORS_MAX}, then EMFILE`,
        ...['after closing one: ok', 'one more: EMFILE', 'a device is another matter: ok'],
        ...["the limit is the guest's, not the process's: EMFILE", 'child: exit 0', ''],
      ]);
    });

    it('see on the screen what the camera has captured into the buffer that is shown', async () => {
      const devices = await everyServedDevice(bench.domain);
      const shower = await bench.start([program, 'show'], { devices });
      await shower.printed('shown: 0');
      const { width, height, rgb } = await bench.domain.picture();
      const colours = BARS.map((_, bar) => {
        const x = Math.floor((bar + 0.5) * (width / BARS.length));
        return rgb.readUIntBE((Math.floor(height / 3) * width + x) * 3, 3);
      });
      shower.launcher.stdin?.end('\n');
      await shower.end;
      expect({ width, height }).toEqual({ width: 640, height: 480 });
      expect(colours).toEqual(BARS);
    });
  });
});
