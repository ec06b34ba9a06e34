import { type Coverage, coverageOf } from '../policy/coverage.js';
import { loadPolicies, type PolicyPackage } from '../policy/store.js';
import type { CoverageOptions } from './policy-coverage.js';
import { OBJECTION_STATUS } from './status.js';
import { renderTable } from './table.js';

/**
 * Prints what the tables of one class, or of all, say of the commands in the installed headers.
 * @throws Error when there is no such class, or a header is not installed
 */
export async function showCoverage(className: string | undefined, { json }: CoverageOptions): Promise<void> {
  const coverages: Coverage[] = [];
  for (const policy of chosen(className)) coverages.push(await coverageOf(policy));
  const results = coverages.map(counted);
  const text = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;
  process.stdout.write(
    json ? text(className === undefined ? results : results[0]) : coverages.map(renderText).join('\n'),
  );
  if (coverages.some(({ missing }) => missing.length > 0)) process.exitCode = OBJECTION_STATUS;
}

function chosen(className: string | undefined): PolicyPackage[] {
  const policies = loadPolicies();
  if (className === undefined) return policies;
  const found = policies.filter(({ manifest }) => manifest.class === className);
  if (found.length > 0) return found;
  const names = policies.map(({ manifest }) => manifest.class).join(', ');
  throw new Error(`There is no class '${className}'. There are: ${names}.`);
}

function counted({ supported, refused, ...rest }: Coverage): object {
  const { class: className, header, missing } = rest;
  return { class: className, header, supported: supported.length, refused: refused.length, missing };
}

function renderText({ class: className, header, supported, refused, missing }: Coverage): string {
  const total = supported.length + refused.length + missing.length;
  const known = `${className}: ${total - missing.length} of ${total} commands of ${header} are known: `;
  const counts = `${supported.length} supported, ${refused.length} refused, ${missing.length} missing.\n`;
  const rows = [
    ...missing.map((name) => [name, 'missing', '']),
    ...refused.map(({ name, reason }) => [name, 'refused', reason]),
  ];
  return known + counts + (rows.length === 0 ? '' : renderTable(['command', '', 'why'], rows));
}
