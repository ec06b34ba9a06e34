import fc from 'fast-check';
import pino from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { allOk, examineMachine } from '../../host/cli/doctor-checks.js';
import { compileGuestProgram } from '../../host/cli/guest-program.js';
import { type GuestReport, runGuest } from '../../host/mediator/guest.js';
import { forgetDomain } from '../../host/mediator/mediation.js';
import type { PolicyPackage } from '../../host/policy/store.js';
import { COLLUSION_AT, colludingPolicy } from '../mediator/spoilt-policy.js';
import { CAMERA, type GuestOutcome, RunningGuest } from '../mediator/support.js';
import { policyPackage } from '../policy/support.js';
import { FakeDomain, KIND } from './fake-domain.js';
import { HEAD_BYTES, IMAGE_BYTES, imageOf, mayWrite, rawPlans } from './plan-images.js';

/** The same in every run. */
const PLANS = 400;
const SEED = 6;
/** VIDIOC_G_EXT_CTRLS on x86-64. */
const COMMAND = 0xc0205647;
const ARENA_BYTES = 1 << 20;

describe.skipIf(!allOk(examineMachine(), 'required'))('a module that is on its guest’s side', () => {
  let fake: FakeDomain;
  let good: PolicyPackage;
  const records: Record<string, unknown>[] = [];

  beforeAll(async () => {
    fake = new FakeDomain();
    good = await policyPackage('v4l2');
  });
  afterAll(async () => {
    forgetDomain(fake.domain);
    await fake.domain.close();
  });

  function run(program: string, policy: PolicyPackage, input: Buffer): Promise<GuestOutcome> {
    return new Promise((resolve, reject) => {
      const report: Promise<GuestReport> = runGuest({
        ...{
          program: compileGuestProgram(program, 'hostile'),
          args: [],
          devices: CAMERA,
          domain: fake.domain,
        },
        ...{ name: program, policies: [policy] },
        log: pino({ level: 'info' }, { write: (line) => void records.push(JSON.parse(line)) }),
        stdio: ['pipe', 'pipe', 'pipe'],
        onStart: (launcher) => {
          launcher.stdin?.end(input);
          new RunningGuest(launcher, () => report, records).end.then(resolve, reject);
        },
      });
      report.catch(reject);
    });
  }

  it(`has ${PLANS} plans carried out or refused one by one, and nothing written outside their grants`, async () => {
    const plans = fc.sample(rawPlans, { numRuns: PLANS, seed: SEED });
    // The driver writes wherever it can, whatever it was asked.
    fake.answer = (op, domain) => {
      if (op.kind !== KIND.ioctl || op.command !== COMMAND) return undefined;
      return domain.flood(op, ARENA_BYTES);
    };
    const images = plans.map((plan) => imageOf(plan, COLLUSION_AT));
    const { out, err, exitCode, signal } = await run(
      'planned',
      colludingPolicy(good, IMAGE_BYTES),
      Buffer.concat(images),
    );
    expect({ err, exitCode, signal }).toEqual({ err: '', exitCode: 0, signal: null });
    const lines = out.split('\n');
    expect(lines.slice(PLANS)).toEqual(['end', '']);
    const results = new Map<string, number>();
    let nestedBytes = 0;
    for (const [index, plan] of plans.entries()) {
      const [result = '', ...ranges] = (lines[index] as string).split(' ');
      results.set(result, (results.get(result) ?? 0) + 1);
      for (const [start = 0, end = 0] of ranges.map((range) => range.split('-').map(Number))) {
        for (let at = start; at < end; at++)
          if (!mayWrite(plan, at)) expect({ index, plan, written: at }).toBe('within a grant');
        if (start >= HEAD_BYTES) nestedBytes += end - start;
      }
    }
    // Both ends are tried: plans that reach the driver, and plans that must not.
    expect(results.get('0')).toBeGreaterThan(PLANS / 20);
    expect(results.get('EIO')).toBeGreaterThan(PLANS / 20);
    expect(nestedBytes).toBeGreaterThan(10_000);
    const faults = records.filter(({ fault }) => fault !== undefined);
    expect(new Set(faults.map(({ fault }) => fault))).toEqual(new Set(['plan', 'abi', 'limit']));
    expect(faults.length).toBeLessThanOrEqual(results.get('EIO') as number);
  });

  it('is forgotten by the next guest', async () => {
    fake.answer = () => undefined;
    const { out } = await run('asker', good, Buffer.alloc(0));
    expect(out).toBe('open: ok\nquerycap: 0\nread: 16\nquerycap again: 0\nclose: 0\n');
  });
});
