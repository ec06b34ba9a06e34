import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { allOk, examineMachine } from '../../host/cli/doctor-checks.js';
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

describe('npm run compliance', () => {
  it('refuses a class that it has no tool for', () => {
    const { status, out, err } = compliance('sound');
    expect({ status, out }).toEqual({ status: 2, out: '' });
    expect(err).toContain('Allowed choices are v4l2, alsa.');
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
});

function isDisagreement({ guest, direct }: { guest: string; direct: string }): boolean {
  return guest === 'FAIL' || direct === 'FAIL';
}
