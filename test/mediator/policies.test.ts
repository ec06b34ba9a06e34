import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { allOk, examineMachine } from '../../host/cli/doctor-checks.js';
import { compileGuestProgram } from '../../host/cli/guest-program.js';
import type { PolicyFaultCode } from '../../host/policy/fault.js';
import type { PolicyPackage } from '../../host/policy/store.js';
import { policyPackage } from '../policy/support.js';
import { exactingPolicy, spoiltPolicy } from './spoilt-policy.js';
import { Bench, casesOf } from './support.js';

/** What the guest's calls get, and the fault that is told of each. */
const FAULTS: [what: string, fault: PolicyFaultCode][] = [
  ['a trap', 'trap'],
  ['an endless loop', 'fuel'],
  ['a reply that the row has not', 'plan'],
  ['grants beyond the envelope', 'limit'],
  ['an answer at no place for one', 'abi'],
  ['an errno that is none', 'plan'],
  ['a refused command that is allowed', 'plan'],
  ["a trap after the driver's answer", 'trap'],
  ['an endless list of lessons', 'abi'],
];
/** More faults than the first program causes, and fewer than the second. */
const FAULTS_MAX = 100;
const FAULTS_MAX_FEW = 5;

describe.skipIf(!allOk(examineMachine(), 'required'))('a policy that misbehaves', () => {
  let bench: Bench;
  let good: PolicyPackage;
  const program = compileGuestProgram('misbehaving');

  beforeAll(async () => {
    bench = await Bench.local();
    good = await policyPackage('pty');
  });
  afterAll(() => bench.close());

  it('costs one EIO each, and disturbs nobody else', async () => {
    const [spoilt, other] = await Promise.all([
      bench.guest([program, 'one call each'], { policies: [spoiltPolicy(good, FAULTS_MAX)] }),
      bench.guest([program, 'undisturbed']),
    ]);
    expect(casesOf(spoilt.out).get('one call each')).toEqual([
      ...FAULTS.flatMap(([what]) => [`${what}: EIO`, 'the next call: 0']),
      "slave: 11 'still works'",
    ]);
    expect(casesOf(other.out).get('undisturbed')).toEqual(['calls that failed: 0']);
    expect(other.counters.faults).toBe(0);
  });

  it('is told of, with what it did', async () => {
    const { records, counters } = await bench.guest([program, 'one call each'], {
      policies: [spoiltPolicy(good, FAULTS_MAX)],
    });
    const told = records.filter((record) => 'fault' in record);
    expect(told.map(({ fault }) => fault)).toEqual(FAULTS.map(([, fault]) => fault));
    expect(told).toEqual(FAULTS.map(() => expect.objectContaining({ policy: 'pty', quarantined: false })));
    expect(counters.faults).toBe(FAULTS.length);
  });

  it('is quarantined in the end', async () => {
    const { out, records, exitCode } = await bench.guest([program, 'until it is quarantined'], {
      policies: [spoiltPolicy(good, FAULTS_MAX_FEW)],
    });
    expect(casesOf(out).get('until it is quarantined')).toEqual([
      `good calls before: ${FAULTS_MAX_FEW - 1}`,
      ...['a good call afterwards: EIO', 'open: EIO', 'close: 0'],
    ]);
    expect(exitCode).toBe(0);
    expect(records.filter(({ quarantined }) => quarantined === true)).toHaveLength(1);
    expect(records.filter(({ fault }) => fault !== undefined)).toHaveLength(FAULTS_MAX_FEW);
  });

  it('is forgotten by the next guest', async () => {
    const { out } = await bench.guest([program, 'undisturbed']);
    expect(casesOf(out).get('undisturbed')).toEqual(['calls that failed: 0']);
  });
});

describe.skipIf(!allOk(examineMachine(), 'required'))('a policy that says what may not go together', () => {
  let bench: Bench;
  let cases: Map<string, string[]>;

  beforeAll(async () => {
    bench = await Bench.local();
    const policies = [exactingPolicy(await policyPackage('pty'))];
    cases = casesOf((await bench.guest([compileGuestProgram('company')], { policies })).out);
  });
  afterAll(() => bench.close());

  it('has an operation fail that would not be alone in its session', () => {
    expect(cases.get('alone')).toEqual([
      'beside the reader: EBUSY',
      'another command beside it: 0',
      'on another file: 0',
      "reader: 3 'now'",
      'alone: 0',
      'after it: 0',
    ]);
  });

  it('ends what a session has learnt, and that alone', () => {
    expect(cases.get('forgotten')).toEqual([
      'known: 0',
      'forget: 0',
      'forgotten: EACCES',
      'what another file has learnt: 0',
      'learnt again: 0',
      'known again: 0',
    ]);
  });
});
