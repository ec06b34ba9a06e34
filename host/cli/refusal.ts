import { PackageError } from '../package/errors.js';
import { REFUSED_STATUS } from './status.js';

/**
 * Runs a command about packages. A refusal is its result, not Postern's failure: it has a status of its own, and a code; as JSON, where that
 * was asked for, on standard output.
 */
export async function refusing(json: boolean | undefined, work: () => Promise<void> | void): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof PackageError)) throw error;
    const { code, message } = error;
    if (json) printJson({ error: { code, message } });
    else process.stderr.write(`postern: refused (${code}): ${message}\n`);
    process.exitCode = REFUSED_STATUS;
  }
}

/** A result for programs. */
export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}
