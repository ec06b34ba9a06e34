/** A host that loads modules from its store asks again whose word they are. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { pack, unpack } from '../../host/package/archive.js';
import { canonicalJson } from '../../host/package/json.js';
import type { StoreState } from '../../host/package/state.js';
import { sha256 } from '../../host/package/statement.js';
import { PolicyStore } from '../../host/package/store.js';
import type { HostTrust, StoredPolicy } from '../../host/package/stored.js';
import { TrustPolicy } from '../../host/package/trust.js';
import { loadPolicies } from '../../host/policy/store.js';
import { hostTrust } from '../../host/serve/source.js';
import { CLASS, edited, goodMembers, newSigner, signedBy, temporaryFolder, trusting } from './support.js';

const alice = newSigner('alice');
const bob = newSigner('bob');
let folder: string;
let remove: () => void;
let store: PolicyStore;

beforeEach(() => {
  ({ folder, remove } = temporaryFolder());
  store = new PolicyStore(join(folder, 'store'));
});
afterEach(() => remove());

const by = (policy: TrustPolicy | undefined): HostTrust => ({ path: 'trust.json', policy });
const code = (name: string): object => expect.objectContaining({ code: name });
const version = async (sequence: number): Promise<Buffer> =>
  signedBy(await goodMembers({ sequence, version: `0.${sequence}.0` }), alice);

async function loaded(trust?: HostTrust): Promise<StoredPolicy | undefined> {
  return (await store.inForce(trust)).policies.find(({ manifest }) => manifest.class === CLASS);
}

/** Why the class has no module; what other classes have is as ever. */
async function refusal(trust?: HostTrust): Promise<string> {
  const { policies, unfit } = await store.inForce(trust);
  const classes = loadPolicies().map(({ manifest }) => manifest.class);
  expect(policies.map(({ manifest }) => manifest.class).sort()).toEqual(
    classes.filter((name) => name !== CLASS).sort(),
  );
  expect(unfit.map((each) => each.class)).toEqual([CLASS]);
  return unfit.map(({ code: told, message }) => `${told}: ${message}`).join();
}

/** Puts other bytes in the place of the package in force, and has the state say that they are the ones that were installed. */
function exchange(file: Buffer): void {
  const path = join(store.folder, 'state.json');
  const state = JSON.parse(readFileSync(path, 'utf8')) as StoreState;
  const entry = state.classes[CLASS]?.inForce;
  if (entry === null || entry === undefined) throw new Error('Nothing is in force.');
  entry.file = sha256(file);
  writeFileSync(path, canonicalJson(state));
  writeFileSync(join(store.folder, 'packages', `${entry.file}.postern`), file);
}

describe('a module that a host loads from its store', () => {
  it('is judged by its signatures again, and taken when they hold', async () => {
    await store.install(await version(2), { trust: trusting([alice]) });
    expect(await loaded(by(trusting([alice])))).toMatchObject({ manifest: { version: '0.2.0' } });
  });

  it('is refused when a byte of it has changed', async () => {
    await store.install(await version(2), { trust: trusting([alice]) });
    const [name = ''] = readdirSync(join(store.folder, 'packages'));
    const path = join(store.folder, 'packages', name);
    const bytes = readFileSync(path);
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
    writeFileSync(path, bytes);
    for (const trust of [by(trusting([alice])), undefined])
      expect(await refusal(trust)).toMatch(
        /^POSTERN_STORE_DIGEST: .*0\.2\.0\): install it again, or go back by `postern policy rollback media`/,
      );
  });

  it.each<[string, () => Promise<Buffer>, string]>([
    ['an unsigned one', async () => pack(await goodMembers({ sequence: 2 })), 'POSTERN_PKG_UNSIGNED'],
    [
      'one that a stranger has signed',
      async () => signedBy(await goodMembers({ sequence: 2 }), newSigner('eve')),
      'POSTERN_PKG_KEY_UNKNOWN',
    ],
    [
      'one that was changed after it was signed',
      async () => {
        const good = await goodMembers({ sequence: 2 });
        const signature = [...good, ...signedMembers(good)];
        return pack(
          edited(new Map(signature), 'manifest.json', (value: object) => ({ ...value, sequence: 3 })),
        );
      },
      'POSTERN_PKG_DIGEST',
    ],
  ])('is refused when the store has %s in its place, digest and all', async (_what, make, why) => {
    await store.install(await version(2), { trust: trusting([alice]) });
    exchange(await make());
    const told = await refusal(by(trusting([alice])));
    expect(told).toContain('POSTERN_STORE_UNTRUSTED: ');
    expect(told).toContain(`(${why})`);
  });

  it('is refused once its signer’s key is taken out of the trust policy, and where there is none', async () => {
    await store.install(await version(2), { trust: trusting([alice]) });
    expect(await refusal(by(trusting([bob])))).toContain('POSTERN_STORE_UNTRUSTED: ');
    expect(await refusal(by(undefined))).toContain('POSTERN_STORE_UNTRUSTED: ');
    expect(await store.candidates(by(trusting([bob])))).toMatchObject({ policies: [], unfit: [] });
    await store.setCandidate(await version(3), { trust: trusting([alice]) });
    expect(await store.candidates(by(trusting([bob])))).toMatchObject({
      policies: [],
      unfit: [{ class: CLASS, version: '0.3.0', code: 'POSTERN_STORE_UNTRUSTED' }],
    });
  });

  it('is taken after its signer’s key has expired: it was good when it was installed', async () => {
    const trust = trusting([alice], 1, { notAfter: '2020-01-01T00:00:00Z' });
    const now = new Date('2019-06-01T00:00:00Z');
    await store.install(await version(2), { trust, now });
    expect(await loaded(by(trust))).toMatchObject({ manifest: { version: '0.2.0' } });
  });

  it('is taken without a signature where it was installed so, on request', async () => {
    await store.install(pack(await goodMembers({ sequence: 2 })), { trust: undefined, allowUnsigned: true });
    expect(await loaded(by(trusting([alice])))).toMatchObject({ entry: { signers: [] } });
  });
});

describe('the version before the one in force', () => {
  const previous = async (sequence: number): Promise<StoredPolicy | undefined> => {
    const digest = store.state().classes[CLASS]?.inForce?.digest ?? '';
    const found = await store.before(CLASS, digest, by(trusting([alice])));
    expect(found?.manifest.sequence).toBe(sequence);
    return found;
  };
  const trust = trusting([alice]);
  const builtIn = loadPolicies().find(({ manifest }) => manifest.class === CLASS);

  it('is the last one that was in force, at the end what came with Postern', async () => {
    for (const sequence of [20, 30]) await store.install(await version(sequence), { trust });
    expect((await previous(20))?.before).toMatchObject([{ sequence: builtIn?.manifest.sequence }]);
    await store.rollback(CLASS);
    expect((await previous(builtIn?.manifest.sequence ?? 0))?.before).toEqual([]);
    expect(await store.before(CLASS, 'another', by(trust))).toBeUndefined();
    const key = { keys: { alice: { publicKey: alice.publicKey } } };
    const classes = { [CLASS]: { keys: ['alice'], threshold: 1 } };
    const strict = by(new TrustPolicy({ ...key, classes, builtIn: false }, 'test'));
    const digest = store.state().classes[CLASS]?.inForce?.digest ?? '';
    expect(await store.before(CLASS, digest, strict)).toBeUndefined();
  });

  it('is not passed over when it can’t be loaded: it may close a hole of the one before it', async () => {
    for (const sequence of [20, 30, 40]) await store.install(await version(sequence), { trust });
    const file = store.state().classes[CLASS]?.previous[0]?.file;
    writeFileSync(join(store.folder, 'packages', `${file}.postern`), 'damaged');
    await expect(previous(30)).rejects.toThrow(code('POSTERN_STORE_DIGEST'));
  });
});

describe('the modules that came with Postern', () => {
  it('judge where the store has none, unless the trust policy says that they may not', async () => {
    await store.install(await version(2), { trust: trusting([alice]) });
    const key = { keys: { alice: { publicKey: alice.publicKey } } };
    const file = { ...key, classes: { [CLASS]: { keys: ['alice'], threshold: 1 } } };
    expect((await store.inForce(by(new TrustPolicy(file, 'test')))).policies.length).toBeGreaterThan(1);
    const strict = by(new TrustPolicy({ ...file, builtIn: false }, 'test'));
    expect((await store.inForce(strict)).policies.map(({ manifest }) => manifest.class)).toEqual([CLASS]);
  });
});

describe('the trust of a host', () => {
  it('is in nobody without the file, and refused when the file says nothing usable', () => {
    expect(hostTrust(join(folder, 'none.json')).policy).toBeUndefined();
    writeFileSync(join(folder, 'bad.json'), '{"keys":{}}');
    expect(() => hostTrust(join(folder, 'bad.json'))).toThrow(code('POSTERN_PKG_TRUST'));
  });
});

/** The signatures alone. */
function signedMembers(members: Map<string, Buffer>): [string, Buffer][] {
  return [...unpack(signedBy(members, alice))].filter(([name]) => name.startsWith('signatures/'));
}
