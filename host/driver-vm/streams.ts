import type { ChildProcess } from 'node:child_process';

/**
 * A child process that has the streams that were asked for. Where no descriptors are left Node makes none, and tells why only later.
 * @param what the child's name in the error
 * @throws Error when there are none
 */
export function withStreams(child: ChildProcess, what: string): ChildProcess {
  if ((child.stdio as ChildProcess['stdio'] | undefined) !== undefined) return child;
  child.once('error', () => {}); // Told here.
  throw new Error(`${what} could not be started: this process has too many files open (ulimit -n).`);
}
