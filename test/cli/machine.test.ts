import { describe, expect, it } from 'vitest';
import { allOk, type Check, examineMachine } from '../../host/cli/doctor-checks.js';
import { postern } from './postern.js';

const check = (need: Check['need'], ok: boolean): Check => ({ name: 'x', need, ok, found: '', advice: '' });

describe('allOk', () => {
  it('looks at the checks of that need only', () => {
    expect(allOk([check('required', true), check('driver-vm', false)], 'required')).toBe(true);
    expect(allOk([check('required', false), check('driver-vm', true)], 'required')).toBe(false);
  });
});

describe('postern doctor', () => {
  const able = allOk(examineMachine(), 'required');

  it('says for people what was found and whether guests can run', () => {
    const { status, out, err } = postern(['doctor']);
    expect({ status, err }).toEqual({ status: able ? 0 : 1, err: '' });
    expect(out).toContain('seccomp user notification');
    expect(out).toContain(`Guests can${able ? '' : 'not'} run here.`);
  });

  it('says the same to programs', () => {
    const { status, out } = postern(['doctor', '--json']);
    const report = JSON.parse(out) as { guests: boolean; checks: Check[] };
    expect(status).toBe(able ? 0 : 1);
    expect(report.guests).toBe(able);
    expect(report.checks.map(({ name }) => name)).toContain('RLIMIT_NOFILE');
  });

  it('gives an advice for everything that is missing', () => {
    for (const { ok, advice } of examineMachine()) expect(advice === '').toBe(ok);
  });
});

describe.skipIf(!allOk(examineMachine(), 'driver-vm'))('postern devices of a driver VM', () => {
  it('tells those that guests get on request only, and those that none gets', () => {
    const { status, out } = postern(['devices', '--driver', 'uinput', '--json']);
    expect(status).toBe(0);
    const given = new Map((JSON.parse(out) as Record<string, string>[]).map((row) => [row.name, row.given]));
    expect(given.get('uinput')).toBe('on request');
    expect(given.get('rtc0')).toBe('never');
  });
});

describe.skipIf(!allOk(examineMachine(), 'required'))('postern devices', () => {
  it('lists the local driver domain’s devices with the policy that judges each', () => {
    const { status, out } = postern(['devices', '--driver-vm', 'local', '--json']);
    expect(status).toBe(0);
    const policy = {
      name: 'pty',
      version: expect.any(String),
      digest: expect.stringMatching(/^[0-9a-f]{64}$/),
    };
    expect(JSON.parse(out)).toContainEqual({
      ...{ name: 'ptmx', major: 5, minor: 2, subsystem: 'tty', policy },
      ...{ given: 'by default', refusal: null },
    });
  });

  it('lists them for people', () => {
    expect(postern(['devices', '--driver-vm', 'local']).out).toMatch(/^ptmx +5:2 +tty +pty .* by default$/m);
  });
});
