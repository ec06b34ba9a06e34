import { createHash } from 'node:crypto';

/** What the first line of a log has for the hash of the line before. */
export const NO_LINE = '0'.repeat(64);

/** Where a chain is: how many lines it has, and the hash of the last. */
export interface ChainHead {
  lines: number;
  hash: string;
}

/** A chain of no lines. */
export const EMPTY_CHAIN: ChainHead = { lines: 0, hash: NO_LINE };

/** SHA-256 of a line without its end, hexadecimal. */
export function hashOf(line: string): string {
  return createHash('sha256').update(line).digest('hex');
}

/**
 * The next line of a chain, without its end: the hash of the line before and the line's number come first.
 * @param body the rest of it, which has neither
 */
export function chained(head: ChainHead, body: object): { line: string; head: ChainHead } {
  const line = JSON.stringify({ previous: head.hash, line: head.lines + 1, ...body });
  return { line, head: { lines: head.lines + 1, hash: hashOf(line) } };
}
