import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Walks up from `folder` to the folder that holds package.json, from the sources as from `dist/`. */
function findRoot(folder: string): string {
  if (existsSync(join(folder, 'package.json'))) return folder;
  const parent = dirname(folder);
  if (parent === folder)
    throw new Error(
      'No package.json above the program: run Postern from a complete clone of its repository.',
    );
  return findRoot(parent);
}

/** The top of the repository: an absolute path without a trailing slash. */
export const ROOT = findRoot(dirname(fileURLToPath(import.meta.url)));
