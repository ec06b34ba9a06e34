/** One entry of an archive: a folder has no content. */
export interface ArchiveEntry {
  /** Relative, without a leading slash. */
  path: string;
  mode: number;
  content?: Buffer;
}

const FOLDER = 0o040000;
const REGULAR_FILE = 0o100000;
/** The format aligns names and contents to this many bytes. */
const ALIGNMENT_BYTES = 4;
const TRAILER = 'TRAILER!!!';

/**
 * A cpio archive of the "newc" form, uncompressed, as the kernel unpacks it
 * (Documentation/driver-api/early-userspace/buffer-format.rst). All times and owners are 0: equal inputs give equal bytes.
 */
export function archiveOf(entries: readonly ArchiveEntry[]): Buffer {
  const parts = entries.flatMap((entry, index) => entryOf(entry, index + 1));
  return Buffer.concat([...parts, ...entryOf({ path: TRAILER, mode: 0 }, 0)]);
}

function entryOf({ path, mode, content }: ArchiveEntry, inode: number): Buffer[] {
  const type = path === TRAILER ? 0 : content === undefined ? FOLDER : REGULAR_FILE;
  const name = Buffer.from(`${path}\0`);
  const fields = [inode, type | mode, 0, 0, 1, 0, content?.length ?? 0, 0, 0, 0, 0, name.length, 0];
  const head = Buffer.from(`070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`);
  const parts = [head, name, paddingAfter(head.length + name.length)];
  if (content !== undefined) parts.push(content, paddingAfter(content.length));
  return parts;
}

function paddingAfter(bytes: number): Buffer {
  return Buffer.alloc((ALIGNMENT_BYTES - (bytes % ALIGNMENT_BYTES)) % ALIGNMENT_BYTES);
}
