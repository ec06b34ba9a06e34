import { PackageError } from './errors.js';

/** JSON as packages have it: two spaces, one line feed at the end. The same value gives the same bytes. */
export function canonicalJson(value: unknown): Buffer {
  return Buffer.from(`${JSON.stringify(value, null, 2)}\n`);
}

/**
 * Reads JSON that must be as canonicalJson writes it, so that no two readers can see different things in it: a repeated key, say.
 * @param what the member's name, for the errors
 * @throws PackageError POSTERN_PKG_NOT_UTF8, POSTERN_PKG_NOT_JSON or POSTERN_PKG_JSON_NOT_CANONICAL
 */
export function parseCanonicalJson(bytes: Uint8Array, what: string): unknown {
  const text = textOf(bytes, what);
  const value = parsed(text, what);
  if (!rewritten(value, what).equals(bytes))
    throw new PackageError(
      'POSTERN_PKG_JSON_NOT_CANONICAL',
      `${what} has a repeated key, or numbers, spaces or escapes that are written otherwise by JSON.stringify(value, null, 2).`,
    );
  return value;
}

function textOf(bytes: Uint8Array, what: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (error) {
    throw new PackageError('POSTERN_PKG_NOT_UTF8', `${what} is not UTF-8.`, { cause: error });
  }
}

function parsed(text: string, what: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw notJson(what, error as Error);
  }
}

/** What is nested by the thousand can be read, but not be written. */
function rewritten(value: unknown, what: string): Buffer {
  try {
    return canonicalJson(value);
  } catch (error) {
    throw notJson(what, error as Error);
  }
}

function notJson(what: string, cause: Error): PackageError {
  return new PackageError('POSTERN_PKG_NOT_JSON', `${what} is not JSON: ${cause.message}.`, { cause });
}
