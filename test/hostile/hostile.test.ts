import { beforeAll, describe, expect, it } from 'vitest';
import { allOk, examineMachine } from '../../host/cli/doctor-checks.js';
import { type HostileReport, runHostile } from './attempts.js';

/** Two driver domains and some 170 attempts, each as a guest and without Postern. */
const RUN_TIMEOUT_MS = 900_000;
/** What is promised. */
const ATTEMPTS_MIN = 60;

describe.skipIf(!allOk(examineMachine(), 'required'))('guests written to escape', () => {
  let report: HostileReport;

  beforeAll(async () => {
    report = await runHostile(() => {});
  }, RUN_TIMEOUT_MS);

  it('are all stopped, by what they say and by what is seen from outside', () => {
    const escaped = report.outcomes.filter(({ stopped }) => !stopped);
    expect(escaped.map(({ program, name, by }) => `${program}, ${name}: ${by}`)).toEqual([]);
  });

  it('make many different attempts', () => {
    const names = new Set(report.outcomes.map(({ program, name }) => `${program}, ${name}`));
    expect(names.size).toBeGreaterThanOrEqual(ATTEMPTS_MIN);
    expect(names.size).toBe(report.outcomes.length);
  });

  it('succeed without Postern where it is Postern that stops them', () => {
    expect(report.blind).toEqual([]);
  });
});
