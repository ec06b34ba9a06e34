import type { FileHandle } from 'node:fs/promises';
import { open } from 'node:fs/promises';

/** Unit of the search for content: below it, zeros are copied along. */
const GRANULE_BYTES = 64 << 10;
/** Bytes moved at once: large enough that the calls cost nothing beside the copying. */
const BLOCK_BYTES = 4 << 20;

/** A range of the RAM that holds something. */
export interface Extent {
  offset: number;
  bytes: number;
}

/**
 * Copies what is not zero of a VM's RAM into a sparse file.
 * @param memory descriptor of the RAM
 * @returns the ranges that were copied
 */
export async function saveRam(memory: number, bytes: number, path: string): Promise<Extent[]> {
  const source = await open(`/proc/self/fd/${memory}`, 'r');
  const target = await open(path, 'w', 0o600);
  try {
    const extents: Extent[] = [];
    const block = Buffer.allocUnsafe(BLOCK_BYTES);
    for (let offset = 0; offset < bytes; offset += BLOCK_BYTES) {
      const length = Math.min(BLOCK_BYTES, bytes - offset);
      await readFully(source, block.subarray(0, length), offset);
      for (const extent of contentOf(block.subarray(0, length), offset)) append(extents, extent);
    }
    for (const extent of extents) await copy(source, target, extent, block);
    await target.truncate(bytes);
    await target.datasync();
    return extents;
  } finally {
    await source.close();
    await target.close();
  }
}

/** Copies the ranges of a saved RAM into a fresh memory file, which is zero elsewhere. */
export async function loadRam(path: string, extents: readonly Extent[], memory: number): Promise<void> {
  const source = await open(path, 'r');
  const target = await open(`/proc/self/fd/${memory}`, 'r+');
  try {
    const block = Buffer.allocUnsafe(BLOCK_BYTES);
    for (const extent of extents) await copy(source, target, extent, block);
  } finally {
    await source.close();
    await target.close();
  }
}

const ZEROS = Buffer.alloc(GRANULE_BYTES);

function contentOf(block: Buffer, blockOffset: number): Extent[] {
  const extents: Extent[] = [];
  for (let start = 0; start < block.length; start += GRANULE_BYTES) {
    const granule = block.subarray(start, start + GRANULE_BYTES);
    if (granule.equals(ZEROS.subarray(0, granule.length))) continue;
    append(extents, { offset: blockOffset + start, bytes: granule.length });
  }
  return extents;
}

/** Adds a range, as part of the one before it where they touch. */
function append(extents: Extent[], extent: Extent): void {
  const last = extents.at(-1);
  if (last !== undefined && last.offset + last.bytes === extent.offset) last.bytes += extent.bytes;
  else extents.push({ ...extent });
}

async function copy(source: FileHandle, target: FileHandle, extent: Extent, block: Buffer): Promise<void> {
  for (let done = 0; done < extent.bytes; done += block.length) {
    const part = block.subarray(0, Math.min(block.length, extent.bytes - done));
    await readFully(source, part, extent.offset + done);
    await writeFully(target, part, extent.offset + done);
  }
}

async function readFully(file: FileHandle, buffer: Buffer, offset: number): Promise<void> {
  for (let done = 0; done < buffer.length; ) {
    const { bytesRead } = await file.read(buffer, done, buffer.length - done, offset + done);
    if (bytesRead === 0) throw new Error(`The RAM image ends at byte ${offset + done}.`);
    done += bytesRead;
  }
}

async function writeFully(file: FileHandle, buffer: Buffer, offset: number): Promise<void> {
  for (let done = 0; done < buffer.length; ) {
    done += (await file.write(buffer, done, buffer.length - done, offset + done)).bytesWritten;
  }
}
