import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { allOk, examineMachine } from '../../host/cli/doctor-checks.js';
import { buildNetmapModule, kernelHeaders } from '../../host/cli/netmap-module.js';
import { ROOT } from '../../host/root.js';

const checks = examineMachine();
const hasDriverVm = allOk(checks, 'required') && allOk(checks, 'driver-vm');

function compliance(...parameters: string[]): { status: number | null; out: string; err: string } {
  const program = join(ROOT, 'dist', 'host', 'cli', 'compliance.js');
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...parameters], {
    encoding: 'utf8',
  });
  return { status, out: stdout, err: stderr };
}

/** Sound plays and records in real time, several times over, both ways. */
const SOUND_TIMEOUT_MS = 180_000;

describe('npm run compliance', () => {
  it('refuses a class that it has no tool for', () => {
    const { status, out, err } = compliance('sound');
    expect({ status, out }).toEqual({ status: 2, out: '' });
    expect(err).toContain('Allowed choices are');
  });

  it.skipIf(!hasDriverVm)('finds that v4l2-compliance says the same as a guest and beside the driver', () => {
    const { status, out } = compliance('v4l2', '--json');
    const { guest, direct, agree, differences } = JSON.parse(out);
    expect({ guest, differences: differences.filter(isDisagreement) }).toEqual({
      guest: direct,
      differences: [],
    });
    expect({ status, agree }).toEqual({ status: 0, agree: true });
    // The tool has more than a hundred tests for a camera; a handful would mean that it gave up early.
    expect(guest.passed).toBeGreaterThan(100);
  });

  it.skipIf(!hasDriverVm).each([
    ['alsa', 10],
    ['tun', 1],
    ['uinput', 10],
  ])(
    'finds that the real programs of %s do the same as a guest and beside the driver',
    (name, least) => {
      const { status, out } = compliance(name, '--json');
      const { guest, direct, differences } = JSON.parse(out);
      expect({ status, guest, differences }).toEqual({ status: 0, guest: direct, differences: [] });
      expect(guest.passed).toBeGreaterThan(least);
    },
    SOUND_TIMEOUT_MS,
  );

  it.skipIf(!hasDriverVm).each(['process', 'vm'])(
    'finds that modetest, proptest, drmdevice, kmscube and an EGL program say the same, to the letter: %s',
    (guestKind) => {
      const { status, out } = compliance('drm', '--json', '--guest', guestKind);
      const { guest, direct, differences } = JSON.parse(out);
      expect({ status, guest, differences }).toEqual({ status: 0, guest: direct, differences: [] });
      // Modes, properties and planes, twice; a handful of lines would mean that the card was not found.
      expect(guest.passed).toBeGreaterThan(300);
    },
  );
});

describe.skipIf(!hasDriverVm)('npm run compliance -- evdev', () => {
  it('finds that evtest shows the same events as a guest and beside the driver', () => {
    const { status, out } = compliance('evdev', '--json');
    const { guest, direct, agree, differences } = JSON.parse(out);
    expect({ status, agree, guest, differences }).toEqual({
      status: 0,
      agree: true,
      guest: direct,
      differences: [],
    });
    // All that is injected, without the ends of the three last packets.
    expect(guest).toEqual({ passed: 24, failed: 0 });
  });
});

function isDisagreement({ guest, direct }: { guest: string; direct: string }): boolean {
  return guest === 'FAIL' || direct === 'FAIL';
}

/** Without the headers of the driver VM's kernel (linux-headers-amd64) the test has no stand-in to build. */
describe.skipIf(!hasDriverVm || kernelHeaders() === '')('npm run compliance -- netmap', () => {
  it('finds that the packets’ program does the same both ways, and says that the driver is a stand-in', () => {
    const { status, out } = compliance('netmap', '--json');
    const { guest, direct, differences, note } = JSON.parse(out);
    expect({ status, guest, differences }).toEqual({ status: 0, guest: direct, differences: [] });
    expect(guest).toEqual({ passed: 9, failed: 0 });
    expect(note).toContain('stand-in');
  });

  it('takes the module that is given, and says nothing of a stand-in', () => {
    const { status, out } = compliance('netmap', '--json', '--modules', buildNetmapModule(kernelHeaders()));
    const { agree, note } = JSON.parse(out);
    expect({ status, agree, note }).toEqual({ status: 0, agree: true, note: undefined });
  });
});
