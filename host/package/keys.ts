import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
} from 'node:crypto';
import { closeSync, fsyncSync, openSync, readFileSync, writeSync } from 'node:fs';
import { PackageError } from './errors.js';

/** The kinds of keys that may sign. */
export const KEY_KINDS = ['ed25519', 'p256'] as const;
export type KeyKind = (typeof KEY_KINDS)[number];

/** A private key is for its owner alone. */
const PRIVATE_MODE = 0o600;
const PUBLIC_MODE = 0o644;

/** Which kind a key is of. @throws PackageError POSTERN_PKG_KEY_TYPE for any other than Ed25519 and ECDSA P-256 */
export function kindOf(key: KeyObject, what: string): KeyKind {
  const curve = key.asymmetricKeyDetails?.namedCurve;
  if (key.asymmetricKeyType === 'ed25519') return 'ed25519';
  if (key.asymmetricKeyType === 'ec' && curve === 'prime256v1') return 'p256';
  const found = [key.asymmetricKeyType, curve].filter((part) => part !== undefined).join(' ');
  throw new PackageError(
    'POSTERN_PKG_KEY_TYPE',
    `${what} is a key of the kind '${found}', expected Ed25519 or ECDSA P-256.`,
  );
}

/** A key's name that nobody chose: SHA-256 of its SubjectPublicKeyInfo, hexadecimal. */
export function fingerprintOf(key: KeyObject): string {
  const publicKey = key.type === 'private' ? createPublicKey(key) : key;
  const der = publicKey.export({ type: 'spki', format: 'der' });
  return createHash('sha256').update(der).digest('hex');
}

/**
 * Reads a public key from PEM.
 * @throws PackageError POSTERN_PKG_TRUST when it is none, POSTERN_PKG_KEY_TYPE when it is of another kind
 */
export function publicKeyOf(pem: string, what: string): KeyObject {
  let key: KeyObject;
  try {
    key = createPublicKey(pem);
  } catch (error) {
    throw new PackageError('POSTERN_PKG_TRUST', `${what} is no public key in PEM.`, { cause: error });
  }
  kindOf(key, what);
  return key;
}

/**
 * Reads a private key from a PEM file (PKCS #8).
 * @throws Error when there is none, or it is encrypted; PackageError POSTERN_PKG_KEY_TYPE when it is of another kind
 */
export function readPrivateKey(path: string): KeyObject {
  const pem = readFileSync(path);
  let key: KeyObject;
  try {
    key = createPrivateKey(pem);
  } catch (error) {
    throw new Error(
      `${path} is no private key in PEM without a passphrase: make one with \`postern policy keygen\`.`,
      { cause: error },
    );
  }
  kindOf(key, path);
  return key;
}

/**
 * Makes a key pair: the private key in `path`, readable by its owner only, the public key in `path`.pub. Neither may be there already.
 * @returns the fingerprint and the public key's PEM
 */
export function generateKey(kind: KeyKind, path: string): { fingerprint: string; publicKey: string } {
  const { privateKey, publicKey } =
    kind === 'ed25519'
      ? generateKeyPairSync('ed25519')
      : generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString();
  writeNew(path, privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), PRIVATE_MODE);
  writeNew(`${path}.pub`, pem, PUBLIC_MODE);
  return { fingerprint: fingerprintOf(publicKey), publicKey: pem };
}

function writeNew(path: string, text: string, mode: number): void {
  const file = openSync(path, 'wx', mode);
  try {
    writeSync(file, text);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}
