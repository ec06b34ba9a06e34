import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { type ClassInfo, PolicyInstance } from '../policy/abi.js';
import { worldFaults } from '../policy/check-component.js';
import { type CoreFaultKind, coreFindings } from '../policy/check-core.js';
import { schemaFaults } from '../policy/checked-json.js';
import { envelopeFaults } from '../policy/command-envelope.js';
import type { Manifest } from '../policy/manifest.js';
import { meteredCore } from '../policy/meter.js';
import type { PolicyPackage } from '../policy/store.js';
import { parseVectors, type VectorFile } from '../policy/vectors.js';
import { coreModuleOf } from '../policy/wasm-sections.js';
import { systemWords } from '../system-error.js';
import { type Members, PACKAGE_BYTES_MAX, unpack } from './archive.js';
import { coded, PackageError, type PackageErrorCode } from './errors.js';
import { parseCanonicalJson } from './json.js';
import { sha256, statementBytes } from './statement.js';

/** What package files are called: NAME-VERSION.postern. */
export const PACKAGE_ENDING = '.postern';
/** The contract that this host speaks: `postern:device@0.2.0`. */
const CONTRACT = '0.2.0';
/** EFAULT (asm-generic/errno-base.h): a module that is only looked at has no guest whose memory it could read. */
const EFAULT = 14;

/** What a package says of how it was built: schemas/package-source.schema.json. */
export interface SourceRecord {
  sha256: string;
  files: { path: string; sha256: string }[];
  tools: Record<string, string>;
}

/** A package file whose structure is sound. Nothing of it has been run, and nobody has said that it may be. */
export interface OpenedPackage {
  members: Members;
  manifest: Manifest;
  vectors: VectorFile;
  source: SourceRecord;
  component: Buffer;
  /** SHA-256 of the whole file, of what signers sign, and of the component. Hexadecimal. */
  fileDigest: string;
  contentDigest: string;
  digest: string;
}

/** A package whose module is fit to be run. */
export interface ExaminedPackage extends OpenedPackage {
  core: Uint8Array;
  /** The class's command table, by the module itself. */
  info: ClassInfo;
}

/** The name that a package's file has by custom. */
export function packageFileName({ name, version }: Manifest): string {
  return `${name}-${version}${PACKAGE_ENDING}`;
}

/** The bytes of a package file. @throws PackageError when there is no regular file, or it is too large */
export function readPackageFile(path: string): Buffer {
  let file: number;
  try {
    // Without O_NONBLOCK the open of a pipe would wait for a writer.
    file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    throw new PackageError(
      'POSTERN_PKG_NOT_A_FILE',
      `The package ${path} can't be opened: ${systemWords(error) ?? (error as Error).message}.`,
    );
  }
  try {
    const { size } = regularFile(file, path);
    const bytes = Buffer.alloc(size);
    let length = 0;
    for (let read = -1; read !== 0 && length < size; length += read)
      read = readSync(file, bytes, length, size - length, length);
    return bytes.subarray(0, length);
  } finally {
    closeSync(file);
  }
}

/**
 * Takes a package apart and checks everything about it that needs no module to be compiled or run.
 * @throws PackageError with what is wrong with it
 */
export function openPackage(file: Buffer): OpenedPackage {
  const members = unpack(file);
  const manifest = manifestOf(member(members, 'manifest.json'));
  const component = member(members, 'policy.wasm');
  return {
    members,
    manifest,
    component,
    vectors: vectorsOf(member(members, 'vectors.json'), manifest),
    source: sourceOf(member(members, 'source.json')),
    fileDigest: sha256(file),
    contentDigest: sha256(statementBytes(members)),
    digest: sha256(component),
  };
}

/**
 * Checks the module of a package: its world, its core, what it says of itself. Compiles and runs it, within its limits, so that a host
 * does this only after the signatures have been verified.
 * @throws PackageError with what makes it unfit
 */
export async function examinePackage(opened: OpenedPackage): Promise<ExaminedPackage> {
  const { component, manifest } = opened;
  const core = coded('POSTERN_PKG_NOT_A_COMPONENT', () => coreModuleOf(component));
  refuse(
    'POSTERN_PKG_WORLD',
    manifest,
    coded('POSTERN_PKG_NOT_A_COMPONENT', () => worldFaults(component)),
  );
  refuseUnfitCore(core, manifest);
  const info = describe(await compiled(core, manifest), manifest);
  if (info.class !== manifest.class)
    throw new PackageError(
      'POSTERN_PKG_CLASS',
      `The module says that it is of the class '${info.class}', its manifest '${manifest.class}'.`,
    );
  refuse('POSTERN_PKG_ENVELOPE', manifest, envelopeFaults(info, manifest));
  return { ...opened, core, info };
}

/**
 * What mediators take of a package.
 * @param path where its file is
 * @throws PackageError when its core module is unfit; what it says of itself is not looked at, as examinePackage does
 */
export function policyOf({ manifest, component, digest }: OpenedPackage, path: string): PolicyPackage {
  const core = coded('POSTERN_PKG_NOT_A_COMPONENT', () => coreModuleOf(component));
  refuseUnfitCore(core, manifest);
  return { manifest, core, component: path, digest };
}

function regularFile(file: number, path: string): { size: number } {
  const status = fstatSync(file);
  if (!status.isFile()) throw new PackageError('POSTERN_PKG_NOT_A_FILE', `${path} is no regular file.`);
  if (status.size > PACKAGE_BYTES_MAX)
    throw new PackageError(
      'POSTERN_PKG_TOO_LARGE',
      `${path} has ${status.size} bytes, at most ${PACKAGE_BYTES_MAX} may be.`,
    );
  return status;
}

function member(members: Members, name: string): Buffer {
  return members.get(name) as Buffer;
}

function manifestOf(bytes: Buffer): Manifest {
  const value = parseCanonicalJson(bytes, 'manifest.json');
  refuseOtherContract(value);
  const faults = schemaFaults(value, 'manifest.schema.json');
  const { envelope } = value as Manifest;
  if (faults.length === 0 && envelope.commands === undefined)
    faults.push('/envelope must list the commands: build the package with `postern policy build`');
  if (faults.length > 0)
    throw new PackageError(
      'POSTERN_PKG_MANIFEST',
      ['manifest.json is not a policy manifest:', ...faults].join('\n  '),
    );
  return value as Manifest;
}

/** Told by itself, because everything else may look otherwise in another version of the contract. */
function refuseOtherContract(value: unknown): void {
  const contract = (value as { contract?: unknown } | null)?.contract;
  if (typeof contract !== 'string' || contract === CONTRACT) return;
  throw new PackageError(
    'POSTERN_PKG_CONTRACT',
    `The module was built against postern:device@${contract}, this host has ${CONTRACT}.`,
  );
}

function vectorsOf(bytes: Buffer, manifest: Manifest): VectorFile {
  parseCanonicalJson(bytes, 'vectors.json');
  const vectors = coded('POSTERN_PKG_VECTORS', () => parseVectors(bytes.toString('utf8'), 'vectors.json'));
  if (vectors.class === manifest.class) return vectors;
  throw new PackageError(
    'POSTERN_PKG_VECTORS',
    `The test vectors are of the class '${vectors.class}', the manifest of '${manifest.class}'.`,
  );
}

function sourceOf(bytes: Buffer): SourceRecord {
  const value = parseCanonicalJson(bytes, 'source.json');
  const faults = schemaFaults(value, 'package-source.schema.json');
  if (faults.length === 0 && (value as SourceRecord).sha256 !== sourceDigest((value as SourceRecord).files))
    faults.push('/sha256 is not that of the files');
  if (faults.length === 0) return value as SourceRecord;
  throw new PackageError(
    'POSTERN_PKG_SOURCE',
    ['source.json is not a source record:', ...faults].join('\n  '),
  );
}

/** The digest of all files that a module was built of: of the lines that sha256sum would print. */
export function sourceDigest(files: SourceRecord['files']): string {
  return sha256(Buffer.from(files.map((file) => `${file.sha256}  ${file.path}\n`).join('')));
}

const CORE_CODES: Readonly<Record<CoreFaultKind, PackageErrorCode>> = {
  invalid: 'POSTERN_PKG_CORE_INVALID',
  section: 'POSTERN_PKG_CORE_SECTION',
  start: 'POSTERN_PKG_CORE_START',
  memory: 'POSTERN_PKG_CORE_MEMORY',
  table: 'POSTERN_PKG_CORE_TABLE',
  import: 'POSTERN_PKG_CORE_IMPORT',
  export: 'POSTERN_PKG_CORE_EXPORT',
};

/** All faults are told; the first one gives the code. */
function refuseUnfitCore(core: Uint8Array, manifest: Manifest): void {
  const findings = coded('POSTERN_PKG_CORE_INVALID', () =>
    coreFindings(core, manifest.envelope.memoryPagesMax),
  );
  const [first] = findings;
  if (first === undefined) return;
  refuse(
    CORE_CODES[first.kind],
    manifest,
    findings.map(({ message }) => message),
  );
}

/** What passes validation but not metering uses a part of WebAssembly that policies don't have. */
async function compiled(core: Uint8Array, { name }: Manifest): Promise<WebAssembly.Module> {
  try {
    return await WebAssembly.compile(await meteredCore(core));
  } catch (error) {
    throw new PackageError(
      'POSTERN_PKG_CORE_FEATURE',
      `The module ${name} is not fit: ${(error as Error).message}`,
      {
        cause: error,
      },
    );
  }
}

function describe(module: WebAssembly.Module, manifest: Manifest): ClassInfo {
  return coded('POSTERN_PKG_CORE_FAULT', () => new PolicyInstance(module, manifest, () => EFAULT).describe());
}

function refuse(code: PackageErrorCode, { name }: Manifest, faults: readonly string[]): void {
  if (faults.length > 0)
    throw new PackageError(code, [`The module ${name} is not fit:`, ...faults].join('\n  '));
}
