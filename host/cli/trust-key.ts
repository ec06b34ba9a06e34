import { existsSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { makeFolder, writeDurably } from '../package/durable.js';
import { PackageError } from '../package/errors.js';
import { canonicalJson } from '../package/json.js';
import { fingerprintOf, publicKeyOf } from '../package/keys.js';
import { defaultTrustPath } from '../package/locations.js';
import { type TrustFile, TrustPolicy } from '../package/trust.js';
import { printJson, refusing } from './refusal.js';

/** What `postern policy trust` was asked for. */
export interface TrustOptions {
  class: string;
  threshold?: number;
  notBefore?: string;
  notAfter?: string;
  trust?: string;
  json?: boolean;
}

/** `postern policy trust`: the policy is checked as a whole before it is written. */
export async function trustKey(name: string, keyPath: string, options: TrustOptions): Promise<void> {
  await refusing(options.json, () => {
    const path = options.trust ?? defaultTrustPath();
    const publicKey = readFileSync(keyPath, 'utf8');
    const fingerprint = fingerprintOf(publicKeyOf(publicKey, keyPath));
    const file = readFile(path);
    const before = file.classes[options.class];
    const threshold = options.threshold ?? before?.threshold ?? 1;
    file.keys[name] = {
      publicKey,
      ...(options.notBefore === undefined ? {} : { notBefore: options.notBefore }),
      ...(options.notAfter === undefined ? {} : { notAfter: options.notAfter }),
    };
    file.classes[options.class] = { keys: [...new Set([...(before?.keys ?? []), name])], threshold };
    new TrustPolicy(file, path);
    makeFolder(dirname(path));
    writeDurably(path, canonicalJson(file));
    const rule = file.classes[options.class];
    if (options.json) return printJson({ trust: path, name, fingerprint, class: options.class, ...rule });
    process.stdout.write(
      `${path}: '${name}' (${fingerprint}) may sign for '${options.class}', of whose keys ${threshold} must have signed.\n`,
    );
  });
}

function readFile(path: string): TrustFile {
  if (!existsSync(path)) return { keys: {}, classes: {} };
  try {
    const file = JSON.parse(readFileSync(path, 'utf8')) as TrustFile;
    new TrustPolicy(file, path);
    return file;
  } catch (error) {
    if (error instanceof PackageError) throw error;
    throw new PackageError(
      'POSTERN_PKG_TRUST',
      `The trust policy ${path} can't be read: ${(error as Error).message}.`,
    );
  }
}
