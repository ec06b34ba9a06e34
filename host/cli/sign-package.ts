import { pack } from '../package/archive.js';
import { replaceFile } from '../package/durable.js';
import { fingerprintOf, generateKey, type KeyKind, readPrivateKey } from '../package/keys.js';
import { openPackage, readPackageFile } from '../package/package.js';
import { sign, signatureFingerprints } from '../package/signatures.js';
import { printJson, refusing } from './refusal.js';

/** `postern policy keygen`. */
export function makeKey(path: string, kind: KeyKind, json: boolean | undefined): void {
  const { fingerprint } = generateKey(kind, path);
  if (json) {
    printJson({ privateKey: path, publicKey: `${path}.pub`, kind, fingerprint });
    return;
  }
  process.stdout.write(
    `${path}: the private key, for its owner alone\n${path}.pub: the public key ${fingerprint}\n`,
  );
}

/** `postern policy sign`: the package is replaced as a whole, so that nothing half-signed is ever there. */
export async function signPackage(path: string, options: { key: string; json?: boolean }): Promise<void> {
  await refusing(options.json, () => {
    const key = readPrivateKey(options.key);
    const { members, manifest } = openPackage(readPackageFile(path));
    const signed = sign(members, key);
    replaceFile(path, pack(signed));
    const signatures = signatureFingerprints(signed);
    const count = signatures.length;
    const { name, version, sequence } = manifest;
    if (options.json)
      return printJson({ file: path, name, version, sequence, key: fingerprintOf(key), signatures });
    process.stdout.write(
      `${path}: ${manifest.name} ${manifest.version} signed by the key ${fingerprintOf(key)}; it has ${count} signature${count === 1 ? '' : 's'}.\n`,
    );
  });
}
