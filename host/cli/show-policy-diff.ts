import { type ComparedPolicy, type DiffReport, diffPolicies } from '../audit/diff.js';
import type { Difference, Direction } from '../audit/diff-tables.js';
import type { TryOptions } from './policy-try.js';
import { resolvePolicy } from './resolve-policy.js';
import { OBJECTION_STATUS, WIDER_STATUS } from './status.js';

const TITLES: readonly [Direction, string][] = [
  ['wider', 'permits more'],
  ['narrower', 'permits less'],
  ['other', 'differs otherwise'],
];

/**
 * Prints what the second module permits and the first doesn't, and the other way round; the exit status tells which.
 * @throws Error when one of them is not there
 */
export async function showPolicyDiff(
  before: string,
  after: string,
  { json, calls, seed }: TryOptions,
): Promise<void> {
  const older = await compared(before);
  const newer = await compared(after);
  const report = await diffPolicies(older, newer, {
    ...(calls === undefined ? {} : { calls }),
    ...(seed === undefined ? {} : { seed }),
  });
  process.stdout.write(json ? `${JSON.stringify(report, null, 2)}\n` : renderDiff(report));
  if (report.wider > 0) process.exitCode = WIDER_STATUS;
  else if (report.differences.length > 0) process.exitCode = OBJECTION_STATUS;
}

async function compared(name: string): Promise<ComparedPolicy> {
  const { policy, vectors } = await resolvePolicy(name);
  return { ...policy, vectors };
}

/** A comparison in lines: what is wider first. */
export function renderDiff({ before, after, calls, differences }: DiffReport): string {
  const identity = ({ name, version, sequence }: DiffReport['before']): string =>
    `${name} ${version} (sequence ${sequence})`;
  const lines = [`${identity(after)} against ${identity(before)}, ${calls} calls judged by both:`];
  if (differences.length === 0) lines.push('no difference found');
  for (const [direction, title] of TITLES) {
    const found = differences.filter((one) => one.direction === direction);
    if (found.length > 0) lines.push('', `${title} (${found.length}):`, ...found.flatMap(renderDifference));
  }
  return `${lines.join('\n')}\n`;
}

function renderDifference({ what, aspect, before, after, witness }: Difference): string[] {
  return [
    `  ${what}, ${aspect}`,
    `    - ${before}`,
    `    + ${after}`,
    ...(witness === undefined ? [] : [`    call ${JSON.stringify(witness)}`]),
  ];
}
