import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../../host/root.js';

/** The C++ tests' folder, and where `make` puts what it makes there. */
export const NATIVE_TESTS = join(ROOT, 'test', 'native');
export const BUILD = join(NATIVE_TESTS, 'build');

/** What the Makefile's UNIT names: one program for each file under test. */
export const UNITS = [
  'plan',
  'plan_handles',
  'arena',
  'handle_tables',
  'guest_memory',
  'channel',
  'domain',
  'placeholder',
  'process_view',
  'descriptor_cache',
  'guest_view',
  'filter',
  'vm_memory',
  'vm_ring',
  'vm_guest',
  'remote_mapper',
  'waker',
] as const;

/** How a program ended, and its last words. */
export interface Ending {
  /** The exit code, or the signal's name. */
  status: number | string;
  output: string;
  errors: string;
}

/**
 * Builds what is not up to date.
 * @throws Error with the compiler's words
 */
export function build(target: 'unit' | 'fuzz' | 'plain'): void {
  mkdirSync(BUILD, { recursive: true });
  execFileSync('make', ['-C', NATIVE_TESTS, '-j2', target], { stdio: ['ignore', 'ignore', 'pipe'] });
}

/** The path of a unit's test program. */
export function programOf(unit: string): string {
  return join(BUILD, 'unit', `test-${unit}`);
}

/** The sentences that a test program has cases for. */
export function casesOf(program: string): string[] {
  return execFileSync(program, ['--list'], { encoding: 'utf8' }).trim().split('\n');
}

/**
 * Runs a program to its end, in the build folder.
 * @param timeLimitMs after which it is killed (the status is then SIGKILL)
 */
export function runToEnd(
  program: string,
  programArguments: readonly string[],
  timeLimitMs: number,
): Promise<Ending> {
  const child = spawn(program, programArguments, { cwd: BUILD, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text;
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), timeLimitMs);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      resolve({ status: code ?? signal ?? 'unknown', output, errors });
    });
  });
}
