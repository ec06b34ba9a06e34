import { closeSync, constants, fstatSync, ftruncateSync, openSync, readSync } from 'node:fs';
import { native } from '../native.js';
import type { QmpClient } from './qmp.js';

/** QEMU's name for the descriptors that it was given for pictures (-add-fd). */
const DESCRIPTOR_SET = 1;
/** `P6`, width, height and the largest value of a colour, each followed by one white-space character (pnm, ppm(5)). */
const PPM_HEAD = /^P6\n(\d+) (\d+)\n255\n/;
const PPM_HEAD_BYTES_MAX = 40;
const RGB24_PIXEL_BYTES = 3;

/** What a driver VM's display shows. */
export interface Picture {
  /** In pixels. */
  width: number;
  /** In pixels. */
  height: number;
  /** Red, green and blue, a byte each, line after line from the top. */
  rgb: Buffer;
}

/** QEMU's argument for the descriptor that it writes pictures to. */
export function screenArguments(descriptor: number): string[] {
  return ['-add-fd', `fd=${descriptor},set=${DESCRIPTOR_SET}`];
}

/**
 * The way of pictures out of a QEMU that may open no file: one inherited descriptor, of a file without a name. QEMU opens it for
 * each picture by duplicating it, so that a picture begins where the one before has ended.
 */
export class Screen {
  /** For QEMU: for writing only, as it compares the mode with what it asks for. */
  readonly descriptor: number;
  readonly #file = native.memfd('postern-screen', 0);
  #end = 0;
  #last: Promise<unknown> = Promise.resolve();

  constructor() {
    this.descriptor = openSync(`/proc/self/fd/${this.#file}`, constants.O_WRONLY);
  }

  /**
   * What the first display shows now. One at a time; others wait.
   * @throws Error with QEMU's reason, as when the VM has no display
   */
  picture(qmp: QmpClient): Promise<Picture> {
    const picture = this.#last.then(() => this.#take(qmp));
    this.#last = picture.catch(() => {});
    return picture;
  }

  close(): void {
    closeSync(this.descriptor);
    native.closeDescriptor(this.#file);
  }

  async #take(qmp: QmpClient): Promise<Picture> {
    await qmp.execute('screendump', { filename: `/dev/fdset/${DESCRIPTOR_SET}` });
    const begin = this.#end;
    this.#end = fstatSync(this.#file).size;
    const bytes = Buffer.alloc(this.#end - begin);
    readSync(this.#file, bytes, 0, bytes.length, begin);
    // What has been read takes no memory any more; the next picture follows it nevertheless.
    ftruncateSync(this.#file, 0);
    return parsePpm(bytes);
  }
}

/**
 * A picture in the portable pixmap format, as QEMU writes it.
 * @throws Error when `bytes` is anything else
 */
export function parsePpm(bytes: Buffer): Picture {
  const [head, width, height] = PPM_HEAD.exec(bytes.toString('latin1', 0, PPM_HEAD_BYTES_MAX)) ?? [];
  const rgb = bytes.subarray(head?.length ?? 0);
  const shape = { width: Number(width), height: Number(height) };
  if (head === undefined || rgb.length !== shape.width * shape.height * RGB24_PIXEL_BYTES)
    throw new Error(
      `QEMU's picture of ${bytes.length} bytes is no whole portable pixmap of 8 bits a colour.`,
    );
  return { ...shape, rgb };
}
