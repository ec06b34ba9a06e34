import type { PolicyPackage } from '../policy/store.js';
import type { VectorFile } from '../policy/vectors.js';
import { PackageError, type PackageErrorCode } from './errors.js';
import { type OpenedPackage, openPackage, readPackageFile } from './package.js';
import { verifySignatures } from './signatures.js';
import type { StoreEntry } from './state.js';
import { sha256 } from './statement.js';
import type { TrustPolicy } from './trust.js';

/** A version by what tells it from others. */
export interface VersionName {
  name: string;
  version: string;
  sequence: number;
  digest: string;
}

/** A module of a store, or one that came with Postern. */
export interface StoredPolicy extends PolicyPackage {
  /** Undefined: it came with Postern. */
  entry: StoreEntry | undefined;
  /** The package's test vectors; undefined for what came with Postern. */
  vectors: VectorFile | undefined;
  /** The versions that a rollback, or several, would put in force, the next one first. */
  before: readonly VersionName[];
}

/** A module that the store says is in force, or the candidate, and that can't be loaded: nobody judges by it. */
export interface UnfitModule {
  class: string;
  version: string;
  code: PackageErrorCode;
  /** What is wrong, and what to do. */
  message: string;
}

/** What a store has of each class: what is wrong with one class's module is that class's affair. */
export interface LoadedModules {
  policies: StoredPolicy[];
  unfit: UnfitModule[];
}

/** By what a host that loads modules from the store verifies them again; the policy is undefined where there is no such file. */
export interface HostTrust {
  path: string;
  policy: TrustPolicy | undefined;
}

/**
 * A package of a store. What was examined when it was installed is the same as long as its digest is; whose word that was is asked again.
 * @param trust of a host; undefined for whoever only looks
 * @throws PackageError with what is wrong with it, and what to do
 */
export function openStored(
  path: string,
  deviceClass: string,
  entry: StoreEntry,
  trust: HostTrust | undefined,
): OpenedPackage {
  const file = readPackageFile(path);
  const isInstalled = sha256(file) === entry.file;
  const opened = isInstalled ? openPackage(file) : undefined;
  if (opened === undefined || opened.manifest.class !== deviceClass)
    throw new PackageError(
      'POSTERN_STORE_DIGEST',
      `${path} is not the package of the class '${deviceClass}' that was installed (${entry.name} ${entry.version}): install it again, or go back by \`postern policy rollback ${deviceClass}\`.`,
    );
  if (trust !== undefined) refuseUntrusted(opened, entry, trust, path);
  return opened;
}

/**
 * What was signed when it was installed must be signed by what the trust policy says now, so that a key that is taken out of it loses its word.
 * A key's validity is looked at as of the installation. What was installed unsigned, on request, stays so.
 */
function refuseUntrusted(
  { members, manifest }: OpenedPackage,
  { name, version, signers, installedAt }: StoreEntry,
  { path: trustPath, policy }: HostTrust,
  path: string,
): void {
  if (signers.length === 0) return;
  try {
    if (policy === undefined)
      throw new PackageError(
        'POSTERN_PKG_TRUST',
        `There is no trust policy ${trustPath}: give one by --trust.`,
      );
    verifySignatures(members, manifest.class, policy, new Date(installedAt));
  } catch (error) {
    if (!(error instanceof PackageError)) throw error;
    throw new PackageError(
      'POSTERN_STORE_UNTRUSTED',
      `${name} ${version} in ${path} is not trusted any more (${error.code}): ${error.message} ` +
        `Install a version that is signed by who may, or go back by \`postern policy rollback ${manifest.class}\`.`,
      { cause: error },
    );
  }
}
