import { describe, expect, it } from 'vitest';
import { coverageOf } from '../../host/policy/coverage.js';
import { loadPolicies } from '../../host/policy/store.js';
import { policyPackage } from '../policy/support.js';
import { postern } from './postern.js';

describe('postern policy coverage', () => {
  it('says of each class that every command of its header is known', () => {
    const { status, out } = postern(['policy', 'coverage', '--json']);
    const results = JSON.parse(out) as { class: string; supported: number; missing: string[] }[];
    expect(results.map((result) => result.class)).toEqual(
      loadPolicies().map(({ manifest }) => manifest.class),
    );
    for (const result of results) expect(result).toMatchObject({ missing: [] });
    expect(status).toBe(0);
  });

  it('counts one class for programs, and names the refusals for people', () => {
    const { status, out } = postern(['policy', 'coverage', 'media', '--json']);
    expect({ status, result: JSON.parse(out) }).toEqual({
      status: 0,
      result: { class: 'media', header: 'linux/media.h', supported: 4, refused: 4, missing: [] },
    });
    const text = postern(['policy', 'coverage', 'media']).out;
    expect(text).toContain('8 of 8 commands of linux/media.h are known');
    expect(text).toMatch(/MEDIA_IOC_REQUEST_ALLOC\s+refused\s+the request API is not available/);
  });

  it('refuses a class that is not there, and names those that are', () => {
    const { status, err } = postern(['policy', 'coverage', 'nonsense']);
    expect(status).toBe(125);
    expect(err).toMatch(/There is no class 'nonsense'\. There are: .*media/);
  });
});

describe('a table that lacks commands', () => {
  it('has them named: a module of one class measured by the header of another', async () => {
    const policy = await policyPackage('media');
    const coverage = await coverageOf({ ...policy, manifest: { ...policy.manifest, class: 'v4l2' } });
    expect(coverage.supported).toEqual([]);
    expect(coverage.missing).toContain('VIDIOC_QUERYCAP');
  });
});
