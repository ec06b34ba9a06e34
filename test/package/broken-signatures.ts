/** Packages whose signatures will not do. */
import { pack, signatureName } from '../../host/package/archive.js';
import { canonicalJson } from '../../host/package/json.js';
import { TrustPolicy } from '../../host/package/trust.js';
import { hostileCore } from '../policy/hostile-module.js';
import {
  alice,
  bob,
  bundle,
  type Case,
  good,
  mallory,
  signatureOf,
  signed,
  statement,
  trusted,
} from './broken-kit.js';
import { CLASS, edited, having, newSigner, signedBy, trusting, withBundle } from './support.js';

/** One a kind; made when the kit is prepared. */
export const SIGNATURE_CASES: Case[] = [
  ['a package that nobody signed', 'POSTERN_PKG_UNSIGNED', () => pack(good)],
  ['a signature that was taken away', 'POSTERN_PKG_THRESHOLD', () => signedBy(good, alice)],
  [
    'a bundle that is none',
    'POSTERN_PKG_BUNDLE',
    () => pack(having(good, signatureName(alice.fingerprint), canonicalJson({}))),
  ],
  [
    'a bundle with a field that nobody looks at',
    'POSTERN_PKG_BUNDLE',
    () => bundle({ edit: (value) => ({ ...value, note: 'trust me' }) }),
  ],
  [
    'a bundle of a plain signature',
    'POSTERN_PKG_BUNDLE',
    () =>
      bundle({
        edit: ({ dsseEnvelope: _, ...rest }) => ({
          ...rest,
          messageSignature: { messageDigest: { algorithm: 'SHA2_256', digest: 'AAAA' }, signature: 'AAAA' },
        }),
      }),
  ],
  [
    'two signatures in one bundle',
    'POSTERN_PKG_SIGNATURES_IN_BUNDLE',
    () =>
      bundle({
        edit: (value) => {
          const envelope = value.dsseEnvelope as { signatures: object[] };
          return {
            ...value,
            dsseEnvelope: { ...envelope, signatures: [...envelope.signatures, ...envelope.signatures] },
          };
        },
      }),
  ],
  [
    'a certificate in the bundle',
    'POSTERN_PKG_KEY_FROM_ARTEFACT',
    () =>
      bundle({
        edit: (value) => ({
          ...value,
          verificationMaterial: {
            ...(value.verificationMaterial as object),
            publicKey: undefined,
            certificate: { rawBytes: 'AAAA' },
          },
        }),
      }),
  ],
  [
    'a signature that names another key',
    'POSTERN_PKG_SIGNATURE_NAME',
    () => bundle({ hint: bob.fingerprint }),
  ],
  ['a signature by a stranger', 'POSTERN_PKG_KEY_UNKNOWN', () => signedBy(good, mallory)],
  [
    'a stranger’s signature beside the good ones',
    'POSTERN_PKG_KEY_UNKNOWN',
    () => signedBy(good, alice, bob, mallory),
  ],
  [
    'a signature by somebody who signs for another class',
    'POSTERN_PKG_SIGNATURE_EXTRA',
    () =>
      trusted(
        new TrustPolicy(
          {
            keys: Object.fromEntries([alice, bob].map(({ name, publicKey }) => [name, { publicKey }])),
            classes: { [CLASS]: { keys: ['alice'], threshold: 1 }, pty: { keys: ['bob'], threshold: 1 } },
          },
          'the test',
        ),
      ),
  ],
  [
    'a key that is not valid yet',
    'POSTERN_PKG_KEY_NOT_YET_VALID',
    () => trusted(trusting([alice, bob], 2, { notBefore: '2999-01-01T00:00:00Z' })),
  ],
  [
    'a key whose time is over',
    'POSTERN_PKG_KEY_EXPIRED',
    () => trusted(trusting([alice, bob], 2, { notAfter: '2001-01-01T00:00:00Z' })),
  ],
  [
    'a stranger’s signature under a signer’s name',
    'POSTERN_PKG_SIGNATURE',
    () => signedBy(withBundle(good, { ...mallory, fingerprint: alice.fingerprint }), bob),
  ],
  [
    'a signature of another kind of key under a signer’s name',
    'POSTERN_PKG_SIGNATURE',
    () => signedBy(withBundle(good, { ...newSigner('eve', 'P-256'), fingerprint: alice.fingerprint }), bob),
  ],
  [
    'another type of payload',
    'POSTERN_PKG_PAYLOAD_TYPE',
    () => bundle({ payloadType: 'application/octet-stream' }),
  ],
  ['a payload that is no JSON', 'POSTERN_PKG_STATEMENT', () => bundle({ payload: Buffer.from('yes') })],
  [
    'a statement about something else',
    'POSTERN_PKG_STATEMENT',
    () =>
      statement({
        _type: 'https://in-toto.io/Statement/v1',
        subject: [],
        predicateType: 'https://slsa.dev/provenance/v1',
        predicate: {},
      }),
  ],
  [
    'a statement about fewer files',
    'POSTERN_PKG_SUBJECT',
    () =>
      statement({
        _type: 'https://in-toto.io/Statement/v1',
        subject: [],
        predicateType: 'urn:postern:policy-package:v1',
        predicate: {},
      }),
  ],
  [
    'another package’s signatures',
    'POSTERN_PKG_DIGEST',
    () => {
      const other = edited(good, 'manifest.json', (value: object) => ({ ...value, sequence: 9 }));
      return pack(
        new Map([
          ...good,
          ...[alice, bob].map((signer): [string, Buffer] => [
            signatureName(signer.fingerprint),
            signatureOf(signer, other),
          ]),
        ]),
      );
    },
  ],
  [
    'one signature swapped for another package’s',
    'POSTERN_PKG_DIGEST',
    () => {
      const other = edited(good, 'manifest.json', (value: object) => ({ ...value, sequence: 9 }));
      return signedBy(having(good, signatureName(alice.fingerprint), signatureOf(alice, other)), bob);
    },
  ],
  [
    'a member exchanged after the signature',
    'POSTERN_PKG_DIGEST',
    () => {
      const signatures = [alice, bob].map((signer): [string, Buffer] => [
        signatureName(signer.fingerprint),
        signatureOf(signer, good),
      ]);
      return pack(new Map([...having(good, 'policy.wasm', Buffer.from(hostileCore({}))), ...signatures]));
    },
  ],
  ['fewer signers than must be', 'POSTERN_PKG_THRESHOLD', () => trusted(trusting([alice, bob, mallory], 3))],
  [
    'a class that nobody may sign',
    'POSTERN_PKG_CLASS_UNTRUSTED',
    () =>
      trusted(
        new TrustPolicy(
          {
            keys: { alice: { publicKey: alice.publicKey } },
            classes: { pty: { keys: ['alice'], threshold: 1 } },
          },
          'the test',
        ),
      ),
  ],
  ['no trust policy', 'POSTERN_PKG_TRUST', () => ({ file: signed(good), options: { trust: undefined } })],
];
