/**
 * Every reason for which a package is refused, with what it means. A program reads the code (`--json`), people read the message that
 * comes with it. Codes are never given another meaning.
 */
export const PACKAGE_ERRORS = {
  // The file.
  POSTERN_PKG_NOT_A_FILE: 'There is no regular file of that name.',
  POSTERN_PKG_TOO_LARGE: 'The file, or a member of it, is larger than a package may be.',
  POSTERN_PKG_COMPRESSED: 'The file is compressed: a package is a plain tar archive.',
  POSTERN_PKG_NOT_AN_ARCHIVE: 'The file is no tar archive, or is cut off or damaged.',
  POSTERN_PKG_MEMBER_TYPE: 'A member is no regular file (a link, a folder, a device, an extended header).',
  POSTERN_PKG_MEMBER_UNKNOWN: 'A member has a name that a package does not have.',
  POSTERN_PKG_MEMBER_DUPLICATE: 'A member is there twice.',
  POSTERN_PKG_MEMBER_MISSING: 'A member is missing.',
  POSTERN_PKG_MEMBERS_TOO_MANY: 'There are more members than a package may have.',
  POSTERN_PKG_NOT_CANONICAL: 'The archive is not, byte for byte, what packing its members gives.',
  // Its JSON.
  POSTERN_PKG_NOT_UTF8: 'A JSON member is not UTF-8.',
  POSTERN_PKG_NOT_JSON: 'A JSON member is not JSON.',
  POSTERN_PKG_JSON_NOT_CANONICAL:
    'A JSON member is not as it is written again: a repeated key, another number or space.',
  POSTERN_PKG_CONTRACT:
    'The module was built against a version of the contract that this host does not have.',
  POSTERN_PKG_MANIFEST: 'The manifest does not follow its schema.',
  POSTERN_PKG_VECTORS: 'The test vectors do not follow their schema, or are of another class.',
  POSTERN_PKG_SOURCE: 'The source record does not follow its schema.',
  // Its module.
  POSTERN_PKG_NOT_A_COMPONENT: 'The module is no WebAssembly component, or is cut off.',
  POSTERN_PKG_WORLD: 'The component imports or exports something else than the contract’s world.',
  POSTERN_PKG_CORE_INVALID: 'The core module in the component is not valid WebAssembly.',
  POSTERN_PKG_CORE_FEATURE: 'The core module uses a part of WebAssembly that policies do not have.',
  POSTERN_PKG_CORE_IMPORT: 'The core module imports what is not the world’s.',
  POSTERN_PKG_CORE_EXPORT: 'The core module lacks an export of the world, or has another.',
  POSTERN_PKG_CORE_START: 'The core module has a start function, which would run without fuel.',
  POSTERN_PKG_CORE_SECTION: 'The core module declares a world of its own.',
  POSTERN_PKG_CORE_MEMORY:
    'The core module has no memory, several, or one that may grow beyond the manifest’s limit.',
  POSTERN_PKG_CORE_TABLE: 'The core module has a table without a maximum, or with too large a one.',
  POSTERN_PKG_CORE_FAULT: 'The module can’t describe itself: it traps, runs out of fuel or breaks the ABI.',
  POSTERN_PKG_CLASS: 'The module says that it is of another class than the manifest does.',
  POSTERN_PKG_ENVELOPE: 'The module describes more than the manifest’s envelope allows.',
  POSTERN_PKG_VECTORS_FAILED: 'The module does not do what its own test vectors say.',
  // Its signatures.
  POSTERN_PKG_UNSIGNED: 'No signature is in the package, and signatures are required.',
  POSTERN_PKG_BUNDLE: 'A signature is not a sigstore bundle as Postern takes it.',
  POSTERN_PKG_SIGNATURES_IN_BUNDLE: 'A bundle’s envelope has not exactly one signature.',
  POSTERN_PKG_SIGNATURE_EXTRA:
    'A signature is there by a key that the trust policy does not allow for this class.',
  POSTERN_PKG_SIGNATURE_NAME: 'A signature is stored under the name of another key.',
  POSTERN_PKG_KEY_FROM_ARTEFACT:
    'A signature brings a certificate or key along: keys come from the trust policy alone.',
  POSTERN_PKG_KEY_UNKNOWN: 'A signature is by a key that is not in the trust policy.',
  POSTERN_PKG_KEY_NOT_YET_VALID: 'A signature is by a key whose time has not begun.',
  POSTERN_PKG_KEY_EXPIRED: 'A signature is by a key whose time is over.',
  POSTERN_PKG_KEY_TYPE: 'A key is neither Ed25519 nor ECDSA P-256.',
  POSTERN_PKG_PAYLOAD_TYPE: 'What is signed is no in-toto statement, by the envelope’s payload type.',
  POSTERN_PKG_STATEMENT: 'What is signed is no statement about a Postern policy package.',
  POSTERN_PKG_SUBJECT: 'What is signed is another set of files than the package has.',
  POSTERN_PKG_DIGEST: 'A member is not the file that was signed.',
  POSTERN_PKG_SIGNATURE: 'A signature does not verify.',
  POSTERN_PKG_THRESHOLD: 'Fewer different keys have signed than the trust policy asks for.',
  POSTERN_PKG_CLASS_UNTRUSTED: 'The trust policy has no rule for this class.',
  POSTERN_PKG_TRUST: 'The trust policy is not readable, or does not follow its schema.',
  // The store.
  POSTERN_PKG_SEQUENCE_OLD: 'An older version than the store has seen.',
  POSTERN_PKG_SEQUENCE_REUSED: 'Another package of the same sequence number than the store has seen.',
  POSTERN_PKG_QUARANTINED: 'The package misbehaved on this host before.',
  POSTERN_STORE_MISSING: 'There is no policy store there.',
  POSTERN_STORE_STATE: 'The store’s state is damaged, or was written by another version of Postern.',
  POSTERN_STORE_DIGEST: 'A package in the store is not the one that was installed.',
  POSTERN_STORE_UNTRUSTED:
    'A package in the store is not signed any more by those who may sign for its class, as the trust policy is now.',
  POSTERN_STORE_PERMISSIONS: 'Others may write to the store.',
  POSTERN_STORE_BUSY: 'Another process is changing the store.',
  POSTERN_STORE_INBOX: 'What was dropped in the store’s inbox could not be taken from there.',
  POSTERN_STORE_NOTHING: 'The store has nothing to do that with.',
} as const;

export type PackageErrorCode = keyof typeof PACKAGE_ERRORS;

/** A package, a trust policy or a store that is refused: `code` says why to programs, the message to people. */
export class PackageError extends Error {
  override readonly name = 'PackageError';

  constructor(
    readonly code: PackageErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** Has whatever `work` throws, unless it has a code already, become a PackageError of that code. */
export function coded<T>(code: PackageErrorCode, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof PackageError) throw error;
    throw new PackageError(code, (error as Error).message, { cause: error });
  }
}
