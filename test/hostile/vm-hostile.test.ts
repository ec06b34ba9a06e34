import { beforeAll, describe, expect, it } from 'vitest';
import { allOk, examineMachine } from '../../host/cli/doctor-checks.js';
import { BREACHES_EXPECTED, runVmHostile, type VmHostileReport } from './vm-attempts.js';

/** One driver VM, one guest VM, and some 75 attempts. */
const RUN_TIMEOUT_MS = 900_000;
/** What the module has; a kernel that stops half-way has made fewer. */
const ATTEMPTS_MIN = 70;

describe.skipIf(!allOk(examineMachine(), 'required'))('a guest VM’s kernel that is hostile', () => {
  let report: VmHostileReport;

  beforeAll(async () => {
    report = await runVmHostile(() => {});
  }, RUN_TIMEOUT_MS);

  it('is stopped in all that it tries, and an honest guest beside it keeps what it has', () => {
    const escaped = report.outcomes.filter(({ stopped }) => !stopped);
    expect(escaped.map(({ name, by }) => `${name}: ${by}`)).toEqual([]);
    expect(report.impossible).toEqual([]);
    expect(report.outcomes.length).toBeGreaterThanOrEqual(ATTEMPTS_MIN);
    expect(report.served).toBeGreaterThan(0);
  });

  it('is told of by the host: each kind of what no honest frontend does, once', () => {
    expect(report.breaches.length).toBe(BREACHES_EXPECTED);
  });
});
