import { type CheckReport, checkPolicy } from '../audit/check.js';
import { loadPolicies, type PolicyPackage } from '../policy/store.js';
import type { TryOptions } from './policy-try.js';
import { resolvePolicy } from './resolve-policy.js';
import { renderFindings } from './show-policy-test.js';
import { OBJECTION_STATUS } from './status.js';
import { renderTable } from './table.js';

/**
 * Runs the battery of isolation rules against a module and prints what came of each.
 * @throws Error when there is no such module
 */
export async function showCheck(module: string, { json, calls, seed }: TryOptions): Promise<void> {
  const { policy, vectors } = await resolvePolicy(module, true);
  const reference = referenceFor(policy);
  const report = await checkPolicy(policy, {
    ...(calls === undefined ? {} : { calls }),
    ...(seed === undefined ? {} : { seed }),
    ...(vectors === undefined ? {} : { vectors }),
    ...(reference === undefined ? {} : { reference }),
  });
  process.stdout.write(json ? `${JSON.stringify(report, null, 2)}\n` : renderText(report));
  if (!report.kept) process.exitCode = OBJECTION_STATUS;
}

/** This repository's module of the same class, where the module is another. */
function referenceFor({ manifest, digest }: PolicyPackage): PolicyPackage | undefined {
  return loadPolicies().find((known) => known.manifest.class === manifest.class && known.digest !== digest);
}

function renderText(report: CheckReport): string {
  const { name, version, calls, seed, rules } = report;
  const rows = rules.map(({ id, title, result, checks }) => [id, result, String(checks), title]);
  const head = `${name} ${version}: ${calls} generated calls, seed ${seed}\n`;
  const vectors = rules.filter(({ id, result }) => id === 'vectors' && result === 'broken');
  const lines = [
    ...renderFindings(report),
    ...vectors.flatMap(({ findings }) => findings.map(({ what }) => `  vectors: ${what}`)),
  ];
  return (
    head + renderTable(['rule', '', 'checks', ''], rows) + (lines.length === 0 ? '' : `${lines.join('\n')}\n`)
  );
}
