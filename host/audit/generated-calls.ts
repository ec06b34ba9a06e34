import fc from 'fast-check';
import type { Call, ClassInfo, Command, GuestReader, Operation } from '../policy/abi.js';
import { bytesOf, callOfVector, commandNumber, type Vector } from '../policy/vectors.js';

/** Where a command has its size (_IOC_SIZESHIFT, _IOC_SIZEBITS). */
const SIZE_SHIFT = 16;
const SIZE_BITS = 0x3fff << SIZE_SHIFT;
/** Addresses from here on are the kernel's: the pretended guest has no memory there. */
const USER_END = 2n ** 47n;
const PAGE_BYTES = 4096n;
/** One page of so many is missing, so that arrays end at the edge of what there is. */
const PAGES_PER_HOLE = 61n;
/** asm-generic/errno-base.h */
const EFAULT = 14;

/** A call of a pretended guest: its memory is these pieces and, elsewhere, bytes that depend on their address alone. */
export interface GeneratedCall {
  call: Call;
  head: Uint8Array;
  memory: { address: bigint; bytes: Uint8Array }[];
}

/** The pretended guest's bytes at an address, or undefined where it has none. */
export function guestBytes(
  address: bigint,
  length: number,
  memory: GeneratedCall['memory'] = [],
): Uint8Array | undefined {
  const end = address + BigInt(length);
  if (end > USER_END) return undefined;
  for (const { address: start, bytes } of memory)
    if (address >= start && end <= start + BigInt(bytes.length))
      return bytes.slice(Number(address - start), Number(end - start));
  for (let page = address / PAGE_BYTES; page * PAGE_BYTES < end; page++)
    if (page % PAGES_PER_HOLE === PAGES_PER_HOLE - 1n) return undefined;
  return Uint8Array.from({ length }, (_, index) => guestByte(address + BigInt(index)));
}

/** Mostly zeroes, so that sizes in them are mostly plausible. */
function guestByte(address: bigint): number {
  const word = Number((address / 4n) % 0x1_0000_0000n);
  const mixed = Math.imul(word ^ (word >>> 13), 0x9e3779b1) >>> 0;
  if (mixed % 4 !== 0 || address % 4n !== 0n) return 0;
  return (mixed >>> 8) & 0x1f;
}

/** How a module reads the pretended guest; `onRead` is told each range that could be read. */
export function guestReader(
  memory: GeneratedCall['memory'],
  onRead: (address: bigint, bytes: Uint8Array) => void = () => {},
): GuestReader {
  return (address, length, target, at) => {
    const bytes = guestBytes(address, length, memory);
    if (bytes === undefined) return EFAULT;
    onRead(address, bytes);
    target.set(bytes, at);
    return 0;
  };
}

const u64 = fc.oneof(
  fc.bigInt({ min: 0n, max: 64n }),
  fc.bigInt({ min: 0n, max: 2n ** 32n }),
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
);
const u32 = fc.oneof(fc.integer({ min: 0, max: 16 }), fc.integer({ min: 0, max: 0xffffffff }));
/** Pointers as programs have them, and at every edge: none, a hole, the end of the guest's half, the kernel's half. */
const pointer = fc.oneof(
  fc.bigInt({ min: 0x10000n, max: 0x7fff_0000n }),
  fc.constantFrom(
    0n,
    1n,
    PAGE_BYTES - 1n,
    PAGES_PER_HOLE * PAGE_BYTES - PAGE_BYTES - 8n,
    USER_END - PAGE_BYTES - 4n,
    USER_END - 1n,
    USER_END,
    2n ** 63n,
    2n ** 64n - 8n,
    2n ** 64n - 1n,
  ),
);
/** Counts at the edges of what arithmetic in 32 bits can do. */
const edge = fc.constantFrom(
  0,
  1,
  2,
  0xff,
  0x100,
  0xffff,
  0x10000,
  0x1fffffff,
  0x40000001,
  0x7fffffff,
  0x80000000,
  0xffffffff,
);

/** Heads of which some are noise, some look like structures, and most hold a few small numbers, edges and addresses. */
function headArbitrary(bytes: number): fc.Arbitrary<Uint8Array> {
  const noise = fc.uint8Array({ minLength: bytes, maxLength: bytes });
  const place = fc.nat(Math.max(0, (bytes >> 2) - 1));
  const values = fc.array(
    fc.oneof(fc.tuple(place, fc.oneof(u32, edge)), fc.tuple(place, pointer)) as fc.Arbitrary<
      [number, number | bigint]
    >,
    { maxLength: 8 },
  );
  return fc.oneof(
    { weight: 1, arbitrary: noise },
    { weight: 3, arbitrary: values.map((pairs) => withWords(new Uint8Array(bytes), pairs)) },
    { weight: 3, arbitrary: structures(bytes) },
  );
}

/** The slots of a structure that are filled, from its beginning: programs' longest have a few dozen. */
const SLOTS_MAX = 24;
/** A pointer that leads somewhere, to where arrays of some length are. */
const goodPointer = fc.bigInt({ min: 0x10000n, max: 0x7fff_0000n });
const count = fc.oneof(fc.nat(16), fc.nat(4096));

/** Each eight bytes are a good pointer or two small numbers. */
function structures(bytes: number): fc.Arbitrary<Uint8Array> {
  const slots = Math.min(SLOTS_MAX, bytes >> 3);
  const slot = fc.oneof(goodPointer, fc.tuple(count, count));
  return fc.array(slot, { minLength: slots, maxLength: slots }).map((filled) =>
    withWords(
      new Uint8Array(bytes),
      filled.flatMap((value, index): [number, number | bigint][] =>
        typeof value === 'bigint'
          ? [[index * 2, value]]
          : [
              [index * 2, value[0]],
              [index * 2 + 1, value[1]],
            ],
      ),
    ),
  );
}

/** The bytes with 32-bit values, or 64-bit where they are bigints, at words; what would not fit is left out. */
function withWords(bytes: Uint8Array, pairs: [word: number, value: number | bigint][]): Uint8Array {
  const changed = bytes.slice();
  const view = new DataView(changed.buffer);
  for (const [word, value] of pairs) {
    if (typeof value === 'bigint') {
      if (word * 4 + 8 <= bytes.length) view.setBigUint64(word * 4, value, true);
    } else if (word * 4 + 4 <= bytes.length) view.setUint32(word * 4, value, true);
  }
  return changed;
}

/** Calls of every command of a class, known and unknown, with heads that are right, short, long or noise. */
export function anyCall(commands: readonly Command[]): fc.Arbitrary<GeneratedCall> {
  const fields = fc.record({
    session: u32,
    node: fc.integer({ min: 0, max: 5 }),
    operation: fc.constantFrom<Operation>(
      ...(['ioctl', 'ioctl', 'ioctl', 'ioctl', 'open', 'read', 'write', 'mmap', 'seek'] as const),
    ),
    fileFlags: u32,
    argument: fc.oneof(u64, pointer),
    length: u64,
    offset: u64,
    state: fc.oneof(fc.bigInt({ min: 0n, max: 255n }), u64),
  });
  const known = fc.constantFrom(...commands);
  const command = fc.oneof({ weight: 9, arbitrary: known }, { weight: 1, arbitrary: u32 });
  return fc.tuple(fields, command, fc.nat(9)).chain(([call, chosen, luck]) => {
    const { number, bytes } = sizedCommand(chosen, luck);
    return headArbitrary(bytes).map((head) => ({ call: { ...call, command: number }, head, memory: [] }));
  });
}

/** A command's number and how long its head is. With bad luck the head is empty; where the row leaves the size open, luck is the size. */
function sizedCommand(chosen: Command | number, luck: number): { number: number; bytes: number } {
  if (typeof chosen === 'number') return { number: chosen, bytes: luck * 7 };
  const isSized = (chosen.mask & SIZE_BITS) === 0;
  const bytes = luck === 0 ? 0 : isSized ? luck * 4 : chosen.head;
  return { number: (chosen.number | (isSized ? bytes << SIZE_SHIFT : 0)) >>> 0, bytes };
}

/** Calls of vectors, of which some words have been changed: what nearly is what programs do. */
export function vectorCall(
  vectors: readonly Vector[],
  info: ClassInfo,
): fc.Arbitrary<GeneratedCall> | undefined {
  const calls = callsOfVectors(vectors, info);
  if (calls.length === 0) return undefined;
  const changes = fc.array(
    fc.oneof(fc.tuple(fc.nat(40), fc.oneof(u32, edge)), fc.tuple(fc.nat(40), pointer)) as fc.Arbitrary<
      [number, number | bigint]
    >,
    { maxLength: 3 },
  );
  const state = fc.oneof({ weight: 3, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: u64 });
  return fc.tuple(fc.constantFrom(...calls), changes, state).map(([{ call, head, memory }, pairs, word]) => ({
    call: word === undefined ? call : { ...call, state: word },
    head: withWords(head, pairs),
    memory,
  }));
}

/** The calls of a class's vectors as they are; commands that it does not have are left out. */
export function callsOfVectors(vectors: readonly Vector[], info: ClassInfo): GeneratedCall[] {
  return vectors.flatMap((vector) => {
    const command = commandNumber(vector, info);
    if (command === undefined) return [];
    const memory = (vector.memory ?? []).map(({ address, content }) => ({
      address: BigInt(address),
      bytes: bytesOf(content),
    }));
    return [{ call: callOfVector(vector, command), head: bytesOf(vector.head), memory }];
  });
}

/** A mixture of both: calls of every kind, and calls that nearly are a vector's. */
export function hostileCall(info: ClassInfo, vectors: readonly Vector[]): fc.Arbitrary<GeneratedCall> {
  const near = vectorCall(vectors, info);
  const any = anyCall(info.commands);
  return near === undefined ? any : fc.oneof(any, near);
}

/** So many calls, always the same for the same seed. */
export function sampleCalls(
  info: ClassInfo,
  vectors: readonly Vector[],
  count: number,
  seed: number,
): GeneratedCall[] {
  return [
    ...callsOfVectors(vectors, info),
    ...fc.sample(hostileCall(info, vectors), { numRuns: count, seed }),
  ];
}
