import { existsSync } from 'node:fs';
import { afterEach, describe, expect, it } from 'vitest';
import { allOk, examineMachine } from '../../host/cli/doctor-checks.js';
import { compileGuestProgram } from '../../host/cli/guest-program.js';
import type { DriverVm } from '../../host/driver-vm/driver-vm.js';
import { Bench } from '../mediator/support.js';

const checks = examineMachine();
const hasDriverVm = allOk(checks, 'required') && allOk(checks, 'driver-vm');

/** What is told beside the driver and not to a guest, or otherwise, and why that is right. */
const EXPLAINED: readonly [pattern: RegExp, reason: string][] = [
  [/^\S+: E[A-Z]+$/, 'the attribute can be seen, but not read'],
  [/\/resource\d+(_wc)?: /, 'memory or ports of the device, which are no information'],
  [/\/power\/runtime_\w+: /, 'a time: it has gone on'],
  [/^class /, 'the device of another, or of nobody'],
];

/** Each driver, and what a guest gets of its devices: not all of them. */
const CHOICES: readonly [driver: string, names: string[], found: RegExp, foreign: RegExp][] = [
  ['virtio-input', ['input/event1'], /\/input\/input\d+\/id\/vendor: 30363237/, /\bevent[023]\b|\bmouse\d/],
  ['virtio-gpu', ['dri/card0', 'dri/renderD128'], /\/card0-Virtual-1\/status: /, /\bfb0\b/],
  ['snd-aloop', ['snd/controlC0', 'snd/pcmC0D0p'], /\/sound\/card0\/id: /, /\bpcmC0D(0c|1)/],
  ['vivid', ['video0'], /\/video4linux\/video0\/name: /, /\bvideo[1-9]\b|\bmedia\d/],
];

let bench: Bench<DriverVm> | undefined;
afterEach(async () => {
  await bench?.close();
  bench = undefined;
});

function difference(some: string, others: string): string[] {
  const known = new Set(others.split('\n'));
  return some.split('\n').filter((line) => !known.has(line));
}

function isExplained(line: string): boolean {
  return EXPLAINED.some(([pattern]) => pattern.test(line));
}

describe.skipIf(!hasDriverVm)('what /sys tells of a device', () => {
  it.each(CHOICES)(
    'of %s is as beside it, and nothing else of its machine',
    async (driver, names, found, foreign) => {
      bench = await Bench.vm([driver], true);
      const devices = names.map((name) => ({ name, path: `/dev/${name}` }));
      const walk = [compileGuestProgram('walk'), ...devices.map(({ path }) => path)];
      const [direct, { out, exitCode }] = [await bench.beside(walk), await bench.guest(walk, { devices })];
      expect(exitCode).toBe(0);
      expect(out).toMatch(found);
      for (const line of difference(direct, out)) expect(isExplained(line) ? '' : line).toBe('');
      for (const line of difference(out, direct)) {
        const [, device = ''] = /^class (\S+)$/.exec(line) ?? [];
        // Of classes, this machine's own devices are there too, and nothing else.
        if (device !== '') expect(existsSync(`/sys/class/${device}`)).toBe(true);
        else expect(isExplained(line) ? '' : line).toBe('');
      }
      const shown = out
        .split('\n')
        .filter((line) => !existsSync(`/sys/class/${line.slice('class '.length)}`));
      expect(shown.filter((line) => foreign.test(line))).toEqual([]);
      // The pattern finds what it should not: it is there beside the driver.
      expect(direct).toMatch(foreign);
    },
  );
});

/** `cat` and `find` of everything, so that opens, lookups, links and folders are all tried. */
const READ_ALL = `
  cd / && ls /proc/asound | sort && readlink /proc/asound/* && test -r /proc/asound/cards && echo readable
  for file in $(find /proc/asound/ -type f | sort); do echo "== $file"; cat $file; done
  cat /proc/asound/*/pcm0p/sub0/info`;
/** The sequencer's and its devices are no guest's; timers and hardware-dependent tables are the machine's. */
const NOT_MIRRORED = /^(hwdep|oss|seq|timers)$/;

describe.skipIf(!hasDriverVm)('what /proc/asound tells', () => {
  const read = ['sh', '-c', READ_ALL];
  const every = ['controlC0', 'pcmC0D0p', 'pcmC0D0c', 'pcmC0D1p', 'pcmC0D1c', 'timer'];
  const given = (names: readonly string[]): { name: string; path: string }[] =>
    names.map((name) => ({ name: `snd/${name}`, path: `/dev/snd/${name}` }));

  it('is of a guest that has all devices as beside the driver', async () => {
    bench = await Bench.vm(['snd-aloop'], true);
    const { out, err, exitCode } = await bench.guest(read, { devices: given(every) });
    expect({ err, exitCode }).toEqual({ err: '', exitCode: 0 });
    expect(out).toContain('0 [Loopback       ]: Loopback - Loopback');
    const sections = (text: string): string[] =>
      text.split(/^(?=== )/m).filter((part) => !/^== \/proc\/asound\/(hwdep|oss|seq|timers)/.test(part));
    const [head = '', ...files] = sections(await bench.beside(read));
    const [ownHead = '', ...ownFiles] = sections(out);
    expect(ownFiles).toEqual(files);
    expect(ownHead.split('\n')).toEqual(head.split('\n').filter((line) => !NOT_MIRRORED.test(line)));
  });

  it('is of a guest that has some devices of those only', async () => {
    bench = await Bench.vm(['snd-aloop']);
    const { out } = await bench.guest(read, { devices: given(['controlC0', 'pcmC0D0p']) });
    expect(out).toContain('/proc/asound/card0/pcm0p/sub0/info');
    expect(out).not.toMatch(/pcm0c|pcm1[pc]|digital audio capture|00-01/);
    expect((await bench.guest(read, { devices: [] })).out).not.toContain('Loopback');
  });
});
