// @ts-check
// Digest stamps: a step runs again only when the bytes that it depends on have changed, whatever their dates say.
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';

/** Folders that hold results, never sources. */
const RESULT_FOLDERS = new Set(['build', 'dist', 'node_modules', '.cache', '.git']);

/**
 * Every file below `folder` that `wanted` accepts, sorted, without the folders that hold results.
 * @param {string} folder
 * @param {(path: string) => boolean} wanted
 * @returns {string[]}
 */
export function filesBelow(folder, wanted = () => true) {
  const found = [];
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) {
      if (!RESULT_FOLDERS.has(entry.name)) found.push(...filesBelow(path, wanted));
    } else if (entry.isFile() && wanted(path)) found.push(path);
  }
  return found.sort();
}

/**
 * The SHA-256 over names (relative to `root`), contents and `salt`, in hex. A file that vanishes meanwhile counts as absent.
 * @param {string} root
 * @param {string[]} files
 * @param {string} [salt] whatever else the result depends on, such as a compiler's version
 * @returns {string}
 */
export function digestOf(root, files, salt = '') {
  const hash = createHash('sha256').update(salt);
  for (const path of files) {
    hash.update(`\0${relative(root, path)}\0`);
    try {
      hash.update(readFileSync(path));
    } catch (error) {
      if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'ENOENT') throw error;
    }
  }
  return hash.digest('hex');
}

/**
 * The digest that the last successful run of a step left, or '' where there is none.
 * @param {string} stampFile
 * @returns {string}
 */
export function readStamp(stampFile) {
  try {
    return readFileSync(stampFile, 'utf8').trim();
  } catch {
    return '';
  }
}

/**
 * Records that the step whose inputs had `digest` has succeeded.
 * @param {string} stampFile
 * @param {string} digest
 */
export function writeStamp(stampFile, digest) {
  mkdirSync(dirname(stampFile), { recursive: true });
  writeFileSync(stampFile, `${digest}\n`);
}
