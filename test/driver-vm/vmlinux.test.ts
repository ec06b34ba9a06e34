import { execFileSync } from 'node:child_process';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { extractVmlinux } from '../../host/driver-vm/vmlinux.js';

const ELF = Buffer.concat([Buffer.from('\x7fELF', 'latin1'), Buffer.alloc(5000, 'kernel')]);
const APPENDED_SIZE = Buffer.alloc(4);
const PAYLOAD_AT = 512 * 5 + 100;

/** A bzImage with four setup sectors. */
function imageOf(payload: Buffer): Buffer {
  const image = Buffer.alloc(PAYLOAD_AT + payload.length);
  image[0x1f1] = 4;
  image.write('HdrS', 0x202);
  image.writeUInt32LE(100, 0x248);
  image.writeUInt32LE(payload.length, 0x24c);
  payload.copy(image, PAYLOAD_AT);
  return image;
}

describe('the kernel image', () => {
  it.each([
    ['gzip', gzipSync(ELF)],
    ['xz', Buffer.concat([execFileSync('xz', ['-c'], { input: ELF }), APPENDED_SIZE])],
  ])('is unpacked from %s', async (_name, payload) => {
    expect((await extractVmlinux(imageOf(payload))).equals(ELF)).toBe(true);
  });

  it('is refused when it is something else', async () => {
    await expect(extractVmlinux(Buffer.alloc(10_000))).rejects.toThrow('no bzImage');
    await expect(extractVmlinux(Buffer.alloc(10))).rejects.toThrow('no bzImage');
    await expect(extractVmlinux(imageOf(Buffer.alloc(100)))).rejects.toThrow('expected one of gzip, xz');
    await expect(extractVmlinux(imageOf(gzipSync(Buffer.from('text'))))).rejects.toThrow('no ELF file');
    await expect(extractVmlinux(imageOf(gzipSync(ELF)).subarray(0, -1))).rejects.toThrow('cut off');
  });
});
