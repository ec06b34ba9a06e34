/** What has changed must not have the number of what it was: a host's anti-rollback, and everybody who reads a version, lives by that. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { CONTRACT } from '../../host/policy/compile.js';
import {
  type Current,
  contractDigest,
  currentReleases,
  type Release,
  type Releases,
  recorded,
  recordedReleases,
  releaseFaults,
} from '../../host/policy/releases.js';

const release = (version: string, sha256: string, sequence?: number): Release =>
  sequence === undefined ? { version, sha256 } : { version, sequence, sha256 };
const RECORD: Releases = {
  contract: [release('0.1.0', 'wit')],
  modules: { lamp: [release('0.1.0', 'one', 1), release('0.1.1', 'two', 2)] },
};
const now = (lamp: Release, contract = release('0.1.0', 'wit')): Current => ({ contract, modules: { lamp } });

describe('the numbers of the contract and of the modules', () => {
  it('were raised with every change, and are recorded', () => {
    expect(releaseFaults(recordedReleases(), currentReleases())).toEqual([]);
  });

  it.each<[string, Current, RegExp]>([
    [
      'a module that has changed with its old numbers',
      now(release('0.1.1', 'three', 2)),
      /lamp.manifest.json has changed/,
    ],
    ['one whose version alone was raised', now(release('0.1.2', 'three', 2)), /has changed/],
    ['one whose sequence number alone was raised', now(release('0.1.1', 'three', 3)), /has changed/],
    ['one that has gone back', now(release('0.1.0', 'two', 1)), /lower numbers/],
    ['new numbers that nobody has recorded', now(release('0.2.0', 'three', 3)), /records them/],
    [
      'a contract that has changed with its old version',
      now(release('0.1.1', 'two', 2), release('0.1.0', 'other')),
      /device-class.wit has changed/,
    ],
    [
      'a class that is not recorded',
      { contract: release('0.1.0', 'wit'), modules: { bulb: release('0.1.0', 'x', 1) } },
      /bulb.*is not in/,
    ],
  ])('are not good for %s', (_what, current, fault) => {
    expect(releaseFaults(RECORD, current).join('\n')).toMatch(fault);
  });

  it('are not good where a record was changed by hand', () => {
    const spoilt = { ...RECORD, modules: { lamp: [release('0.1.0', 'one', 1), release('0.1.0', 'two', 1)] } };
    expect(releaseFaults(spoilt, now(release('0.1.0', 'two', 1))).join()).toContain('does not follow');
  });

  it('are recorded when they are greater, and only then', () => {
    const next = release('0.2.0', 'three', 3);
    expect(recorded(RECORD, now(next)).modules.lamp).toEqual([...(RECORD.modules.lamp ?? []), next]);
    expect(() => recorded(RECORD, now(release('0.1.1', 'three', 2)))).toThrow('has changed since 0.1.1');
    expect(() => recorded(RECORD, now(release('0.1.1', 'two', 2), release('0.1.0', 'other')))).toThrow(
      'device-class.wit',
    );
  });

  it('count what a contract says, not its comments', () => {
    const text = readFileSync(CONTRACT, 'utf8');
    expect(contractDigest(`// a word more\n${text}`)).toBe(contractDigest(text));
    expect(contractDigest(text.replace('length: u32', 'length: u64'))).not.toBe(contractDigest(text));
  });
});
