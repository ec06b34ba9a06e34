import { execFileSync, spawn } from 'node:child_process';
import { join } from 'node:path';
import { ROOT } from '../../host/root.js';

const AGENT_FOLDER = join(ROOT, 'native', 'agent');

/** The agent with its sanitizers, and the C programs that drive agents. */
export const BUILT = {
  agent: join(AGENT_FOLDER, 'build', 'postern-agent'),
  sanitizedAgent: join(AGENT_FOLDER, 'build', 'postern-agent-sanitized'),
  testAgent: join(AGENT_FOLDER, 'build', 'test-agent'),
  testVm: join(AGENT_FOLDER, 'build', 'test-vm'),
};

/** Builds what is not up to date. */
export function buildForTests(): void {
  execFileSync('make', ['-C', AGENT_FOLDER, 'all', 'sanitized'], { stdio: ['ignore', 'ignore', 'pipe'] });
}

/** The cases that a C test program has; a case with the word `locked` needs an agent that is locked down. */
export function casesOf(program: string): { name: string; lockedOnly: boolean }[] {
  const lines = execFileSync(program, ['--list'], { encoding: 'utf8' }).trim().split('\n');
  return lines.map((line) => {
    const [name = '', word] = line.split(' ');
    return { name, lockedOnly: word === 'locked' };
  });
}

/**
 * Runs a C test program.
 * @param descriptors what it inherits from 3 on
 * @throws Error with what it said when it fails
 */
export function runCase(
  program: string,
  programArguments: readonly string[],
  descriptors: readonly number[] = [],
): Promise<void> {
  const child = spawn(program, programArguments, { stdio: ['ignore', 'ignore', 'pipe', ...descriptors] });
  let words = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    words += chunk.toString();
  });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status, signal) => {
      if (status === 0) resolve();
      else reject(new Error(`${programArguments.join(' ')} failed (${signal ?? status}):\n${words}`));
    });
  });
}
