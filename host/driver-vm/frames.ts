/** enum postern_frame_type of native/protocol/protocol.h. */
export const FRAME = {
  hello: 1,
  devices: 2,
  run: 3,
  output: 4,
  log: 5,
  error: 6,
  input: 7,
  ping: 8,
} as const;

const FRAME_NAMES = new Map(Object.entries(FRAME).map(([name, type]) => [type as number, name]));
/** POSTERN_FRAME_BYTES_MAX: the longest payload. */
export const FRAME_BYTES_MAX = 1 << 22;
const HEAD_BYTES = 8;

export interface Frame {
  type: number;
  payload: Buffer;
}

/** One frame of the control stream, as bytes. */
export function frameOf(type: number, payload: Buffer = Buffer.alloc(0)): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUInt32LE(payload.length, 0);
  head.writeUInt32LE(type, 4);
  return Buffer.concat([head, payload]);
}

/**
 * Cuts the control stream into frames. The other side is untrusted: a frame that is too long or of an unknown type is an error
 * as soon as its head is there, so that it can't make the host hold more than one longest frame.
 */
export class FrameParser {
  #pending: Buffer[] = [];
  #pendingBytes = 0;

  /**
   * @param chunk the next bytes of the stream, cut anywhere
   * @returns the frames that are complete now, in order
   * @throws Error when the stream is no frame stream; nothing after that can be trusted
   */
  push(chunk: Buffer): Frame[] {
    this.#pending.push(chunk);
    this.#pendingBytes += chunk.length;
    const frames: Frame[] = [];
    for (let frame = this.#next(); frame !== undefined; frame = this.#next()) frames.push(frame);
    return frames;
  }

  #next(): Frame | undefined {
    if (this.#pendingBytes < HEAD_BYTES) return undefined;
    const head = this.#peek(HEAD_BYTES);
    const bytes = head.readUInt32LE(0);
    const type = head.readUInt32LE(4);
    check(bytes, type);
    if (this.#pendingBytes < HEAD_BYTES + bytes) return undefined;
    const whole = this.#peek(HEAD_BYTES + bytes);
    this.#drop(HEAD_BYTES + bytes);
    return { type, payload: whole.subarray(HEAD_BYTES) };
  }

  /** The first `bytes` pending bytes in one piece: gathered only when they lie in several. */
  #peek(bytes: number): Buffer {
    const first = this.#pending[0];
    if (first !== undefined && first.length >= bytes) return first.subarray(0, bytes);
    const all = Buffer.concat(this.#pending);
    this.#pending = [all];
    return all.subarray(0, bytes);
  }

  #drop(bytes: number): void {
    const first = this.#pending[0] as Buffer;
    this.#pendingBytes -= bytes;
    if (first.length === bytes) this.#pending.shift();
    else this.#pending[0] = first.subarray(bytes);
  }
}

function check(bytes: number, type: number): void {
  if (!FRAME_NAMES.has(type)) throw new Error(`The backend agent sent a frame of unknown type ${type}.`);
  if (bytes <= FRAME_BYTES_MAX) return;
  throw new Error(
    `The backend agent announced a ${FRAME_NAMES.get(type)} frame of ${bytes} bytes; the limit is ${FRAME_BYTES_MAX}.`,
  );
}
