import { Header, Parser, type ReadEntry } from 'tar';
import { PackageError } from './errors.js';

const KIB = 1024;
const MIB = KIB * KIB;

/** The members of every package, in their order, each with the most bytes that it may have and the reason for so many. */
export const MEMBERS = {
  /** The manifest of the largest class, V4L2, has 40 KiB with its commands. */
  'manifest.json': 512 * KIB,
  /** The digests of a few dozen source files. */
  'source.json': 256 * KIB,
  /** A few hundred calls with heads of up to 16 KiB, as hexadecimal digits. */
  'vectors.json': 8 * MIB,
  /** The largest of ours has 100 KiB; metering and compiling a megabyte takes seconds. */
  'policy.wasm': 4 * MIB,
} as const;

export type MemberName = keyof typeof MEMBERS;

/** Signatures are members too: one sigstore bundle for each key, named by the key's fingerprint. */
const SIGNATURE_NAME = /^signatures\/([0-9a-f]{64})\.sigstore\.json$/;
/** A bundle holds the statement (a kilobyte) and a signature. */
const SIGNATURE_BYTES_MAX = 64 * KIB;
/** More people than ever sign one module. */
export const SIGNATURES_MAX = 16;

const MEMBER_NAMES = Object.keys(MEMBERS) as MemberName[];
const MEMBERS_MAX = MEMBER_NAMES.length + SIGNATURES_MAX;
/** tar's unit. */
const BLOCK_BYTES = 512;
const END_BLOCKS = 2;
/** All members at their largest, with a header and padding each: what is larger is not even read. */
export const PACKAGE_BYTES_MAX =
  Object.values(MEMBERS).reduce((sum, bytes) => sum + bytes, SIGNATURES_MAX * SIGNATURE_BYTES_MAX) +
  (2 * MEMBERS_MAX + END_BLOCKS) * BLOCK_BYTES;

/** Every member is a file that anybody may read, of nobody, of the beginning of time: the same input gives the same bytes. */
const FILE_MODE = 0o644;
const BEGINNING_OF_TIME = new Date(0);

/** What compressed files begin with: gzip, Zstandard, xz, bzip2. The archive library would unpack some of them unasked. */
const COMPRESSED = [
  [0x1f, 0x8b],
  [0x28, 0xb5, 0x2f, 0xfd],
  [0xfd, 0x37, 0x7a, 0x58],
  [0x42, 0x5a, 0x68],
];

/** The members of a package, by name. */
export type Members = ReadonlyMap<string, Buffer>;

/** The name of the member that holds the signature of the key with that fingerprint. */
export function signatureName(fingerprint: string): string {
  return `signatures/${fingerprint}.sigstore.json`;
}

/** The fingerprint in a signature's name, or undefined: it is no signature's. */
export function fingerprintIn(name: string): string | undefined {
  return SIGNATURE_NAME.exec(name)?.[1];
}

/** Packs members: in their fixed order, signatures after them by name. */
export function pack(members: Members): Buffer {
  const signatures = [...members.keys()].filter((name) => fingerprintIn(name) !== undefined).sort();
  const blocks = [...MEMBER_NAMES, ...signatures].flatMap((name) => {
    const bytes = members.get(name);
    if (bytes === undefined) throw new PackageError('POSTERN_PKG_MEMBER_MISSING', `${name} is missing.`);
    return [headerOf(name, bytes.length), bytes, Buffer.alloc(-bytes.length & (BLOCK_BYTES - 1))];
  });
  return Buffer.concat([...blocks, Buffer.alloc(END_BLOCKS * BLOCK_BYTES)]);
}

/**
 * The members of an archive of at most PACKAGE_BYTES_MAX bytes. Nothing is lenient here: an archive is accepted only when packing its
 * members gives the same bytes again.
 * @throws PackageError with what is wrong with the archive
 */
export function unpack(archive: Buffer): Members {
  if (archive.length > PACKAGE_BYTES_MAX)
    throw new PackageError(
      'POSTERN_PKG_TOO_LARGE',
      `The package has ${archive.length} bytes, at most ${PACKAGE_BYTES_MAX} may be.`,
    );
  if (COMPRESSED.some((magic) => magic.every((byte, at) => archive[at] === byte)))
    throw new PackageError(
      'POSTERN_PKG_COMPRESSED',
      'The file is compressed, expected a plain tar archive: build it with `postern policy build`.',
    );
  const members = read(archive);
  for (const name of MEMBER_NAMES)
    if (!members.has(name)) throw new PackageError('POSTERN_PKG_MEMBER_MISSING', `${name} is missing.`);
  if (!pack(members).equals(archive))
    throw new PackageError(
      'POSTERN_PKG_NOT_CANONICAL',
      'The archive has other headers, another order, or bytes between or after its members: build it with `postern policy build`.',
    );
  return members;
}

function headerOf(path: string, size: number): Buffer {
  const block = Buffer.alloc(BLOCK_BYTES);
  new Header({ path, size, mode: FILE_MODE, uid: 0, gid: 0, mtime: BEGINNING_OF_TIME, type: 'File' }).encode(
    block,
  );
  return block;
}

/** The library reads synchronously what is given to it in one piece; the first thing wrong ends it. */
function read(archive: Buffer): Map<string, Buffer> {
  const members = new Map<string, Buffer>();
  const faults: Error[] = [];
  const parser = new Parser({
    strict: true,
    maxMetaEntrySize: BLOCK_BYTES,
    onReadEntry: (entry) => {
      const fault = faults.length > 0 ? undefined : entryFault(entry, members);
      if (fault !== undefined) faults.push(fault);
      if (faults.length > 0) entry.resume();
      else collect(entry, members);
    },
  });
  parser.on('ignoredEntry', (entry: ReadEntry) => void faults.push(typeFault(entry)));
  parser.on('error', (error: Error) => void faults.push(notAnArchive(error.message)));
  let ended = false;
  parser.on('end', () => {
    ended = true;
  });
  parser.end(archive);
  const [first] = faults;
  if (first !== undefined) throw first;
  if (!ended) throw notAnArchive('it is cut off');
  return members;
}

function collect(entry: ReadEntry, members: Map<string, Buffer>): void {
  const chunks: Buffer[] = [];
  members.set(entry.path, Buffer.alloc(0));
  entry.on('data', (chunk) => void chunks.push(chunk));
  entry.on('end', () => void members.set(entry.path, Buffer.concat(chunks)));
}

function entryFault(entry: ReadEntry, members: Members): PackageError | undefined {
  const name = entry.path;
  if (entry.type !== 'File') return typeFault(entry);
  const isMember = Object.hasOwn(MEMBERS, name);
  const most = isMember ? MEMBERS[name as MemberName] : SIGNATURE_BYTES_MAX;
  if (!isMember && fingerprintIn(name) === undefined)
    return new PackageError('POSTERN_PKG_MEMBER_UNKNOWN', `A package has no member ${JSON.stringify(name)}.`);
  if (members.has(name)) return new PackageError('POSTERN_PKG_MEMBER_DUPLICATE', `${name} is there twice.`);
  if (entry.size > most)
    return new PackageError(
      'POSTERN_PKG_TOO_LARGE',
      `${name} has ${entry.size} bytes, at most ${most} may be.`,
    );
  if (members.size >= MEMBERS_MAX)
    return new PackageError(
      'POSTERN_PKG_MEMBERS_TOO_MANY',
      `There are more than ${SIGNATURES_MAX} signatures in the package.`,
    );
  return undefined;
}

function typeFault({ path, type }: ReadEntry): PackageError {
  return new PackageError(
    'POSTERN_PKG_MEMBER_TYPE',
    `The member ${JSON.stringify(path)} is of the type ${type}, expected a regular file.`,
  );
}

function notAnArchive(detail: string): PackageError {
  return new PackageError('POSTERN_PKG_NOT_AN_ARCHIVE', `The file is no whole tar archive: ${detail}.`);
}
