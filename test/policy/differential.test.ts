import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type Call,
  type ClassInfo,
  type Command,
  PolicyInstance,
  type Verdict,
} from '../../host/policy/abi.js';
import { meteredModule } from '../../host/policy/meter.js';
import type { PolicyPackage } from '../../host/policy/store.js';
import { ROOT } from '../../host/root.js';
import { EFAULT, type Oracle, oracleFor, policyPackage } from './support.js';

const CALLS = 5000;
/** Where a command has its size (_IOC_SIZESHIFT, _IOC_SIZEBITS). */
const SIZE_SHIFT = 16;
const SIZE_BITS = 0x3fff << SIZE_SHIFT;
/** A relocation of the argument itself, instead of a field of a region. */
const ARGUMENT = 0xfffffffe;
/** Addresses from here on are the kernel's: the pretended guest has no memory there. */
const USER_END = 2n ** 47n;

/** Bytes that depend on nothing but their address: mostly zeroes, so that sizes in them are mostly plausible. */
function guestByte(address: bigint): number {
  const word = Number((address / 4n) % 0x1_0000_0000n);
  const mixed = Math.imul(word ^ (word >>> 13), 0x9e3779b1) >>> 0;
  if (mixed % 4 !== 0 || address % 4n !== 0n) return 0;
  return (mixed >>> 8) & 0x1f;
}

function guestBytes(address: bigint, length: number): Uint8Array | undefined {
  if (address + BigInt(length) > USER_END) return undefined;
  return Uint8Array.from({ length }, (_, index) => guestByte(address + BigInt(index)));
}

const u64 = fc.oneof(
  fc.bigInt({ min: 0n, max: 64n }),
  fc.bigInt({ min: 0n, max: 2n ** 32n }),
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
);
const u32 = fc.oneof(fc.integer({ min: 0, max: 16 }), fc.integer({ min: 0, max: 0xffffffff }));

/** The call with some head of that many bytes. */
function calls(call: unknown, headBytes: number): fc.Arbitrary<[Call, Uint8Array]> {
  return headArbitrary(headBytes).map((head): [Call, Uint8Array] => [call as Call, head]);
}

function callArbitrary(commands: Command[]): fc.Arbitrary<[Call, Uint8Array]> {
  const known = fc.constantFrom(...commands);
  const fields = fc.record({
    session: u32,
    node: fc.integer({ min: 0, max: 5 }),
    operation: fc.constantFrom('ioctl', 'ioctl', 'ioctl', 'ioctl', 'open', 'read', 'write', 'mmap', 'seek'),
    fileFlags: u32,
    argument: u64,
    length: u64,
    offset: u64,
    state: fc.oneof(fc.bigInt({ min: 0n, max: 255n }), u64),
  });
  return fc
    .tuple(fields, fc.oneof({ weight: 9, arbitrary: known }, { weight: 1, arbitrary: u32 }), fc.nat(9))
    .chain(([call, command, luck]) => {
      if (typeof command === 'number') return calls({ ...call, command }, luck * 7);
      // Where the row leaves the size open, the command has one.
      const isSized = (command.mask & SIZE_BITS) === 0;
      const size = luck === 0 ? 0 : isSized ? luck * 4 : command.head;
      return calls({ ...call, command: (command.number | (isSized ? size << SIZE_SHIFT : 0)) >>> 0 }, size);
    }) as fc.Arbitrary<[Call, Uint8Array]>;
}

/** Heads of which some are noise, and some hold a few small numbers and addresses. */
function headArbitrary(bytes: number): fc.Arbitrary<Uint8Array> {
  const noise = fc.uint8Array({ minLength: bytes, maxLength: bytes });
  const words = fc
    .array(fc.tuple(fc.nat(Math.max(0, (bytes >> 2) - 1)), u32), { maxLength: 8 })
    .map((pairs) => {
      const head = new Uint8Array(bytes);
      const view = new DataView(head.buffer);
      for (const [word, value] of pairs) if (word * 4 + 4 <= bytes) view.setUint32(word * 4, value, true);
      return head;
    });
  return fc.oneof({ weight: 1, arbitrary: noise }, { weight: 4, arbitrary: words });
}

/** No answer may leave the manifest's envelope, or name what the class doesn't have. */
function expectWithin(verdict: Verdict, info: ClassInfo, { manifest: { envelope } }: PolicyPackage): void {
  if (verdict.tag === 'deny') {
    expect(verdict.val.errno).toBeGreaterThan(0);
    expect(verdict.val.errno).toBeLessThan(4096);
    expect(verdict.val.reason).toBeGreaterThan(0);
    expect(verdict.val.reason).toBeLessThan(info.reasons.length);
    return;
  }
  const { grants, relocations, requirements, descriptors, forget } = verdict.val;
  const granted = grants.reduce((sum, { length }) => sum + length, 0);
  expect(grants.length).toBeLessThanOrEqual(envelope.grantsMax);
  expect(granted).toBeLessThanOrEqual(envelope.grantBytesMax);
  for (const { region, target } of relocations) if (region !== ARGUMENT) expect(region).toBeLessThan(target);
  for (const { target } of relocations) expect(target).toBeLessThanOrEqual(grants.length);
  expect(descriptors.length).toBeLessThanOrEqual(envelope.descriptorsMax ?? 0);
  for (const { region } of descriptors) expect(region).toBeLessThanOrEqual(grants.length);
  for (const { table } of [...requirements, ...forget]) expect(table).toBeLessThan(info.tables.length);
}

const CLASSES = readdirSync(join(ROOT, 'policies'))
  .filter((file) => file.endsWith('.manifest.json'))
  .map((file) => file.slice(0, -'.manifest.json'.length));

describe.each(CLASSES)('the glue for %s', (name) => {
  let policy: PolicyPackage;
  let ours: PolicyInstance;
  let theirs: Oracle;
  let remove: () => void;

  beforeAll(async () => {
    policy = await policyPackage(name);
    const oracle = await oracleFor(readFileSync(policy.component));
    remove = oracle.remove;
    theirs = oracle.make((address, length) => {
      const bytes = guestBytes(address, length);
      if (bytes === undefined) throw EFAULT;
      return bytes;
    });
    ours = new PolicyInstance(
      await meteredModule(policy.core),
      policy.manifest,
      (address, length, memory, at) => {
        const bytes = guestBytes(address, length);
        if (bytes === undefined) return EFAULT;
        memory.set(bytes, at);
        return 0;
      },
    );
  });
  afterAll(() => remove());

  it('describes the class as jco does', () => {
    expect(ours.describe()).toEqual(theirs.describe());
  });

  it(`answers ${CALLS} generated calls as jco does, within the envelope`, () => {
    const info = ours.describe();
    let allowed = 0;
    fc.assert(
      fc.property(callArbitrary(info.commands), ([call, head]) => {
        const verdict = ours.admit(call, head);
        expect(verdict).toEqual(theirs.admit(call, head));
        expectWithin(verdict, info, policy);
        if (verdict.tag === 'allow') allowed += 1;
      }),
      { numRuns: CALLS },
    );
    expect(allowed).toBeGreaterThan(CALLS / 10);
  });

  it(`settles ${CALLS} generated outcomes as jco does`, () => {
    const { commands, tables } = ours.describe();
    const outcome = fc.oneof(fc.constant(0n), fc.bigInt({ min: -133n, max: 4096n }));
    fc.assert(
      fc.property(callArbitrary(commands), outcome, ([call, head], result) => {
        const settlement = ours.complete(call, head, result);
        expect(settlement).toEqual(theirs.complete(call, head, result));
        for (const { table } of settlement.learn) expect(table).toBeLessThan(tables.length);
      }),
      { numRuns: CALLS },
    );
  });
});
