import { lstatSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { PackageError } from './errors.js';
import { PACKAGE_ENDING } from './package.js';
import type { RefusedFile } from './state.js';
import type { PolicyStore } from './store.js';
import type { TrustPolicy } from './trust.js';

/** What a file that is refused is called in the inbox from then on. */
const REFUSED_ENDING = '.refused';

/** A file that lies refused in an inbox. */
export interface LyingRefused extends RefusedFile {
  /** Where it lies. */
  path: string;
}

/** What became of a file that was dropped: the version that is in force, or why there is none. */
export type Taken =
  | { file: string; version: string }
  | { file: string; path: string; code: string; message: string; notRecorded?: string };

/**
 * Installs what was dropped in a store's inbox. What is refused stays there under another name, so that nobody looks for it in vain, and
 * the store remembers why. Nothing is thrown: whatever happens to one file is that file's.
 * @param trust reads whose packages are taken
 */
export async function takeInbox(store: PolicyStore, trust: () => TrustPolicy): Promise<Taken[]> {
  const taken: Taken[] = [];
  for (const file of readdirSync(store.inbox).filter((name) => name.endsWith(PACKAGE_ENDING))) {
    const path = join(store.inbox, file);
    try {
      const { version } = await store.install(path, { trust: trust() });
      rmSync(path, { force: true });
      taken.push({ file, version });
    } catch (error) {
      taken.push(await refuse(store, file, path, error as Error));
    }
  }
  return taken;
}

/** What lies refused in a store's inbox, the oldest first: it is told of until somebody removes it. */
export function lyingRefused(store: PolicyStore): LyingRefused[] {
  const last = new Map(store.refusals().map((refusal) => [refusal.file, refusal]));
  return [...last.values()].flatMap((refusal) => {
    const path = join(store.inbox, refusal.file + REFUSED_ENDING);
    return isThere(path) ? [{ ...refusal, path }] : [];
  });
}

async function refuse(store: PolicyStore, file: string, path: string, error: Error): Promise<Taken> {
  const code = error instanceof PackageError ? error.code : 'POSTERN_STORE_INBOX';
  const refusal = { file, path: path + REFUSED_ENDING, code, message: error.message };
  try {
    if (isThere(path)) setAside(path);
    await store.noteRefused(file, code, error.message);
    return refusal;
  } catch (failure) {
    return { ...refusal, notRecorded: (failure as Error).message };
  }
}

/** Replaces what was refused under the same name before, also where that is a folder. */
function setAside(path: string): void {
  rmSync(path + REFUSED_ENDING, { recursive: true, force: true });
  renameSync(path, path + REFUSED_ENDING);
}

/** Also of a link that leads nowhere. */
function isThere(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}
