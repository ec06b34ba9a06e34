import { type CheckReport, checkPolicy } from '../audit/check.js';
import { type VectorCoverage, vectorCoverage } from '../audit/vector-coverage.js';
import { runVectors, type VectorReport } from '../policy/vectors.js';
import type { TryOptions } from './policy-try.js';
import { resolvePolicy } from './resolve-policy.js';
import { OBJECTION_STATUS } from './status.js';

/**
 * Runs a module's vectors and generated hostile calls, and prints what failed: by vector, command and field; by rule and call.
 * @throws Error when there is no such module
 */
export async function showPolicyTest(
  module: string,
  { json, calls, seed, coverage: isWanted, threshold }: TryOptions,
): Promise<void> {
  const { policy, vectors } = await resolvePolicy(module);
  const vectorReport = vectors === undefined ? undefined : await runVectors(policy, vectors);
  const hostile = await checkPolicy(policy, {
    ...(calls === undefined ? {} : { calls }),
    ...(seed === undefined ? {} : { seed }),
    ...(vectors === undefined ? {} : { vectors }),
  });
  const coverage =
    vectors !== undefined && (isWanted === true || threshold !== undefined)
      ? await vectorCoverage(policy, vectors)
      : undefined;
  const result = {
    module: hostile.name,
    version: hostile.version,
    vectors: vectorReport ?? null,
    hostile,
    ...(coverage && { coverage }),
  };
  process.stdout.write(
    json
      ? `${JSON.stringify(result, null, 2)}\n`
      : renderText(vectorReport, hostile) + renderCoverage(coverage),
  );
  const isTooLittle = coverage !== undefined && coverage.percent < (threshold ?? 0);
  const failed =
    vectorReport === undefined || vectorReport.failures.length > 0 || !hostile.kept || isTooLittle;
  if (failed) process.exitCode = OBJECTION_STATUS;
}

function renderText(vectors: VectorReport | undefined, hostile: CheckReport): string {
  const { name, version, calls, seed } = hostile;
  const lines =
    vectors === undefined
      ? [`${name} ${version}: it has no test vectors, so that nothing says what it must answer.`]
      : [`${name} ${version}: ${vectors.passed} of ${vectors.total} vectors are answered as they say.`];
  for (const { vector, command, field, expected, actual } of vectors?.failures ?? [])
    lines.push(`  ${vector}`, `    ${command}: ${field} is ${text(actual)}, expected ${text(expected)}`);
  const broken = hostile.rules.filter(({ id, result }) => result === 'broken' && id !== 'vectors');
  lines.push(
    `${name} ${version}: ${calls} generated calls (seed ${seed}) ${broken.length === 0 ? 'break no rule' : `break ${broken.length} rules`}.`,
  );
  return `${[...lines, ...renderFindings(hostile)].join('\n')}\n`;
}

function renderCoverage(coverage: VectorCoverage | undefined): string {
  if (coverage === undefined) return '';
  const { total, shown, percent, neverAllowed, neverRefused, neverGiven, neverSettled } = coverage;
  const list = (title: string, names: string[]): string[] => names.map((name) => `  ${title}: ${name}`);
  return `${[
    `The vectors show ${shown} of the ${total} commands, file operations, settlements and reasons (${percent} %).`,
    ...list('no vector is allowed', neverAllowed),
    ...list('no vector says what follows', neverSettled),
    ...list('no vector is denied', neverRefused),
    ...list('no vector gets the reason', neverGiven),
  ].join('\n')}\n`;
}

/** What broke which rule, in indented lines. */
export function renderFindings({ rules }: CheckReport): string[] {
  return rules
    .filter(({ id, result }) => result === 'broken' && id !== 'vectors')
    .flatMap(({ id, title, violations, findings }) => [
      `  ${id} (${title}): broken ${violations === 1 ? 'once' : `${violations} times`}`,
      ...findings.flatMap(({ what, command, call }) => [
        `    ${command === undefined ? '' : `${command}: `}${what}`,
        ...(call === undefined ? [] : [`      ${JSON.stringify(call)}`]),
      ]),
    ]);
}

function text(value: unknown): string {
  return value === undefined ? 'absent' : JSON.stringify(value);
}
