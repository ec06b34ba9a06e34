/** Whatever is done to a good package, it is refused with a code, or it is the good one. */
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { pack, unpack } from '../../host/package/archive.js';
import { PackageError } from '../../host/package/errors.js';
import { canonicalJson, parseCanonicalJson } from '../../host/package/json.js';
import { openPackage } from '../../host/package/package.js';
import { verifySignatures } from '../../host/package/signatures.js';
import type { TrustPolicy } from '../../host/package/trust.js';
import { CLASS, goodMembers, newSigner, signedBy, trusting } from './support.js';

const RUNS = 400;
const alice = newSigner('alice');
const bob = newSigner('bob', 'P-256');
let good: Buffer;
let trust: TrustPolicy;

beforeAll(async () => {
  good = signedBy(await goodMembers(), alice, bob);
  trust = trusting([alice, bob]);
});

/** A change of some bytes: flipped bits, bytes put in, taken out, or repeated. */
const change = fc.record({
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  remove: fc.oneof(fc.constant(0), fc.constant(1), fc.constant(512), fc.nat(2000)),
  insert: fc.oneof(fc.uint8Array({ maxLength: 40 }), fc.constant(new Uint8Array(512))),
  flip: fc.integer({ min: 0, max: 255 }),
});

function changed(
  file: Buffer,
  { at, remove, insert, flip }: { at: number; remove: number; insert: Uint8Array; flip: number },
): Buffer {
  const start = Math.floor(at * (file.length - 1));
  const result = Buffer.concat([file.subarray(0, start), insert, file.subarray(start + remove)]);
  if (start < result.length) result[start] = (result[start] as number) ^ flip;
  return result;
}

/** Accepts a package as an installation does, up to its module. */
function accept(file: Buffer): string[] {
  const { members, manifest } = openPackage(file);
  return verifySignatures(members, manifest.class, trust, new Date());
}

describe('a package', () => {
  it('is accepted as it is', () => {
    expect(accept(good)).toEqual(['alice', 'bob']);
  });

  it('that was changed anywhere is refused with a code', () => {
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 3 }), (changes) => {
        const file = changes.reduce(changed, good);
        fc.pre(!file.equals(good));
        expect(() => accept(file)).toThrow(PackageError);
      }),
      { numRuns: RUNS },
    );
  });

  it('of bytes that are no package is refused with a code', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 4096 }), (bytes) => {
        expect(() => accept(Buffer.from(bytes))).toThrow(PackageError);
      }),
      { numRuns: RUNS },
    );
  });

  it('whose members were changed and packed again is refused with a code', () => {
    const members = unpack(good);
    const names = [...members.keys()];
    fc.assert(
      fc.property(fc.constantFrom(...names), change, (name, how) => {
        const bytes = changed(members.get(name) as Buffer, how);
        fc.pre(!bytes.equals(members.get(name) as Buffer));
        expect(() => accept(pack(new Map([...members, [name, bytes]])))).toThrow(PackageError);
      }),
      { numRuns: RUNS },
    );
  });

  it('gives its members back, and the same bytes again', () => {
    expect(pack(unpack(good))).toEqual(good);
    expect(openPackage(good).manifest.class).toBe(CLASS);
  });
});

describe('canonical JSON', () => {
  it('is read as what was written', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const bytes = canonicalJson(value);
        expect(canonicalJson(parseCanonicalJson(bytes, 'x'))).toEqual(bytes);
      }),
    );
  });
});
