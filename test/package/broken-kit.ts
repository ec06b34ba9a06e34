/** What the cases of broken packages are made with: a good package, its signers, and ways to spoil it. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { signatureName } from '../../host/package/archive.js';
import type { PackageErrorCode } from '../../host/package/errors.js';
import { canonicalJson } from '../../host/package/json.js';
import { type InstallOptions, PolicyStore } from '../../host/package/store.js';
import type { TrustPolicy } from '../../host/package/trust.js';
import {
  edited,
  entriesOf,
  goodMembers,
  having,
  type MemberMap,
  newSigner,
  rawArchive,
  type Signer,
  signedBy,
  temporaryFolder,
  trusting,
  withBundle,
  withCore,
} from './support.js';

/** What a case gives the store, and how. */
export interface Attempt {
  file: string | Buffer;
  options?: Partial<InstallOptions>;
}

/** A kind of broken package, the code of its refusal, and the package. */
export type Case = [kind: string, code: PackageErrorCode, make: () => Attempt | Buffer];

export const MIB = 1024 * 1024;
export const { folder, remove } = temporaryFolder();
export const alice = newSigner('alice');
export const bob = newSigner('bob', 'P-256');
export const mallory = newSigner('mallory');
export let trust: TrustPolicy;
export let store: PolicyStore;
export let good: MemberMap;

/** Installs a package of the class, so that the good one is the next. To be called before the cases are made. */
export async function prepare(): Promise<void> {
  good = await goodMembers({ sequence: 8, version: '0.8.0' });
  trust = trusting([alice, bob]);
  store = new PolicyStore(join(folder, 'store'));
  await store.install(signedBy(await goodMembers(), alice, bob), { trust });
}

/** Signed by all who must: what is wrong is elsewhere. */
export const signed = (members: MemberMap): Buffer => signedBy(members, alice, bob);
export const json = (name: string, edit: (value: never) => unknown): Buffer =>
  signed(edited(good, name, edit));
export const manifest = (fields: object): Buffer =>
  json('manifest.json', (value: object) => ({ ...value, ...fields }));
export const text = (name: string, change: (text: string) => string): Buffer =>
  signed(having(good, name, change((good.get(name) as Buffer).toString())));
export const core = (bytes: Uint8Array): Buffer =>
  signed(having(good, 'policy.wasm', withCore(good.get('policy.wasm') as Buffer, bytes)));
export const named = (from: string, to: string): Buffer => {
  const component = Buffer.from(good.get('policy.wasm') as Buffer);
  for (let at = component.indexOf(from); at !== -1; at = component.indexOf(from, at + 1))
    component.write(to, at);
  return signed(having(good, 'policy.wasm', component));
};
export const entries = (...more: { header: object; bytes?: Buffer }[]): Buffer =>
  rawArchive([...entriesOf(good), ...more]);
export const fileOf = (name: string, bytes: Buffer): string => {
  const path = join(folder, name);
  writeFileSync(path, bytes);
  return path;
};
export const trusted = (policy: TrustPolicy, file: Buffer = signed(good)): Attempt => ({
  file,
  options: { trust: policy },
});
export const bundle = (options: Parameters<typeof withBundle>[2]): Buffer =>
  signedBy(withBundle(good, alice, options), bob);
export const statement = (value: unknown): Buffer => bundle({ payload: canonicalJson(value) });
export const signatureOf = (signer: Signer, members: MemberMap): Buffer => {
  const name = signatureName(signer.fingerprint);
  return withBundle(members, signer).get(name) as Buffer;
};
