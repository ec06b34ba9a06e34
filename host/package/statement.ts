import { createHash } from 'node:crypto';
import { MEMBERS, type MemberName, type Members } from './archive.js';
import { canonicalJson } from './json.js';

/** https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md */
export const STATEMENT_TYPE = 'https://in-toto.io/Statement/v1';
/** The DSSE payload type of such a statement. */
export const PAYLOAD_TYPE = 'application/vnd.in-toto+json';
/** What a statement about a Postern policy package says, in its version 1: nothing beside its subjects. */
export const PREDICATE_TYPE = 'urn:postern:policy-package:v1';

/** One file of the package, by the digest of the whole of it. */
export interface Subject {
  name: string;
  digest: { sha256: string };
}

/** What signers sign: an in-toto statement about every member that is no signature. */
export interface Statement {
  _type: typeof STATEMENT_TYPE;
  subject: Subject[];
  predicateType: typeof PREDICATE_TYPE;
  predicate: Record<string, never>;
}

/** The statement about a package's members, which is the same whoever signs it. */
export function statementOf(members: Members): Statement {
  const subject = (Object.keys(MEMBERS) as MemberName[]).map((name) => ({
    name,
    digest: { sha256: sha256(members.get(name) ?? Buffer.alloc(0)) },
  }));
  return { _type: STATEMENT_TYPE, subject, predicateType: PREDICATE_TYPE, predicate: {} };
}

/** The statement's bytes: what is in the envelope. */
export function statementBytes(members: Members): Buffer {
  return canonicalJson(statementOf(members));
}

/** SHA-256, hexadecimal. */
export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
