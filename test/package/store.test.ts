import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { PolicyStore } from '../../host/package/store.js';
import type { StoredPolicy } from '../../host/package/stored.js';
import type { TrustPolicy } from '../../host/package/trust.js';
import type { Manifest } from '../../host/policy/manifest.js';
import { loadPolicies } from '../../host/policy/store.js';
import { CLASS, goodMembers, newSigner, signedBy, temporaryFolder, trusting } from './support.js';

const alice = newSigner('alice');
let own: string;
let trust: TrustPolicy;
let store: PolicyStore;
let remove: () => void;

beforeAll(() => {
  trust = trusting([alice]);
  own = loadPolicies().find(({ manifest }) => manifest.class === CLASS)?.manifest.version ?? '';
});
beforeEach(() => {
  const temporary = temporaryFolder();
  remove = temporary.remove;
  store = new PolicyStore(join(temporary.folder, 'deep', 'store'));
});
afterEach(() => remove());

/** A signed package of a version. */
async function version(sequence: number, fields: Partial<Manifest> = {}): Promise<Buffer> {
  return signedBy(await goodMembers({ sequence, version: `0.${sequence}.0`, ...fields }), alice);
}

async function inForce(of: PolicyStore = store): Promise<StoredPolicy> {
  const found = (await of.inForce()).policies.find(({ manifest }) => manifest.class === CLASS);
  if (found === undefined) throw new Error(`Nothing of the class ${CLASS} is in force.`);
  return found;
}

const code = (name: string): object => expect.objectContaining({ code: name });
const acts = (): string[] => store.state().history.map(({ act, version }) => `${act} ${version}`);

describe('the policy store', () => {
  it('is not needed: without one, what came with Postern is in force', async () => {
    expect(store.exists).toBe(false);
    expect((await store.inForce()).policies.map(({ manifest }) => manifest.name).sort()).toEqual(
      loadPolicies()
        .map(({ manifest }) => manifest.name)
        .sort(),
    );
    expect(() => store.state()).toThrow(code('POSTERN_STORE_MISSING'));
  });

  it('has what was installed judge, and everything else as before', async () => {
    const entry = await store.install(await version(2), { trust });
    const { policies } = await store.inForce();
    expect(policies).toHaveLength(loadPolicies().length);
    const installed = await inForce();
    expect(installed).toMatchObject({ manifest: { version: '0.2.0' }, entry, vectors: { class: CLASS } });
    expect(policies.filter((policy) => policy.entry !== undefined)).toEqual([installed]);
    expect(WebAssembly.validate(installed.core)).toBe(true);
  });

  it('is its owner’s alone', async () => {
    await store.install(await version(2), { trust });
    const modeOf = (path: string): string => (statSync(join(store.folder, path)).mode & 0o777).toString(8);
    const [file] = readdirSync(join(store.folder, 'packages'));
    expect(['.', 'packages', 'inbox'].map(modeOf)).toEqual(['700', '700', '700']);
    expect(['state.json', `packages/${file}`].map(modeOf)).toEqual(['600', '600']);
    chmodSync(store.folder, 0o777);
    await expect(store.inForce()).rejects.toThrow(code('POSTERN_STORE_PERMISSIONS'));
    await expect(store.install(await version(3), { trust })).rejects.toThrow(
      code('POSTERN_STORE_PERMISSIONS'),
    );
  });

  it('keeps nothing that it does not need', async () => {
    for (let sequence = 2; sequence <= 14; sequence++)
      await store.install(await version(sequence), { trust });
    // The one in force, and those that can be gone back to.
    expect(readdirSync(join(store.folder, 'packages'))).toHaveLength(9);
    writeFileSync(join(store.folder, 'state.json.4711.unfinished'), 'half');
    await store.install(await version(15), { trust });
    expect(readdirSync(store.folder).sort()).toEqual(['inbox', 'lock', 'packages', 'state.json']);
  });

  it('takes changes one after the other, whoever makes them', async () => {
    const other = new PolicyStore(store.folder);
    const files = await Promise.all([2, 3, 4, 5].map((sequence) => version(sequence)));
    const results = await Promise.allSettled(
      files.map((file, index) => (index % 2 === 0 ? store : other).install(file, { trust })),
    );
    const installed = results.filter(({ status }) => status === 'fulfilled').length;
    expect(store.state().history).toHaveLength(installed);
    expect((await inForce()).manifest.sequence).toBe(store.state().classes[CLASS]?.sequenceHighest);
    for (const result of results)
      if (result.status === 'rejected')
        expect(result.reason).toMatchObject({ code: 'POSTERN_PKG_SEQUENCE_OLD' });
  });

  it.each([
    ['is cut off', '{"format": 1, "classes"'],
    ['is empty', ''],
    ['is of another version', '{"format": 2, "classes": {}, "history": []}'],
  ])('does not take a state for a new store that %s', async (_what, text) => {
    await store.install(await version(2), { trust });
    writeFileSync(join(store.folder, 'state.json'), text);
    await expect(store.inForce()).rejects.toThrow(code('POSTERN_STORE_STATE'));
    await expect(store.install(await version(3), { trust })).rejects.toThrow(code('POSTERN_STORE_STATE'));
    expect(readFileSync(join(store.folder, 'state.json'), 'utf8')).toBe(text);
  });

  it('notices a package that is not the one that was installed', async () => {
    const { file } = await store.install(await version(2), { trust });
    writeFileSync(join(store.folder, 'packages', `${file}.postern`), await version(3));
    expect((await store.inForce()).unfit).toMatchObject([{ class: CLASS, code: 'POSTERN_STORE_DIGEST' }]);
  });
});

describe('an old version', () => {
  it('is refused, also after the newer one was gone back from', async () => {
    await store.install(await version(2), { trust });
    await store.install(await version(4), { trust });
    await store.rollback(CLASS);
    await expect(store.install(await version(3), { trust })).rejects.toThrow(
      code('POSTERN_PKG_SEQUENCE_OLD'),
    );
    expect((await inForce()).manifest.version).toBe('0.2.0');
    // What the store has seen can come back, nothing else of that number.
    await store.install(await version(4), { trust });
    expect((await inForce()).manifest.version).toBe('0.4.0');
  });

  it('stays when Postern comes with a newer one, and the store says so until it is taken back', async () => {
    const [own] = loadPolicies().filter(({ manifest }) => manifest.class === CLASS);
    if (own === undefined) throw new Error(`There is no class ${CLASS}.`);
    await store.install(await version(8), { trust });
    expect(store.outdated()).toEqual([]);
    const newer = new PolicyStore(store.folder, () => [
      { ...own, manifest: { ...own.manifest, sequence: 9, version: '0.9.0' } },
    ]);
    expect((await inForce(newer)).manifest.version).toBe('0.8.0');
    expect(newer.outdated()).toEqual([{ class: CLASS, inForce: '0.8.0', builtIn: '0.9.0' }]);
    await newer.rollback(CLASS);
    expect((await inForce(newer)).manifest.version).toBe('0.9.0');
    expect(newer.outdated()).toEqual([]);
  });

  it('is refused when it is older than what came with Postern', async () => {
    const [own] = loadPolicies().filter(({ manifest }) => manifest.class === CLASS);
    if (own === undefined) throw new Error(`There is no class ${CLASS}.`);
    const newer = new PolicyStore(store.folder, () => [
      { ...own, manifest: { ...own.manifest, sequence: 9 } },
    ]);
    await expect(newer.install(await version(8), { trust })).rejects.toThrow(
      code('POSTERN_PKG_SEQUENCE_OLD'),
    );
    expect(newer.exists).toBe(false);
  });

  it('is taken when that is asked for, which is recorded', async () => {
    await store.install(await version(4), { trust });
    await store.install(await version(3), { trust, allowDowngrade: true, why: 'the new one is slow' });
    expect((await inForce()).manifest.version).toBe('0.3.0');
    expect(store.state().history.at(-1)).toMatchObject({
      act: 'downgrade',
      version: '0.3.0',
      why: 'the new one is slow',
      by: expect.stringContaining(`(${process.getuid?.()})`),
    });
    // Having been asked once is not being asked for ever.
    await expect(store.install(await version(2), { trust })).rejects.toThrow(
      code('POSTERN_PKG_SEQUENCE_OLD'),
    );
  });
});

describe('an unsigned package', () => {
  it('is taken when that is asked for, which is recorded', async () => {
    const entry = await store.install(await version(2), { trust: undefined, allowUnsigned: true });
    expect(entry.signers).toEqual([]);
    expect(store.state().history.at(-1)).toMatchObject({ act: 'install', signers: [] });
  });
});

describe('going back', () => {
  it('leads from version to version, and in the end to what came with Postern', async () => {
    await store.install(await version(2), { trust });
    await store.install(await version(3), { trust });
    expect(await store.rollback(CLASS, { why: 'frames are torn' })).toMatchObject({ version: '0.2.0' });
    expect(await store.rollback(CLASS)).toBeUndefined();
    expect(await inForce()).toMatchObject({ manifest: { version: own }, entry: undefined });
    await expect(store.rollback(CLASS)).rejects.toThrow(code('POSTERN_STORE_NOTHING'));
    expect(acts()).toEqual(['install 0.2.0', 'install 0.3.0', 'rollback 0.2.0', 'rollback 0.2.0']);
    expect(store.state().history[2]).toMatchObject({ why: 'frames are torn' });
  });

  it('is refused of a class that the store does not have', async () => {
    await store.install(await version(2), { trust });
    await expect(store.rollback('pty')).rejects.toThrow(code('POSTERN_STORE_NOTHING'));
  });
});

describe('a candidate', () => {
  it('changes nothing until it is promoted', async () => {
    await store.install(await version(2), { trust });
    await store.setCandidate(await version(3), { trust });
    expect((await inForce()).manifest.version).toBe('0.2.0');
    expect((await store.candidates()).policies.map(({ manifest }) => manifest.version)).toEqual(['0.3.0']);
    await store.promote(CLASS);
    expect((await inForce()).manifest.version).toBe('0.3.0');
    expect((await store.candidates()).policies).toEqual([]);
    expect(await store.rollback(CLASS)).toMatchObject({ version: '0.2.0' });
  });

  it('of a class that has none in the store leaves what came with Postern in force', async () => {
    await store.setCandidate(await version(2), { trust });
    expect((await inForce()).manifest.version).toBe(own);
    await store.withdrawCandidate(CLASS);
    await expect(store.promote(CLASS)).rejects.toThrow(code('POSTERN_STORE_NOTHING'));
  });

  it('is verified as any other', async () => {
    const stranger = signedBy(await goodMembers(), newSigner('stranger'));
    await expect(store.setCandidate(stranger, { trust })).rejects.toThrow(code('POSTERN_PKG_KEY_UNKNOWN'));
  });
});

describe('a module that misbehaved', () => {
  it('gives its place back, and is not taken again', async () => {
    // The same component in another version would be the same module: quarantine goes by the component.
    await store.install(await version(2), { trust });
    const { digest } = await inForce();
    expect(await store.quarantine(CLASS, digest, 'it trapped')).toBe(true);
    expect(await inForce()).toMatchObject({ manifest: { version: own }, entry: undefined });
    await expect(store.install(await version(3), { trust })).rejects.toThrow(/it trapped/);
    await expect(store.install(await version(3), { trust })).rejects.toThrow(code('POSTERN_PKG_QUARANTINED'));
    expect(store.state().classes[CLASS]?.quarantined).toMatchObject([{ digest, reason: 'it trapped' }]);
    expect(acts()).toEqual(['install 0.2.0', 'quarantine 0.2.0']);
  });

  it('must be one that the store has', async () => {
    await store.install(await version(2), { trust });
    await expect(store.quarantine(CLASS, '00'.repeat(32), '?')).rejects.toThrow(
      code('POSTERN_STORE_NOTHING'),
    );
  });
});

it('a store is not made in somebody else’s folder', async () => {
  mkdirSync(store.folder, { recursive: true });
  chmodSync(store.folder, 0o770);
  await expect(store.install(await version(2), { trust })).rejects.toThrow(code('POSTERN_STORE_PERMISSIONS'));
  expect(readdirSync(store.folder)).toEqual([]);
});
