import { type KeyObject, sign as signBytes } from 'node:crypto';
import {
  type Bundle,
  type BundleLatest,
  bundleFromJSON,
  bundleToJSON,
  isBundleWithDsseEnvelope,
  isBundleWithPublicKey,
  toDSSEBundle,
} from '@sigstore/bundle';
import { dsse } from '@sigstore/core';
import { toSignedEntity, toTrustMaterial, Verifier } from '@sigstore/verify';
import { fingerprintIn, type Members, signatureName } from './archive.js';
import { PackageError, type PackageErrorCode } from './errors.js';
import { canonicalJson, parseCanonicalJson } from './json.js';
import { fingerprintOf, kindOf } from './keys.js';
import {
  PAYLOAD_TYPE,
  PREDICATE_TYPE,
  STATEMENT_TYPE,
  type Statement,
  type Subject,
  statementBytes,
  statementOf,
} from './statement.js';
import type { ClassRule, TrustedKey, TrustPolicy } from './trust.js';

/** A signature as it lies in the package: whose key it claims, and the bundle. */
interface Signature {
  fingerprint: string;
  bundle: EnvelopeBundle;
}

type EnvelopeBundle = Bundle & { content: { $case: 'dsseEnvelope' } };

/** Adds the signature of a key to a package's members; one of the same key is replaced. */
export function sign(members: Members, key: KeyObject): Map<string, Buffer> {
  kindOf(key, 'The private key');
  const fingerprint = fingerprintOf(key);
  const artifact = statementBytes(members);
  const signature = signBytes(digestName(key), dsse.preAuthEncoding(PAYLOAD_TYPE, artifact), key);
  const bundle = toDSSEBundle({ artifact, artifactType: PAYLOAD_TYPE, signature, keyHint: fingerprint });
  return new Map([...members, [signatureName(fingerprint), canonicalJson(bundleToJSON(bundle))]]);
}

/**
 * Who has signed a package, by the trust policy alone: every signature in it must be good, and enough of them there.
 * @returns the signers' names
 * @throws PackageError with why the package is not to be trusted
 */
export function verifySignatures(
  members: Members,
  deviceClass: string,
  trust: TrustPolicy,
  now: Date,
): string[] {
  const rule = trust.ruleOf(deviceClass);
  const signatures = signaturesOf(members);
  if (signatures.length === 0)
    throw new PackageError(
      'POSTERN_PKG_UNSIGNED',
      `The package has no signature, expected ${rule.threshold}.`,
    );
  const signers = signatures.map((signature) => signerOf(signature, members, rule, trust, now)).sort();
  if (signers.length < rule.threshold)
    throw new PackageError(
      'POSTERN_PKG_THRESHOLD',
      `${signers.join(', ')} signed, expected ${rule.threshold} of ${rule.keys.map(({ name }) => name).join(', ')}.`,
    );
  return signers;
}

/** A signature, looked at by itself: for showing. */
export interface SignatureState {
  fingerprint: string;
  /** The trust policy's name of the key. */
  name: string | undefined;
  /** Why it does not count; undefined: it does. */
  refusal: { code: PackageErrorCode; message: string } | undefined;
}

/** As verifySignatures, but tells of each signature rather than throws. */
export function signatureStates(
  members: Members,
  deviceClass: string,
  trust: TrustPolicy,
  now: Date,
): SignatureState[] {
  return signatureFingerprints(members).map((fingerprint) => {
    const name = trust.keyOf(fingerprint)?.name;
    try {
      const signature = readSignature(signatureName(fingerprint), members);
      signerOf(signature, members, trust.ruleOf(deviceClass), trust, now);
      return { fingerprint, name, refusal: undefined };
    } catch (error) {
      if (!(error instanceof PackageError)) throw error;
      return { fingerprint, name, refusal: { code: error.code, message: error.message } };
    }
  });
}

/** The fingerprints of the keys whose signatures a package claims to have. */
export function signatureFingerprints(members: Members): string[] {
  return [...members.keys()].flatMap((name) => fingerprintIn(name) ?? []);
}

function signaturesOf(members: Members): Signature[] {
  return signatureFingerprints(members).map((fingerprint) =>
    readSignature(signatureName(fingerprint), members),
  );
}

function readSignature(name: string, members: Members): Signature {
  const bytes = members.get(name) as Buffer;
  const bundle = readBundle(name, bytes);
  const fingerprint = fingerprintIn(name) as string;
  const { content } = bundle.verificationMaterial;
  if (content.$case !== 'publicKey')
    throw new PackageError(
      'POSTERN_PKG_KEY_FROM_ARTEFACT',
      `${name} brings a certificate along: keys come from the trust policy alone.`,
    );
  const claims = [content.publicKey.hint, bundle.content.dsseEnvelope.signatures[0]?.keyid];
  const other = claims.find((claim) => claim !== fingerprint);
  if (other !== undefined)
    throw new PackageError(
      'POSTERN_PKG_SIGNATURE_NAME',
      `${name} says that it is of the key ${JSON.stringify(other)}.`,
    );
  return { fingerprint, bundle };
}

/** A sigstore bundle as this module writes it: one signature over one envelope, with a key's fingerprint and nothing else. */
function readBundle(name: string, bytes: Buffer): EnvelopeBundle {
  const value = parseCanonicalJson(bytes, name);
  refuseSeveralSignatures(name, value);
  let bundle: Bundle;
  try {
    bundle = bundleFromJSON(value);
  } catch (error) {
    const fields = (error as { fields?: string[] }).fields;
    throw badBundle(name, fields === undefined ? (error as Error).message : `it lacks ${fields.join(', ')}`);
  }
  if (!isBundleWithDsseEnvelope(bundle)) throw badBundle(name, 'it has no DSSE envelope');
  if (!isBundleWithPublicKey(bundle))
    throw new PackageError(
      'POSTERN_PKG_KEY_FROM_ARTEFACT',
      `${name} brings a certificate along: keys come from the trust policy alone.`,
    );
  // What the library did not keep, nobody has looked at.
  if (!canonicalJson(bundleToJSON(bundle as BundleLatest)).equals(bytes))
    throw badBundle(name, 'it has fields that are none of a bundle’s');
  return bundle as EnvelopeBundle;
}

/** The library would say no more than that the field is invalid. */
function refuseSeveralSignatures(name: string, value: unknown): void {
  const signatures = (value as { dsseEnvelope?: { signatures?: unknown } } | null)?.dsseEnvelope?.signatures;
  if (!Array.isArray(signatures) || signatures.length === 1) return;
  throw new PackageError(
    'POSTERN_PKG_SIGNATURES_IN_BUNDLE',
    `The envelope in ${name} has ${signatures.length} signatures, expected one: each signer has a bundle of its own.`,
  );
}

/** The name of the signer, after everything about the signature has been found to be good. */
function signerOf(
  { fingerprint, bundle }: Signature,
  members: Members,
  rule: ClassRule,
  trust: TrustPolicy,
  now: Date,
): string {
  const key = knownKey(fingerprint, trust);
  if (!rule.keys.includes(key))
    throw new PackageError(
      'POSTERN_PKG_SIGNATURE_EXTRA',
      `'${key.name}' signed, whom the trust policy does not let sign for this class.`,
    );
  refuseOutOfTime(key, now);
  const { payloadType, payload } = bundle.content.dsseEnvelope;
  if (payloadType !== PAYLOAD_TYPE)
    throw new PackageError(
      'POSTERN_PKG_PAYLOAD_TYPE',
      `'${key.name}' signed a payload of the type ${JSON.stringify(payloadType)}, expected ${PAYLOAD_TYPE}.`,
    );
  verifyOne(bundle, key);
  refuseOtherStatement(payload, members, key.name);
  return key.name;
}

function knownKey(fingerprint: string, trust: TrustPolicy): TrustedKey {
  const key = trust.keyOf(fingerprint);
  if (key !== undefined) return key;
  throw new PackageError(
    'POSTERN_PKG_KEY_UNKNOWN',
    `A signature is by the key ${fingerprint}, which is not in ${trust.source}.`,
  );
}

function refuseOutOfTime({ name, notBefore, notAfter }: TrustedKey, now: Date): void {
  if (notBefore !== undefined && now < notBefore)
    throw new PackageError(
      'POSTERN_PKG_KEY_NOT_YET_VALID',
      `The key '${name}' counts from ${notBefore.toISOString()} on.`,
    );
  if (notAfter !== undefined && now > notAfter)
    throw new PackageError(
      'POSTERN_PKG_KEY_EXPIRED',
      `The key '${name}' counted until ${notAfter.toISOString()}.`,
    );
}

/** No log, no certificate authority, no time stamp: the key is the host's own, so all three thresholds are 0. */
function verifyOne(bundle: EnvelopeBundle, { name, key }: TrustedKey): void {
  const nobody = {
    certificateAuthorities: [],
    timestampAuthorities: [],
    tlogs: [],
    ctlogs: [],
    mediaType: '',
  };
  const material = toTrustMaterial(nobody, () => ({ publicKey: key, validFor: () => true }));
  const verifier = new Verifier(material, { tlogThreshold: 0, ctlogThreshold: 0, timestampThreshold: 0 });
  try {
    verifier.verify(toSignedEntity(bundle));
  } catch (error) {
    throw new PackageError('POSTERN_PKG_SIGNATURE', `The signature of '${name}' does not verify.`, {
      cause: error,
    });
  }
}

/** What is signed must be, byte for byte, the statement about these members; where it isn't, this says in what. */
function refuseOtherStatement(payload: Buffer, members: Members, signer: string): void {
  if (payload.equals(statementBytes(members))) return;
  const signed = parsedStatement(payload);
  if (
    signed?._type !== STATEMENT_TYPE ||
    signed.predicateType !== PREDICATE_TYPE ||
    !Array.isArray(signed.subject)
  )
    throw new PackageError(
      'POSTERN_PKG_STATEMENT',
      `What '${signer}' signed is no statement of the type ${PREDICATE_TYPE}.`,
    );
  const expected = statementOf(members).subject;
  const names = (subjects: Subject[]): string => subjects.map((subject) => subject?.name).join(', ');
  if (names(signed.subject) !== names(expected))
    throw new PackageError(
      'POSTERN_PKG_SUBJECT',
      `'${signer}' signed ${names(signed.subject) || 'no files'}, expected ${names(expected)}.`,
    );
  const changed = expected.filter(({ digest }, at) => signed.subject[at]?.digest?.sha256 !== digest.sha256);
  if (changed.length > 0)
    throw new PackageError('POSTERN_PKG_DIGEST', `Not what '${signer}' signed: ${names(changed)}.`);
  throw new PackageError(
    'POSTERN_PKG_STATEMENT',
    `What '${signer}' signed is written otherwise than a statement about a policy package.`,
  );
}

function parsedStatement(payload: Buffer): Statement | undefined {
  try {
    return JSON.parse(payload.toString('utf8'));
  } catch {
    return undefined;
  }
}

function badBundle(name: string, detail: string): PackageError {
  return new PackageError(
    'POSTERN_PKG_BUNDLE',
    `${name} is no sigstore bundle of a signed statement: ${detail}.`,
  );
}

/** Ed25519 hashes by itself. */
function digestName(key: KeyObject): string | null {
  return kindOf(key, 'The private key') === 'ed25519' ? null : 'sha256';
}
