import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../root.js';

/** Below the repository, so that a driver VM that shares this machine's root has the programs too. */
const FOLDER = join(ROOT, '.cache', 'guests');

/** Where the program of test/guests/NAME.c is, once it has been compiled. */
export function guestProgramPath(name: string): string {
  return join(FOLDER, name);
}

/**
 * Compiles test/guests/NAME.c, statically.
 * @throws Error with the compiler's words
 */
export function compileGuestProgram(name: string): void {
  mkdirSync(FOLDER, { recursive: true });
  const source = join(ROOT, 'test', 'guests', `${name}.c`);
  const options = ['-std=gnu11', '-O2', '-Wall', '-Wextra', '-Werror', '-static'];
  execFileSync('cc', [...options, '-o', guestProgramPath(name), source], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
}
