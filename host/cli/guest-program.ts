import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../root.js';

/** What a driver VM that shares this machine's root has of its own there (native/agent/vm.c). */
const HIDDEN_IN_DRIVER_VM = /^\/(tmp|run|dev|proc|sys)\//;
const NAME_START = '/var/tmp/postern-guests-';

let folder: string | undefined;

/**
 * Compiles test/guests/NAME.c, statically, to where a driver VM that shares this machine's root has it too. The program's path.
 * @throws Error with the compiler's words
 */
export function compileGuestProgram(name: string): string {
  folder ??= makeFolder();
  const program = join(folder, name);
  const options = ['-std=gnu11', '-O2', '-Wall', '-Wextra', '-Werror', '-static'];
  execFileSync('cc', [...options, '-o', program, join(ROOT, 'test', 'guests', `${name}.c`)], {
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  return program;
}

/** Below the repository, unless the driver VM does not see that. */
function makeFolder(): string {
  const cached = join(ROOT, '.cache', 'guests');
  if (!HIDDEN_IN_DRIVER_VM.test(ROOT)) {
    mkdirSync(cached, { recursive: true });
    return cached;
  }
  const made = mkdtempSync(NAME_START);
  // QEMU reads it as nobody.
  chmodSync(made, 0o755);
  process.once('exit', removeGuestPrograms);
  return made;
}

/** Removes the programs that are not below the repository; the end of the process does, too. */
export function removeGuestPrograms(): void {
  if (folder?.startsWith(NAME_START)) rmSync(folder, { recursive: true, force: true });
  folder = undefined;
}
