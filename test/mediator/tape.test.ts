import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Tape, type TapedDecision } from '../../host/mediator/tape.js';

const word = fc.nat({ max: 0xffff_ffff });
const long = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
const bytes = fc.uint8Array({ maxLength: 3000 });
const read = fc
  .record({ address: long, errno: fc.constantFrom(0, 14), content: bytes })
  .map(({ address, errno, content }) => ({
    address,
    errno,
    length: content.length,
    bytes: errno === 0 ? content : new Uint8Array(0),
  }));
const decision: fc.Arbitrary<TapedDecision> = fc.record({
  outcome: fc.option(fc.bigInt({ min: -4095n, max: 2n ** 62n }), { nil: undefined }),
  call: fc.record({
    session: word,
    node: word,
    operation: fc.constantFrom('open', 'ioctl', 'read', 'write', 'mmap', 'seek'),
    command: word,
    fileFlags: word,
    argument: long,
    length: long,
    offset: long,
    state: long,
  }),
  head: bytes,
  reads: fc.array(read, { maxLength: 5 }),
});
/** Reads after so many writes, so that the ring's end is passed at every distance. */
const turns = fc.array(
  fc.record({ writes: fc.array(decision, { maxLength: 40 }), reads: fc.nat({ max: 60 }) }),
  {
    maxLength: 30,
  },
);

describe('a tape', () => {
  it('gives back what was written, in order and whole, and counts what it had no room for', () => {
    fc.assert(
      fc.property(turns, (script) => {
        const writer = new Tape();
        const reader = new Tape(writer.buffer);
        const expected: TapedDecision[] = [];
        let lost = 0;
        for (const { writes, reads } of script) {
          for (const one of writes) {
            writer.write(one);
            if (writer.lost === lost) expected.push(one);
            lost = writer.lost;
          }
          for (let count = 0; count < reads && expected.length > 0; count++)
            expect(reader.read()).toEqual(expected.shift());
        }
        for (const one of expected) expect(reader.read()).toEqual(one);
        expect(reader.read()).toBeUndefined();
      }),
      { numRuns: 50 },
    );
  });

  it('is full at some time, and empty again', () => {
    const tape = new Tape();
    const call = {
      session: 1,
      node: 0,
      operation: 'ioctl',
      command: 5,
      fileFlags: 0,
      argument: 1n,
      length: 2n,
    } as const;
    const one: TapedDecision = {
      outcome: undefined,
      call: { ...call, offset: 3n, state: 4n },
      head: new Uint8Array(4096).fill(7),
      reads: [],
    };
    let written = 0;
    while (tape.lost === 0) {
      tape.write(one);
      written++;
    }
    let read = 0;
    while (tape.read() !== undefined) read++;
    expect(read).toBe(written - 1);
    expect(read).toBeGreaterThan(200);
    tape.write(one);
    expect(tape.read()).toEqual(one);
  });
});
