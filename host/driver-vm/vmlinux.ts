import { execFile } from 'node:child_process';
import { gunzipSync } from 'node:zlib';

// Offsets of the setup header: Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header".
const SETUP_SECTORS_OFFSET = 0x1f1;
const HEADER_MAGIC_OFFSET = 0x202;
const PAYLOAD_OFFSET_OFFSET = 0x248;
const PAYLOAD_LENGTH_OFFSET = 0x24c;
const HEADER_END_OFFSET = 0x250;
const SECTOR_BYTES = 512;
/** Where the header's sector count is 0, it means 4. */
const SETUP_SECTORS_DEFAULT = 4;
/** After all compressed payloads but gzip's, the kernel's build appends the unpacked size. */
const APPENDED_SIZE_BYTES = 4;
/** Above any kernel image; it bounds what a decompressor may print. */
const VMLINUX_BYTES_MAX = 256 << 20;

const ELF_MAGIC = Buffer.from('\x7fELF', 'latin1');

interface Compression {
  name: string;
  magic: Buffer;
  unpack(payload: Buffer): Promise<Buffer>;
}

const COMPRESSIONS: readonly Compression[] = [
  {
    name: 'gzip',
    magic: Buffer.from([0x1f, 0x8b]),
    unpack: async (payload) => gunzipSync(payload, { maxOutputLength: VMLINUX_BYTES_MAX }),
  },
  {
    name: 'xz',
    magic: Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]),
    unpack: (payload) => unpackBy('xz', ['-dc'], payload.subarray(0, -APPENDED_SIZE_BYTES)),
  },
  {
    name: 'zstd',
    magic: Buffer.from([0x28, 0xb5, 0x2f, 0xfd]),
    unpack: (payload) => unpackBy('zstd', ['-dcq'], payload.subarray(0, -APPENDED_SIZE_BYTES)),
  },
];

/**
 * Unpacks the ELF kernel inside a bzImage: QEMU boots that one directly (PVH), without the seconds that a bzImage takes to
 * unpack itself under emulation.
 * @throws Error when the file is no bzImage or its compression is unknown
 */
export async function extractVmlinux(bzImage: Buffer): Promise<Buffer> {
  const payload = payloadOf(bzImage);
  const compression = COMPRESSIONS.find(({ magic }) => payload.subarray(0, magic.length).equals(magic));
  if (compression === undefined) {
    const names = COMPRESSIONS.map(({ name }) => name).join(', ');
    const found = payload.subarray(0, 6).toString('hex');
    throw new Error(`The kernel's payload begins with ${found}: expected one of ${names}.`);
  }
  const vmlinux = await compression.unpack(payload);
  if (!vmlinux.subarray(0, ELF_MAGIC.length).equals(ELF_MAGIC)) {
    throw new Error(`The kernel's ${compression.name} payload is no ELF file.`);
  }
  return vmlinux;
}

function payloadOf(bzImage: Buffer): Buffer {
  const isKernel =
    bzImage.length > HEADER_END_OFFSET &&
    bzImage.toString('latin1', HEADER_MAGIC_OFFSET, HEADER_MAGIC_OFFSET + 4) === 'HdrS';
  if (!isKernel) throw new Error('The kernel image has no x86 setup header: it is no bzImage.');
  const sectors = bzImage.readUInt8(SETUP_SECTORS_OFFSET) || SETUP_SECTORS_DEFAULT;
  const start = (sectors + 1) * SECTOR_BYTES + bzImage.readUInt32LE(PAYLOAD_OFFSET_OFFSET);
  const length = bzImage.readUInt32LE(PAYLOAD_LENGTH_OFFSET);
  if (start + length > bzImage.length || length <= APPENDED_SIZE_BYTES) {
    throw new Error(
      `The kernel image of ${bzImage.length} bytes is cut off: its payload ends at ${start + length}.`,
    );
  }
  return bzImage.subarray(start, start + length);
}

function unpackBy(tool: string, toolArguments: string[], payload: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const options = { encoding: 'buffer' as const, maxBuffer: VMLINUX_BYTES_MAX };
    const child = execFile(tool, toolArguments, options, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout);
      const words = stderr.toString().trim() || error.message;
      reject(new Error(`'${tool}' can't unpack the kernel: ${words}. Install the package that holds it.`));
    });
    // A tool that ends early is reported by its exit, with its own words.
    child.stdin?.on('error', () => {});
    child.stdin?.end(payload);
  });
}
