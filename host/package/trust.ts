import type { KeyObject } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { schemaFaults } from '../policy/checked-json.js';
import { systemWords } from '../system-error.js';
import { PackageError } from './errors.js';
import { fingerprintOf, publicKeyOf } from './keys.js';

/** A key that the host knows. */
export interface TrustedKey {
  /** The trust policy's name of it. */
  name: string;
  key: KeyObject;
  fingerprint: string;
  notBefore: Date | undefined;
  notAfter: Date | undefined;
}

/** Who must have signed the packages of a class. */
export interface ClassRule {
  keys: TrustedKey[];
  threshold: number;
}

/** A trust policy as its file has it. */
export interface TrustFile {
  /** Whether the unsigned modules that came with Postern judge where the store has none. True by default. */
  builtIn?: boolean;
  keys: Record<string, { publicKey: string; notBefore?: string; notAfter?: string }>;
  classes: Record<string, { keys: string[]; threshold: number }>;
}

/** The rule of every class that has none of its own. */
const ANY_CLASS = '*';
/** The source of the policy that there is where there is none. */
const NOBODYS = 'no trust policy';

/** Whose packages a host takes: schemas/trust.schema.json. */
export class TrustPolicy {
  /** By fingerprint. A key under two names is one key. */
  private readonly keys = new Map<string, TrustedKey>();
  private readonly rules = new Map<string, ClassRule>();

  /** Whether the modules that came with Postern may judge. */
  readonly takesBuiltIn: boolean = true;

  /** @throws PackageError POSTERN_PKG_TRUST with everything that is wrong, POSTERN_PKG_KEY_TYPE */
  constructor(
    value: unknown,
    readonly source: string,
  ) {
    if (value === undefined) return;
    const faults = schemaFaults(value, 'trust.schema.json');
    if (faults.length > 0) throw untrusted([`${source} is no trust policy:`, ...faults].join('\n  '));
    const file = value as TrustFile;
    this.takesBuiltIn = file.builtIn ?? true;
    const named = new Map<string, TrustedKey>();
    for (const [name, entry] of Object.entries(file.keys)) named.set(name, this.#addKey(name, entry));
    for (const [name, rule] of Object.entries(file.classes))
      this.rules.set(name, this.#rule(name, rule, named));
  }

  /** A policy by which nobody may sign anything. */
  static nobody(): TrustPolicy {
    return new TrustPolicy(undefined, NOBODYS);
  }

  /** The key with that fingerprint, of whichever class. */
  keyOf(fingerprint: string): TrustedKey | undefined {
    return this.keys.get(fingerprint);
  }

  /** @throws PackageError POSTERN_PKG_CLASS_UNTRUSTED when nobody may sign for the class */
  ruleOf(deviceClass: string): ClassRule {
    const rule = this.rules.get(deviceClass) ?? this.rules.get(ANY_CLASS);
    if (rule !== undefined) return rule;
    throw new PackageError(
      'POSTERN_PKG_CLASS_UNTRUSTED',
      this.source === NOBODYS
        ? 'There is no trust policy, so nobody may sign: give one by --trust.'
        : `${this.source} has no rule for the class '${deviceClass}', and none for '${ANY_CLASS}'.`,
    );
  }

  #addKey(name: string, entry: TrustFile['keys'][string]): TrustedKey {
    const key = publicKeyOf(entry.publicKey, `The key '${name}' of ${this.source}`);
    const fingerprint = fingerprintOf(key);
    const known = this.keys.get(fingerprint);
    if (known !== undefined)
      throw untrusted(
        `${this.source} has the same key as '${known.name}' and as '${name}': one person, one key.`,
      );
    const time = (text: string | undefined): Date | undefined =>
      text === undefined ? undefined : new Date(text);
    const trusted = {
      name,
      key,
      fingerprint,
      notBefore: time(entry.notBefore),
      notAfter: time(entry.notAfter),
    };
    this.keys.set(fingerprint, trusted);
    return trusted;
  }

  #rule(name: string, rule: TrustFile['classes'][string], named: Map<string, TrustedKey>): ClassRule {
    const keys = rule.keys.map((key) => {
      const found = named.get(key);
      if (found === undefined)
        throw untrusted(`${this.source}: the class '${name}' names the key '${key}', which is not there.`);
      return found;
    });
    if (rule.threshold > keys.length)
      throw untrusted(
        `${this.source}: the class '${name}' asks for ${rule.threshold} of ${keys.length} keys.`,
      );
    return { keys, threshold: rule.threshold };
  }
}

/** @throws PackageError POSTERN_PKG_TRUST when the file can't be read or says nothing usable */
export function readTrustPolicy(path: string): TrustPolicy {
  let value: unknown;
  try {
    value = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT')
      throw untrusted(`There is no trust policy ${path}: \`postern policy trust\` makes one, with a key.`);
    throw untrusted(
      `The trust policy ${path} can't be read: ${systemWords(error) ?? (error as Error).message}.`,
    );
  }
  return new TrustPolicy(value, path);
}

function untrusted(message: string): PackageError {
  return new PackageError('POSTERN_PKG_TRUST', message);
}
