import { readFileSync } from 'node:fs';
import type { ChainHead } from '../audit/chain.js';
import { type VerifyReport, verifyLog } from '../audit/verify.js';
import type { VerifyOptions } from './audit.js';
import { OBJECTION_STATUS } from './status.js';

const HASH = /^[0-9a-f]{64}$/;

/**
 * Prints whether a decision log is what was written.
 * @throws Error when a file can't be read, or the expected end is none
 */
export function showVerify(logs: string[], { expectHead, json }: VerifyOptions): void {
  const report = verifyLog(logs, expectHead === undefined ? undefined : expected(expectHead));
  process.stdout.write(json ? `${JSON.stringify(report, null, 2)}\n` : renderText(report));
  if (report.faults.length > 0) process.exitCode = OBJECTION_STATUS;
}

function expected(text: string): Partial<ChainHead> {
  if (HASH.test(text)) return { hash: text };
  const head = JSON.parse(readFileSync(text, 'utf8')) as Partial<ChainHead>;
  if (typeof head.hash === 'string' && HASH.test(head.hash) && typeof head.lines === 'number') return head;
  throw new Error(`${text} does not tell the end of a log: expected {"lines":…,"hash":"…"}.`);
}

function renderText({ files, lines, first, head, kinds, faults }: VerifyReport): string {
  const counts = Object.entries(kinds).map(([kind, count]) => `${count} ${kind}`);
  const told = [
    `${lines} lines in ${files.length === 1 ? 'one file' : `${files.length} files`}: ${counts.join(', ') || 'none of a decision log'}.`,
    ...(first > 1 ? [`The chain begins at line ${first}: earlier segments were not given.`] : []),
    ...faults.map(({ file, at, what }) => `${file}:${at}: ${what}`),
    faults.length === 0
      ? `The chain holds. Its end: ${head.lines} lines, ${head.hash}`
      : 'The log is not what was written.',
  ];
  return `${told.join('\n')}\n`;
}
