import fc from 'fast-check';

/** The guest's watched memory, as test/hostile/planned.c has it. */
export const WATCHED_AT = 0x20000000;
export const WATCHED_BYTES = 32 * 4096;
export const HEAD_BYTES = 32;
export const IMAGE_BYTES = 2048;

/** Bits of a grant's access. */
export const FROM_DRIVER = 2;
/** A verdict's bytes by the canonical ABI; its lists follow. */
const VERDICT_BYTES = 56;

/** A plan as numbers, any of which may be out of range. */
export interface RawPlan {
  head: number;
  grants: readonly { address: bigint; length: number; access: number }[];
  relocations: readonly number[][];
  requirements: readonly number[][];
  descriptors: readonly number[][];
  forget: readonly number[][];
  flags: number;
  /** Added to the address of one of the lists. */
  shift: { list: number; by: number };
}

const EDGES = [0, 1, 3, 4, 7, 8, 31, 32, 63, 64, 4095, 4096, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff];
const edge = fc.constantFrom(...EDGES);
const small = fc.nat(6);
const number = fc.oneof({ weight: 8, arbitrary: small }, { weight: 2, arbitrary: edge });
const offset = fc.oneof(
  { weight: 6, arbitrary: fc.nat(8).map((word) => 4 * word) },
  { weight: 1, arbitrary: edge },
);
const soundAccess = fc.constantFrom(1, 2, 3, 6, 7);

/** Mostly where the guest watches, some of it beyond the watched memory's end; else at the ends of the address space. */
const address = fc.oneof(
  { weight: 12, arbitrary: fc.nat(WATCHED_BYTES).map((at) => BigInt(WATCHED_AT + at)) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      0n,
      4095n,
      0x7fffffffe000n,
      0x7fffffffefffn,
      0xffffffff81000000n,
      2n ** 64n - 8n,
    ),
  },
);
const length = fc.oneof(
  { weight: 12, arbitrary: fc.integer({ min: 1, max: 9000 }) },
  { weight: 1, arbitrary: fc.constantFrom(0, 131072, 131073, 0x80000000, 0xffffffff) },
);
const grant = fc.record({
  address,
  length,
  access: fc.oneof({ weight: 12, arbitrary: soundAccess }, { weight: 1, arbitrary: fc.nat(9) }),
});

function few<T>(entry: fc.Arbitrary<T>, weightOfNone: number): fc.Arbitrary<T[]> {
  return fc.oneof(
    { weight: weightOfNone, arbitrary: fc.constant<T[]>([]) },
    { weight: 1, arbitrary: fc.array(entry, { maxLength: 3 }) },
  );
}

const tuple = (...parts: fc.Arbitrary<number>[]): fc.Arbitrary<number[]> => fc.tuple(...parts);
const width = fc.oneof({ weight: 8, arbitrary: fc.constantFrom(4, 8) }, { weight: 1, arbitrary: edge });

/** Plans that a module could have written: sound ones, and such as go wrong in a field, a list, or an address of one. */
export const rawPlans: fc.Arbitrary<RawPlan> = fc.record({
  head: soundAccess,
  grants: fc.array(grant, { maxLength: 5 }),
  relocations: few(tuple(number, offset, number), 3),
  requirements: few(
    tuple(number, number, offset, width, fc.constantFrom(0, 22, 4095, 4096), small, fc.nat(3)),
    6,
  ),
  descriptors: few(
    tuple(
      number,
      offset,
      width,
      fc
        .tuple(fc.nat(3), fc.nat(3), fc.nat(1))
        .map(([kind, flow, close]) => kind | (flow << 8) | (close << 16)),
    ),
    6,
  ),
  forget: few(tuple(small, number, offset, fc.constantFrom(0, 4, 8, 3)), 6),
  flags: fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom(0, 1, 256, 257) },
    { weight: 1, arbitrary: fc.nat(0xffff) },
  ),
  shift: fc.record({
    list: fc.nat(4),
    by: fc.oneof({ weight: 16, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: edge }),
  }),
});

/**
 * The plan as the canonical ABI has it in a module's memory.
 * @param base where the module will have it
 */
export function imageOf(plan: RawPlan, base: number): Buffer {
  const image = Buffer.alloc(IMAGE_BYTES);
  image.writeUInt8(plan.head, 4);
  const lists = [
    plan.grants.map(({ address, length, access }) => [
      Number(address & 0xffffffffn),
      Number(address >> 32n),
      length,
      access,
    ]),
    ...[plan.relocations, plan.requirements, plan.descriptors, plan.forget],
  ];
  let at = VERDICT_BYTES;
  for (const [index, list] of lists.entries()) {
    // Entries with 64-bit numbers begin at multiples of 8.
    at = Math.ceil(at / 8) * 8;
    const shift = plan.shift.list === index ? plan.shift.by : 0;
    image.writeUInt32LE((base + at + shift) >>> 0, 8 + 8 * index);
    image.writeUInt32LE(list.length, 12 + 8 * index);
    for (const word of list.flat()) at = image.writeUInt32LE(word >>> 0, at);
  }
  image.writeUInt16LE(plan.flags & 0xffff, 48);
  return image;
}

/** Whether the driver may write at `offset` of the watched memory, as the plan says. */
export function mayWrite(plan: RawPlan, offset: number): boolean {
  if ((plan.head & FROM_DRIVER) !== 0 && offset < HEAD_BYTES) return true;
  const at = BigInt(WATCHED_AT + offset);
  return plan.grants.some(
    ({ address, length, access }) =>
      (access & FROM_DRIVER) !== 0 && at >= address && at < address + BigInt(length),
  );
}
