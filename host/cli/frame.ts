import { readFileSync, writeFileSync } from 'node:fs';
import { PNG } from 'pngjs';

/** Bytes of a pixel in V4L2_PIX_FMT_RGB24 ('RGB3'): red, green, blue. */
const RGB24_PIXEL_BYTES = 3;
const RGBA_PIXEL_BYTES = 4;
const OPAQUE = 0xff;

export interface FrameShape {
  /** In pixels. */
  width: number;
  /** In pixels. */
  height: number;
}

/** Bytes of one V4L2_PIX_FMT_RGB24 frame without padding. */
export function rgb24FrameBytes({ width, height }: FrameShape): number {
  return width * height * RGB24_PIXEL_BYTES;
}

/**
 * The last of the V4L2_PIX_FMT_RGB24 frames in `bytes`, as a PNG image.
 * @throws Error when `bytes` is not a whole number of frames
 */
export function lastFrameAsPng(bytes: Uint8Array, shape: FrameShape): Buffer {
  const frameBytes = rgb24FrameBytes(shape);
  if (bytes.length === 0 || bytes.length % frameBytes !== 0)
    throw new Error(
      `${bytes.length} bytes are not whole RGB24 frames of ${shape.width}x${shape.height} (${frameBytes} bytes each).`,
    );
  const frame = bytes.subarray(bytes.length - frameBytes);
  const png = new PNG(shape);
  for (let pixel = 0; pixel < shape.width * shape.height; pixel += 1) {
    png.data.set(
      frame.subarray(pixel * RGB24_PIXEL_BYTES, (pixel + 1) * RGB24_PIXEL_BYTES),
      pixel * RGBA_PIXEL_BYTES,
    );
    png.data[pixel * RGBA_PIXEL_BYTES + RGB24_PIXEL_BYTES] = OPAQUE;
  }
  return PNG.sync.write(png);
}

/** Writes the last frame of the recording `from` to the PNG file `to`, and says how many frames there were. */
export function convertLastFrame(from: string, to: string, shape: FrameShape): number {
  const bytes = readFileSync(from);
  writeFileSync(to, lastFrameAsPng(bytes, shape));
  return bytes.length / rgb24FrameBytes(shape);
}
