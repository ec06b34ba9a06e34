import {
  closeSync,
  constants,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';

/** A store is its owner's alone. */
export const FOLDER_MODE = 0o700;
export const FILE_MODE = 0o600;
/** What is made for others is readable as the user's umask has it. */
const SHARED_MODE = 0o666;
/** What a file is called until it has its name; a crash may leave one, which the next change of the store removes. */
export const UNFINISHED_ENDING = '.unfinished';

/**
 * Gives a file new contents so that a crash or a power failure at any moment leaves either what was there or all of what is new:
 * the bytes are on the disk before the name is theirs, and the name is before this returns.
 */
export function writeDurably(path: string, bytes: Uint8Array, mode: number = FILE_MODE): void {
  const unfinished = join(dirname(path), `${basename(path)}.${process.pid}${UNFINISHED_ENDING}`);
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;
  try {
    const file = openSync(unfinished, flags, mode);
    try {
      writeFileSync(file, bytes);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(unfinished, path);
  } catch (error) {
    rmSync(unfinished, { force: true });
    // Nobody has asked for a file of the other name.
    throw Object.assign(error as Error, { path });
  }
  syncFolder(dirname(path));
}

/** As writeDurably, for a file that its owner makes for others: a package, say. */
export function replaceFile(path: string, bytes: Uint8Array): void {
  writeDurably(path, bytes, SHARED_MODE);
}

/** Makes a folder for its owner alone, with those above it. */
export function makeFolder(path: string): void {
  const folder = resolve(path);
  if (existsSync(folder)) return;
  // One by one: Node's recursive mkdir never ends where a file system makes no folders, as /proc does.
  makeFolder(dirname(folder));
  try {
    mkdirSync(folder, { mode: FOLDER_MODE });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
  syncFolder(dirname(folder));
}

function syncFolder(path: string): void {
  const folder = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}
