import { describe, expect, it } from 'vitest';
import { checkPolicy } from '../../host/audit/check.js';
import { RULES } from '../../host/audit/rules.js';
import { loadPolicies } from '../../host/policy/store.js';
import { loadVectors } from '../../host/policy/vectors.js';
import { audited, BROKEN } from './broken-modules.js';

/** Enough for every command, and frugal: `postern audit check` makes more by default. */
const CALLS = 600;

describe('the battery', () => {
  it.each(loadPolicies().map((policy) => [policy.manifest.name, policy] as const))(
    'finds every rule kept by %s',
    async (name, policy) => {
      const report = await checkPolicy(policy, { vectors: loadVectors(name), calls: CALLS });
      expect(report.rules.filter(({ result }) => result !== 'kept')).toEqual([]);
      for (const { id, checks } of report.rules) expect(checks, id).toBeGreaterThan(0);
    },
  );

  it('finds every rule kept by the class that the broken ones are made of', async () => {
    const { rules } = await checkPolicy(audited(), { reference: audited(), calls: CALLS });
    expect(rules.filter(({ result }) => result === 'broken')).toEqual([]);
    expect(rules.filter(({ result }) => result === 'unapplied').map(({ id }) => id)).toEqual(['vectors']);
  });

  it.each(BROKEN)('catches a module that %s, by the rule %s', async (_, rule, make) => {
    const report = await checkPolicy(make(), { reference: audited(), calls: CALLS });
    expect(report.kept).toBe(false);
    const broken = report.rules.filter(({ result }) => result === 'broken').map(({ id }) => id);
    expect(broken).toContain(rule);
    const found = report.rules.find(({ id }) => id === rule);
    expect(found?.findings.length).toBeGreaterThan(0);
    // Its own rule, and at most what follows from it.
    expect(broken.length).toBeLessThanOrEqual(3);
  });

  it('needs no module to compare with for a handle that is never required', async () => {
    const { rules } = await checkPolicy(audited({ requirements: 0 }), { calls: CALLS });
    expect(rules.find(({ id }) => id === 'handles')?.findings[0]?.what).toContain(
      "learnt into the table 'things', and nothing requires them",
    );
  });

  it('has a broken module for every rule but the vectors, which have tests of their own', () => {
    const tried = new Set([...BROKEN.map(([, rule]) => rule), 'vectors']);
    expect([...tried].sort()).toEqual(RULES.map(({ id }): string => id).sort());
  });

  it('names the command and the call by which a rule is broken, the same for the same seed', async () => {
    const make = (): ReturnType<typeof checkPolicy> =>
      checkPolicy(audited({ headAccess: 3 }), { calls: CALLS, seed: 7 });
    const report = await make();
    const finding = report.rules.find(({ id }) => id === 'bounds')?.findings[0];
    expect(finding).toMatchObject({
      what: "the head's access is wider than its row's",
      command: 'AUD_SET (0x40104101)',
      call: { operation: 'ioctl', command: 'AUD_SET' },
    });
    expect(await make()).toEqual(report);
  });
});
