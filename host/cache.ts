import { accessSync, constants, existsSync, mkdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { ROOT } from './root.js';

/** What came with this installation, or was made by whoever may write to it. */
export const SHARED_CACHE = join(ROOT, '.cache');

/**
 * The folder below which this user keeps what can be made anew: the installation's own, or, where somebody else has installed Postern, one
 * of the user's (XDG Base Directory Specification).
 */
export function ownCache(): string {
  if (mayWrite(existsSync(SHARED_CACHE) ? SHARED_CACHE : ROOT)) return SHARED_CACHE;
  const { XDG_CACHE_HOME } = process.env;
  const caches =
    XDG_CACHE_HOME !== undefined && isAbsolute(XDG_CACHE_HOME) ? XDG_CACHE_HOME : join(homedir(), '.cache');
  return join(caches, 'postern');
}

/** Where a file of that name is that everybody may use: the installation's, if it is there, else this user's own, there or not. */
export function cachedFile(folder: string, name: string): string {
  const shared = join(SHARED_CACHE, folder, name);
  return existsSync(shared) ? shared : join(ownCache(), folder, name);
}

/**
 * Makes a folder below `ownCache`.
 * @throws Error that says how to choose another place, where this user may not write there
 */
export function makeCacheFolder(path: string): void {
  try {
    mkdirSync(path, { recursive: true });
  } catch (error) {
    throw new Error(
      `What a driver VM needs can be kept neither in ${SHARED_CACHE} nor in ${path} (${(error as NodeJS.ErrnoException).code}): ` +
        'name a folder that this user may write to by the environment variable XDG_CACHE_HOME.',
    );
  }
}

function mayWrite(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}
