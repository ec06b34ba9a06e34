import { PackageError } from '../package/errors.js';
import { systemWords } from '../system-error.js';

/** What a failure says to who typed the command: errors of the system about a file name that file, and then what is wrong with it; refusals have their codes. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error instanceof PackageError) return `refused (${error.code}): ${error.message}`;
  const { path } = error as NodeJS.ErrnoException;
  const words = systemWords(error);
  if (words === undefined || path === undefined) return error.message;
  return `${path}: ${words}.`;
}
