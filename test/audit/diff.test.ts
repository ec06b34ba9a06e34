import { describe, expect, it } from 'vitest';
import { type ComparedPolicy, type DiffReport, diffPolicies, verdictText } from '../../host/audit/diff.js';
import type { Difference } from '../../host/audit/diff-tables.js';
import type { DescribedVerdict } from '../../host/policy/described.js';
import { answersOf, loadVectors, parseVectors } from '../../host/policy/vectors.js';
import { policyPackage } from '../policy/support.js';
import { denies } from '../serve/variants.js';
import { audited } from './broken-modules.js';

/** Few, as each is judged by two fresh instances; `postern policy diff` makes more by default. */
const CALLS = 400;
const TIOCSWINSZ = 0x5414;

const diff = (before: ComparedPolicy, after: ComparedPolicy): Promise<DiffReport> =>
  diffPolicies(before, after, { calls: CALLS });
const found = ({ differences }: DiffReport, what: string): Difference[] =>
  differences.filter((one) => one.what.startsWith(what));

/** A witness is a call that anybody can have both modules judge again, with what the comparison says. */
async function expectReplayable(
  { differences }: DiffReport,
  before: ComparedPolicy,
  after: ComparedPolicy,
): Promise<void> {
  const judged = differences.filter(({ witness }) => witness !== undefined);
  if (judged.length === 0) return;
  const vectors = judged.map(({ witness }, index) => {
    const expect = witness !== undefined && 'outcome' in witness ? { settle: {} } : { deny: DENIAL };
    return { ...witness, name: String(index), expect };
  });
  const file = parseVectors(JSON.stringify({ class: before.manifest.class, vectors }), 'the witnesses');
  const older = await answersOf(before, file.vectors);
  const newer = await answersOf(after, file.vectors);
  for (const [index, { aspect, before: was, after: is }] of judged.entries()) {
    expect(older[index], `${judged[index]?.what}, ${aspect}`).not.toEqual(newer[index]);
    if (aspect !== 'verdict' && aspect !== 'errno') continue;
    expect(verdictText(older[index] as DescribedVerdict)).toBe(was);
    expect(verdictText(newer[index] as DescribedVerdict)).toBe(is);
  }
}
const DENIAL = { errno: 'EPERM', reason: '-' };

describe('a comparison of policy modules', () => {
  it('of a module with itself finds nothing', async () => {
    const pty = { ...(await policyPackage('pty')), vectors: loadVectors('pty') };
    const report = await diff(pty, pty);
    expect(report).toMatchObject({ wider: 0, narrower: 0, other: 0, differences: [] });
    expect(report.calls).toBeGreaterThan(CALLS);
  });

  it('finds a command that is denied, with a call that both have judged, and the other way round', async () => {
    const pty = { ...(await policyPackage('pty')), vectors: loadVectors('pty') };
    const strict = { ...denies(pty, TIOCSWINSZ), vectors: pty.vectors };
    const narrower = await diff(pty, strict);
    expect(narrower).toMatchObject({ wider: 0, narrower: 1 });
    expect(found(narrower, 'TIOCSWINSZ')).toMatchObject([
      {
        aspect: 'verdict',
        direction: 'narrower',
        before: 'allowed: head to-driver',
        witness: { command: 'TIOCSWINSZ' },
      },
    ]);
    await expectReplayable(narrower, pty, strict);
    const wider = await diff(strict, pty);
    await expectReplayable(wider, strict, pty);
    expect(wider).toMatchObject({ wider: 1, narrower: 0 });
    expect(found(wider, 'TIOCSWINSZ')[0]?.after).toBe('allowed: head to-driver');
  });

  it.each<[string, Parameters<typeof audited>, string, string, 'wider' | 'narrower' | 'other']>([
    ['a required handle that is forgotten', [{ requirements: 0 }], 'AUD_SET', 'required handles', 'wider'],
    ['a head that comes back', [{ headAccess: 3 }], 'AUD_SET', 'access', 'wider'],
    [
      'an unknown command that is allowed',
      [{ unknown: '(return (call $allow (i32.const 0) (i32.const 0) (i32.const 0)))' }],
      '0x',
      'verdict',
      'wider',
    ],
    ['handles that are not learnt', [{ learns: '(i32.const 0)' }], 'AUD_NEW', 'learnt handles', 'narrower'],
    ['another errno', [{ deniedErrno: 5 }], 'read', 'errno', 'other'],
    ['a larger limit', [{}, { grantBytesMax: 8192 }], 'envelope.grantBytesMax', 'limit', 'wider'],
    ['a smaller limit', [{}, { sessionsMax: 1 }], 'envelope.sessionsMax', 'limit', 'narrower'],
    [
      'a further operation',
      [{}, { operations: ['open', 'ioctl', 'mmap'] }],
      'envelope.operations',
      'set',
      'wider',
    ],
  ])('finds %s', async (_, [parts, envelope], what, aspect, direction) => {
    const before = audited({}, { operations: ['open', 'ioctl', 'read'] });
    const after = audited(parts, { operations: ['open', 'ioctl', 'read'], ...envelope });
    const report = await diff(before, after);
    await expectReplayable(report, before, after);
    const difference = found(report, what).find(
      (one) => one.aspect === aspect && one.direction === direction,
    );
    expect(difference).toBeDefined();
    if (aspect !== 'limit' && aspect !== 'set')
      expect(difference?.witness).toMatchObject({ operation: what === 'read' ? 'read' : 'ioctl' });
  });

  it('finds commands that have come, gone or changed in the table', async () => {
    const [tun, pty] = [await policyPackage('tun'), await policyPackage('pty')];
    const report = await diff(tun, pty);
    expect(report.differences.filter(({ witness }) => witness !== undefined).length).toBeGreaterThan(10);
    await expectReplayable(report, tun, pty);
    expect(found(report, 'TUNSETIFF')).toContainEqual(
      expect.objectContaining({ aspect: 'command', direction: 'narrower', after: 'not in the table' }),
    );
    expect(found(report, 'TCGETS')).toContainEqual(
      expect.objectContaining({ aspect: 'command', direction: 'wider', before: 'not in the table' }),
    );
  });
});
