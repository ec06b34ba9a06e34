import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../root.js';

/** Below the repository, so that a driver VM that shares this machine's root has the programs too. */
const PROGRAMS = join(ROOT, '.cache', 'programs');
const FLAGS = ['-std=gnu11', '-D_GNU_SOURCE', '-O2', '-Wall', '-Wextra', '-Werror', '-pthread'];

/** What test/guests/render.c needs: OpenGL ES and its ways to a graphics card. */
export const RENDER_LIBRARIES: readonly string[] = ['EGL', 'GLESv2', 'gbm', 'm'];

/** Makes a program dynamically linked, which a library must be preloaded into. */
export const DYNAMICALLY: readonly string[] = ['c'];

/**
 * Compiles test/FOLDER/NAME.c where it, or a header beside it, has changed. The program's path.
 * @param libraries what it needs beside the C library, by name. Without any it is static, and so does not care what else is installed.
 * @throws Error with the compiler's words
 */
export function compileGuestProgram(
  name: string,
  folder = 'guests',
  libraries: readonly string[] = [],
): string {
  const sources = join(ROOT, 'test', folder);
  const source = join(sources, `${name}.c`);
  const program = join(PROGRAMS, folder, [name, ...libraries].join('-'));
  const headers = readdirSync(sources).filter((file) => file.endsWith('.h'));
  const newest = Math.max(...[source, ...headers.map((file) => join(sources, file))].map(modified));
  if (modified(program) > newest) return program;
  mkdirSync(join(PROGRAMS, folder), { recursive: true });
  const linking = libraries.length === 0 ? ['-static'] : libraries.map((library) => `-l${library}`);
  const { status, stderr } = spawnSync('cc', [...FLAGS, '-o', program, source, ...linking], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`${source} does not compile:\n${stderr}`);
  return program;
}

function modified(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}
