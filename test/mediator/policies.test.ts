import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DecisionLog } from '../../host/audit/log.js';
import { verifyLog } from '../../host/audit/verify.js';
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
/** What each of them is asked by. */
const COMMANDS = [
  ...['TIOCGSOFTCAR', 'TIOCGEXCL', 'TCFLSH', 'TIOCMBIS', 'TIOCMGET', 'TIOCOUTQ', 'TIOCSTI', 'TIOCINQ'],
  'TIOCGETD',
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
    const { version } = good.manifest;
    const device = expect.stringMatching(/^pts\/0 or \d+ others of its kind$/);
    expect(told).toEqual(
      COMMANDS.map((command) =>
        expect.objectContaining({
          ...{ guest: expect.any(String), policy: 'pty', version, digest: good.digest, device },
          ...{ operation: 'ioctl', command: expect.stringMatching(`^${command} `), errno: 'EIO' },
          ...{ quarantined: false, detail: expect.any(String), process: expect.any(Number) },
        }),
      ),
    );
    expect(counters.faults).toBe(FAULTS.length);
  });

  it('has each fault in the decision log, with its reason, and each operation that nobody judges any more', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'postern-faults-'));
    try {
      const path = join(folder, 'decisions.log');
      const audit = await DecisionLog.open({ path, onTrouble: () => {} });
      const spoilt = (faultsMax: number): PolicyPackage[] => [spoiltPolicy(good, faultsMax)];
      await bench.guest([program, 'one call each'], { policies: spoilt(FAULTS_MAX), audit });
      await bench.guest([program, 'until it is quarantined'], { policies: spoilt(FAULTS_MAX_FEW), audit });
      await audit.close();
      expect(verifyLog([path]).faults).toEqual([]);
      const lines = readFileSync(path, 'utf8').trim().split('\n');
      const faults = lines.map((line) => JSON.parse(line)).filter(({ kind }) => kind === 'fault');
      const expected = FAULTS.map(([, fault], index) => [COMMANDS[index], fault, 'EIO']);
      const told = faults.map(({ command, operation, reason, outcome }) => [
        ...[command ?? operation, String(reason).split(':')[0], outcome],
      ]);
      expect(told.slice(0, FAULTS.length)).toEqual(expected);
      const afterwards = told.slice(FAULTS.length).map(([, fault]) => fault);
      expect(afterwards.filter((fault) => fault === 'trap')).toHaveLength(FAULTS_MAX_FEW);
      expect(told.slice(-2)).toEqual([
        ['TIOCGWINSZ', 'quarantined', 'EIO'],
        ['open', 'quarantined', 'EIO'],
      ]);
      expect(faults[0]).toMatchObject({ module: { name: 'pty', digest: good.digest }, class: 'pty' });
    } finally {
      rmSync(folder, { recursive: true });
    }
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
