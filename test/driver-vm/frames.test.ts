import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FRAME, FRAME_BYTES_MAX, type Frame, FrameParser, frameOf } from '../../host/driver-vm/frames.js';

const frames = fc.array(
  fc.record({
    type: fc.constantFrom(...Object.values(FRAME)),
    payload: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
  }),
  { maxLength: 12 },
);

/** Cuts `bytes` at the given fractions of its length. */
function cut(bytes: Buffer, fractions: readonly number[]): Buffer[] {
  const places = [...fractions.map((fraction) => Math.floor(fraction * bytes.length)), 0, bytes.length];
  places.sort((a, b) => a - b);
  return places.slice(1).map((end, index) => bytes.subarray(places[index], end));
}

function headOf(bytes: number, type: number): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32LE(bytes, 0);
  head.writeUInt32LE(type, 4);
  return head;
}

describe('the control stream', () => {
  it('gives back every frame, however the stream is cut', () => {
    const fractions = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { maxLength: 40 });
    fc.assert(
      fc.property(frames, fractions, (sent: Frame[], places) => {
        const parser = new FrameParser();
        const stream = Buffer.concat(sent.map(({ type, payload }) => frameOf(type, payload)));
        const received = cut(stream, places).flatMap((chunk) => parser.push(chunk));
        expect(received).toEqual(sent);
      }),
    );
  });

  it('survives any bytes: frames within the limits, or an error', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 64 }), { maxLength: 20 }), (chunks) => {
        const parser = new FrameParser();
        try {
          for (const frame of chunks.flatMap((chunk) => parser.push(Buffer.from(chunk)))) {
            expect(Object.values(FRAME)).toContain(frame.type);
            expect(frame.payload.length).toBeLessThanOrEqual(FRAME_BYTES_MAX);
          }
        } catch (error) {
          expect((error as Error).message).toMatch(/^The backend agent (sent|announced) a/);
        }
      }),
    );
  });

  it('refuses a frame that is too long before its payload comes', () => {
    const parser = new FrameParser();
    expect(() => parser.push(headOf(FRAME_BYTES_MAX + 1, FRAME.devices))).toThrow(
      `devices frame of ${FRAME_BYTES_MAX + 1} bytes; the limit is ${FRAME_BYTES_MAX}`,
    );
  });

  it('takes the longest frame', () => {
    const parser = new FrameParser();
    expect(parser.push(headOf(FRAME_BYTES_MAX, FRAME.devices))).toEqual([]);
    const [frame] = parser.push(Buffer.alloc(FRAME_BYTES_MAX, 7));
    expect(frame?.payload.length).toBe(FRAME_BYTES_MAX);
    expect(frame?.payload.at(-1)).toBe(7);
  });

  it('refuses a frame of unknown type', () => {
    for (const type of [0, 9, 0xffffffff]) {
      expect(() => new FrameParser().push(headOf(0, type))).toThrow(`unknown type ${type}`);
    }
  });
});
