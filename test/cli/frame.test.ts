import fc from 'fast-check';
import { PNG } from 'pngjs';
import { describe, expect, it } from 'vitest';
import { lastFrameAsPng, rgb24FrameBytes } from '../../host/cli/frame.js';

describe('lastFrameAsPng', () => {
  it('keeps every pixel of the last frame, opaque', () => {
    const shapes = fc.record({
      width: fc.integer({ min: 1, max: 9 }),
      height: fc.integer({ min: 1, max: 9 }),
    });
    const recordings = shapes.chain((shape) => {
      const frame = fc.uint8Array({ minLength: rgb24FrameBytes(shape), maxLength: rgb24FrameBytes(shape) });
      return fc.record({
        shape: fc.constant(shape),
        frames: fc.array(frame, { minLength: 1, maxLength: 3 }),
      });
    });
    fc.assert(
      fc.property(recordings, ({ shape, frames }) => {
        const image = PNG.sync.read(lastFrameAsPng(Buffer.concat(frames), shape));
        expect([image.width, image.height]).toEqual([shape.width, shape.height]);
        const pixels = image.data.filter((_value, index) => index % 4 !== 3);
        expect([...pixels]).toEqual([...(frames.at(-1) ?? [])]);
        expect(image.data.every((value, index) => index % 4 !== 3 || value === 255)).toBe(true);
      }),
    );
  });

  it('refuses a recording that is not whole frames', () => {
    const shape = { width: 2, height: 2 };
    expect(() => lastFrameAsPng(new Uint8Array(13), shape)).toThrow(
      '13 bytes are not whole RGB24 frames of 2x2',
    );
    expect(() => lastFrameAsPng(new Uint8Array(0), shape)).toThrow('0 bytes are not whole RGB24 frames');
  });
});
