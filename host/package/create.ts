import { existsSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { compilePolicy, SOURCES } from '../policy/compile.js';
import { ROOT } from '../root.js';
import { pack } from './archive.js';
import { canonicalJson } from './json.js';
import { type ExaminedPackage, openPackage, type SourceRecord, sourceDigest } from './package.js';
import { sha256 } from './statement.js';
import { tryPackage } from './try.js';

const VECTORS_ENDING = '.vectors.json';
/** What decides which bytes come out: the compiler, and what makes components. */
const BUILD_TOOLS = ['assemblyscript', '@bytecodealliance/jco', 'binaryen'];

/** A package that has been made, and its file. */
export interface CreatedPackage {
  file: Buffer;
  examined: ExaminedPackage;
  /** How many test vectors it has passed. */
  vectors: number;
}

/**
 * The class that is meant: one of Postern's own by its name, or a folder that holds one of the folder's name.
 * @throws Error when there is neither
 */
export function classSource(which: string): { name: string; folder: string } {
  const name = basename(which);
  const isFolder = existsSync(join(which, `${name}.manifest.json`));
  if (isFolder) return { name, folder: which };
  if (existsSync(join(SOURCES, `${which}.manifest.json`))) return { name: which, folder: SOURCES };
  throw new Error(
    `There is no class '${which}': expected a folder with ${name}.manifest.json in it, or one of Postern's own classes. ` +
      '`postern policy new NAME` begins one.',
  );
}

/**
 * Compiles a class and packs it with its manifest, its test vectors and a record of its sources, unsigned. The same sources and tools give
 * the same bytes.
 * @throws Error with what does not compile or is missing, PackageError when the module is not fit
 */
export async function createPackage(name: string, folder: string): Promise<CreatedPackage> {
  const file = await packSources(name, folder);
  // What would be refused elsewhere is refused here already.
  return { file, ...(await tryPackage(openPackage(file))) };
}

/** As createPackage, but nobody has tried the module yet. */
export async function packSources(name: string, folder: string): Promise<Buffer> {
  const { manifest, component, files } = await compilePolicy(name, folder);
  const vectors = readVectors(name, folder);
  const sources = [...files, { path: `policies/${name}${VECTORS_ENDING}`, sha256: sha256(vectors) }];
  const source: SourceRecord = { sha256: sourceDigest(sources), files: sources, tools: toolVersions() };
  return pack(
    new Map([
      ['manifest.json', canonicalJson(manifest)],
      ['source.json', canonicalJson(source)],
      ['vectors.json', canonicalJson(JSON.parse(vectors.toString('utf8')))],
      ['policy.wasm', Buffer.from(component)],
    ]),
  );
}

function readVectors(name: string, folder: string): Buffer {
  const path = join(folder, name + VECTORS_ENDING);
  if (existsSync(path)) return readFileSync(path);
  throw new Error(
    `There are no test vectors: ${path} is missing. A package brings what shows that it works.`,
  );
}

function toolVersions(): Record<string, string> {
  const versions = BUILD_TOOLS.map((tool): [string, string] => {
    const path = join(ROOT, 'node_modules', tool, 'package.json');
    const { version } = JSON.parse(readFileSync(path, 'utf8')) as { version: string };
    return [tool, version];
  });
  return Object.fromEntries(versions);
}
