import { generateKeyPairSync, type KeyObject, sign as signBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bundleToJSON, toDSSEBundle } from '@sigstore/bundle';
import { dsse } from '@sigstore/core';
import { Header } from 'tar';
import { pack, signatureName } from '../../host/package/archive.js';
import { canonicalJson } from '../../host/package/json.js';
import { fingerprintOf } from '../../host/package/keys.js';
import { sourceDigest } from '../../host/package/package.js';
import { sign } from '../../host/package/signatures.js';
import { PAYLOAD_TYPE, statementBytes } from '../../host/package/statement.js';
import { TrustPolicy } from '../../host/package/trust.js';
import type { Manifest } from '../../host/policy/manifest.js';
import { vectorsPath } from '../../host/policy/vectors.js';
import { policyPackage } from '../policy/support.js';

/** The smallest of Postern's own classes is what the packages of these tests are of. */
export const CLASS = 'media';

export type MemberMap = Map<string, Buffer>;

/** Somebody who signs. */
export interface Signer {
  name: string;
  key: KeyObject;
  publicKey: string;
  fingerprint: string;
}

/** A new key of somebody's; of a curve, where it isn't Ed25519. */
export function newSigner(name: string, namedCurve?: string): Signer {
  const pair =
    namedCurve === undefined ? generateKeyPairSync('ed25519') : generateKeyPairSync('ec', { namedCurve });
  return signerOf(name, pair);
}

/** Somebody with a key of a kind that may not sign. */
export function rsaSigner(name: string): Signer {
  return signerOf(name, generateKeyPairSync('rsa', { modulusLength: 2048 }));
}

function signerOf(
  name: string,
  { privateKey, publicKey }: { privateKey: KeyObject; publicKey: KeyObject },
): Signer {
  const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
  return { name, key: privateKey, publicKey: pem, fingerprint: fingerprintOf(privateKey) };
}

/** A trust policy by which so many of the signers must have signed packages of the class. */
export function trusting(
  signers: readonly Signer[],
  threshold = signers.length,
  times: { notBefore?: string; notAfter?: string } = {},
): TrustPolicy {
  return new TrustPolicy(
    {
      keys: Object.fromEntries(signers.map(({ name, publicKey }) => [name, { publicKey, ...times }])),
      classes: { [CLASS]: { keys: signers.map(({ name }) => name), threshold } },
    },
    'the trust policy of the test',
  );
}

/** The members of a good package, unsigned. */
export async function goodMembers(fields: Partial<Manifest> = {}): Promise<MemberMap> {
  const { manifest, component } = await policyPackage(CLASS);
  const vectors = JSON.parse(readFileSync(vectorsPath(CLASS), 'utf8'));
  const files = [{ path: `policies/${CLASS}.ts`, sha256: 'ab'.repeat(32) }];
  return new Map([
    ['manifest.json', canonicalJson({ ...manifest, sequence: 7, version: '0.7.0', ...fields })],
    ['source.json', canonicalJson({ sha256: sourceDigest(files), files, tools: {} })],
    ['vectors.json', canonicalJson(vectors)],
    ['policy.wasm', readFileSync(component)],
  ]);
}

/** The members, changed. */
export function having(members: MemberMap, name: string, bytes: Buffer | string): MemberMap {
  return new Map([...members, [name, Buffer.from(bytes)]]);
}

/** The members without one. */
export function lacking(members: MemberMap, name: string): MemberMap {
  return new Map([...members].filter(([other]) => other !== name));
}

/** A member that is JSON, changed; the keys keep their order. */
export function edited(members: MemberMap, name: string, edit: (value: never) => unknown): MemberMap {
  return having(
    members,
    name,
    canonicalJson(edit(JSON.parse((members.get(name) as Buffer).toString()) as never)),
  );
}

/** The package's file, signed. */
export function signedBy(members: MemberMap, ...signers: Signer[]): Buffer {
  return pack(signers.reduce((all, { key }) => sign(all, key), members));
}

/** The members with a bundle of one's own making, signed correctly whatever it says. */
export function withBundle(
  members: MemberMap,
  signer: Signer,
  {
    payload = statementBytes(members),
    payloadType = PAYLOAD_TYPE,
    hint = signer.fingerprint,
    edit = (bundle: Record<string, unknown>): unknown => bundle,
  } = {},
): MemberMap {
  const digest = signer.key.asymmetricKeyType === 'ed25519' ? null : 'sha256';
  const signature = signBytes(digest, dsse.preAuthEncoding(payloadType, payload), signer.key);
  const bundle = toDSSEBundle({ artifact: payload, artifactType: payloadType, signature, keyHint: hint });
  return having(
    members,
    signatureName(signer.fingerprint),
    canonicalJson(edit(bundleToJSON(bundle) as Record<string, unknown>)),
  );
}

/** An archive of entries as they are given, however strange. */
export function rawArchive(
  entries: readonly { header: ConstructorParameters<typeof Header>[0]; bytes?: Buffer }[],
): Buffer {
  const blocks = entries.flatMap(({ header, bytes = Buffer.alloc(0) }) => {
    const block = Buffer.alloc(512);
    const defaults = {
      mode: 0o644,
      uid: 0,
      gid: 0,
      mtime: new Date(0),
      size: bytes.length,
      type: 'File' as const,
    };
    new Header({ ...defaults, ...(header as object) }).encode(block);
    return [block, bytes, Buffer.alloc(-bytes.length & 511)];
  });
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

/** The entries of a package, for changing. */
export function entriesOf(members: MemberMap): { header: { path: string }; bytes: Buffer }[] {
  return [...members].map(([path, bytes]) => ({ header: { path }, bytes }));
}

/** A folder that `remove` removes. */
export function temporaryFolder(): { folder: string; remove(): void } {
  const folder = mkdtempSync(join(tmpdir(), 'postern-package-'));
  return { folder, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

/** An unsigned LEB128 number. */
function leb128(value: number): Buffer {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    bytes.push((rest % 128) | (rest >= 128 ? 0x80 : 0));
    if (rest < 128) return Buffer.from(bytes);
  }
}

/** A component whose core module is another, whatever that is: its first core module section is exchanged. */
export function withCore(component: Buffer, core: Uint8Array): Buffer {
  const CORE_MODULE = 1;
  for (let at = 8; at < component.length; ) {
    const id = component[at];
    let [length, shift, next] = [0, 0, at + 1];
    for (let byte = 0x80; byte & 0x80; shift += 7) {
      byte = component[next++] as number;
      length += (byte & 0x7f) * 2 ** shift;
    }
    if (id === CORE_MODULE)
      return Buffer.concat([
        component.subarray(0, at),
        Buffer.from([CORE_MODULE]),
        leb128(core.length),
        core,
        component.subarray(next + length),
      ]);
    at = next + length;
  }
  throw new Error('The component has no core module.');
}
