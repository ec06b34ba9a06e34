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
