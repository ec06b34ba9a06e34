import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../root.js';

/** Below the repository, so that a driver VM that shares this machine's root has the programs too. */
const PROGRAMS = join(ROOT, '.cache', 'programs');
/** Static, so that a program is the same beside the driver as here. */
const FLAGS = ['-std=gnu11', '-D_GNU_SOURCE', '-O2', '-Wall', '-Wextra', '-Werror', '-pthread', '-static'];

/**
 * Compiles test/FOLDER/NAME.c where it, or a header beside it, has changed. The program's path.
 * @throws Error with the compiler's words
 */
export function compileGuestProgram(name: string, folder = 'guests'): string {
  const sources = join(ROOT, 'test', folder);
  const source = join(sources, `${name}.c`);
  const program = join(PROGRAMS, folder, name);
  const headers = readdirSync(sources).filter((file) => file.endsWith('.h'));
  const newest = Math.max(...[source, ...headers.map((file) => join(sources, file))].map(modified));
  if (modified(program) > newest) return program;
  mkdirSync(join(PROGRAMS, folder), { recursive: true });
  const { status, stderr } = spawnSync('cc', [...FLAGS, '-o', program, source], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${source} does not compile:\n${stderr}`);
  return program;
}

function modified(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}
