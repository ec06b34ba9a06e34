import { writeFileSync } from 'node:fs';
import { type IsolationReport, isolationReport, type ReportSubject } from '../audit/report.js';
import { reportHtml } from '../audit/report-html.js';
import { defaultTrustPath } from '../package/locations.js';
import { openPackage, PACKAGE_ENDING, readPackageFile } from '../package/package.js';
import { signatureStates } from '../package/signatures.js';
import { TrustPolicy } from '../package/trust.js';
import { loadPolicies } from '../policy/store.js';
import { hostTrust } from '../serve/source.js';
import type { ReportOptions } from './audit.js';
import { resolvePolicy } from './resolve-policy.js';
import { linesOf, soundLog } from './show-replay.js';
import { OBJECTION_STATUS } from './status.js';
import { renderTable } from './table.js';

/**
 * Writes an isolation report: as text, as JSON, or as one HTML page.
 * @throws Error when there is no such module, or the log is not what was written
 */
export async function showReport(
  modules: string[],
  { html, json, log = [], trust: trustPath = defaultTrustPath() }: ReportOptions,
): Promise<void> {
  const names = modules.length > 0 ? modules : loadPolicies().map(({ manifest }) => manifest.name);
  const trust = hostTrust(trustPath).policy ?? TrustPolicy.nobody();
  const subjects: ReportSubject[] = [];
  for (const name of names)
    subjects.push({ ...(await resolvePolicy(name)), signers: signersOf(name, trust) });
  const { files } = log.length === 0 ? { files: [] } : soundLog(log);
  const lines = log.length === 0 ? undefined : [...linesOf(files)];
  const report = await isolationReport(subjects, lines, files);
  if (html !== undefined) writeFileSync(html, reportHtml(report));
  if (json) process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
  else if (html === undefined) process.stdout.write(renderText(report));
  if (report.classes.some(({ rules }) => rules.some(({ result }) => result === 'broken')))
    process.exitCode = OBJECTION_STATUS;
}

/** The signatures of a package, each verified by the trust policy. */
function signersOf(name: string, trust: TrustPolicy): ReportSubject['signers'] {
  if (!name.endsWith(PACKAGE_ENDING)) return null;
  const { members, manifest } = openPackage(readPackageFile(name));
  return signatureStates(members, manifest.class, trust, new Date()).map(
    ({ fingerprint, name: signer, refusal }) => ({
      fingerprint,
      name: signer ?? null,
      refusal: refusal?.message ?? null,
    }),
  );
}

function renderText({ classes }: IsolationReport): string {
  return classes
    .map(({ class: className, name, version, sequence, digest, commands, tables, rules, seen, signers }) => {
      const served = commands.filter(({ refused }) => refused === null);
      const broken = rules.filter(({ result }) => result === 'broken').map(({ id }) => id);
      const rows = commands.map(({ name: command, access, headBytes, refused, requires, denials }) => [
        command,
        refused === null ? access : 'refused',
        refused === null && headBytes > 0 ? String(headBytes) : '',
        requires.map(({ table }) => table).join(', '),
        refused ?? denials.map(({ errno, reason }) => `${errno}: ${reason}`).join('; '),
      ]);
      const lines = [
        `${className}: ${name} ${version}, sequence ${sequence}, sha256:${digest}`,
        `  ${served.length} commands and file operations served, ${commands.length - served.length} refused by name`,
        `  signed by: ${signedBy(signers)}`,
        `  isolation rules: ${broken.length === 0 ? 'all kept' : `broken: ${broken.join(', ')}`}`,
        ...tables.map(
          ({ name: table, requiredBy }) =>
            `  handles '${table}' must be the guest's own in ${requiredBy.join(', ')}`,
        ),
        ...(seen === null ? [] : [`  in the log: ${seen.allowed} allowed, ${seen.denied} denied`]),
      ];
      return `${lines.join('\n')}\n\n${renderTable(['command', 'access', 'bytes', 'own handles', 'denied when'], rows)}`;
    })
    .join('\n');
}

function signedBy(signers: ReportSubject['signers']): string {
  if (signers === null) return 'nobody (it came in no package)';
  if (signers.length === 0) return 'nobody';
  return signers
    .map(
      ({ name, fingerprint, refusal }) =>
        `${name ?? fingerprint}${refusal === null ? '' : ` (not good: ${refusal})`}`,
    )
    .join(', ');
}
