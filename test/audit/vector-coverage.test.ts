import { describe, expect, it } from 'vitest';
import { KIT_REASONS, vectorCoverage } from '../../host/audit/vector-coverage.js';
import { loadPolicies } from '../../host/policy/store.js';
import { loadVectors } from '../../host/policy/vectors.js';
import { policyInstance, policyPackage } from '../policy/support.js';

describe('what a module’s vectors show', () => {
  it('leaves out the reasons of the kit, which every class has', async () => {
    for (const { manifest } of loadPolicies()) {
      const { reasons } = (await policyInstance(manifest.name)).describe();
      expect(reasons.slice(0, KIT_REASONS.length), manifest.name).toEqual(KIT_REASONS);
    }
  });

  it('is every command that a class of this repository serves or refuses', async () => {
    const pty = await policyPackage('pty');
    const coverage = await vectorCoverage(pty, loadVectors('pty'));
    expect(coverage).toMatchObject({ class: 'pty', neverRefused: [] });
    expect(coverage.percent).toBeGreaterThan(90);
    const { vectors } = loadVectors('pty');
    const fewer = { class: 'pty', vectors: vectors.filter(({ command }) => command !== 'TIOCSWINSZ') };
    expect((await vectorCoverage(pty, fewer)).neverAllowed).toContain('TIOCSWINSZ');
  });
});
