import { PackageError } from '../package/errors.js';

/** What a user can do something about, in words. Other errors of the system are told with their names. */
const IN_WORDS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file or folder',
  EEXIST: 'it is there already, and stays as it is',
  EACCES: 'this user may not do that',
  EPERM: 'this user may not do that',
  EISDIR: 'it is a folder, expected a file',
  ENOTDIR: 'a part of the path is a file, expected a folder',
  EROFS: 'the file system is read-only',
  ENOSPC: 'the file system is full',
};

/** What a failure says to who typed the command: errors of the system about a file name that file, and then what is wrong with it; refusals have their codes. */
export function messageOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error instanceof PackageError) return `refused (${error.code}): ${error.message}`;
  const { code, path } = error as NodeJS.ErrnoException;
  const words = code === undefined ? undefined : IN_WORDS[code];
  if (words === undefined || path === undefined) return error.message;
  return `${path}: ${words} (${code}).`;
}
