import type pino from 'pino';
import { DecisionLog } from '../audit/log.js';
import type { AuditOptions } from './audit-log.js';

/**
 * Opens the decision log that was asked for; undefined where none was.
 * @throws Error when it can't be written, or options are there that have no log to be about
 */
export async function openAuditLog(
  { auditLog, auditArguments, auditRedact, auditSample }: AuditOptions,
  log: pino.Logger,
): Promise<DecisionLog | undefined> {
  if (auditLog === undefined) {
    if (auditArguments !== undefined || auditRedact !== undefined || auditSample !== undefined)
      throw new Error(
        '--audit-arguments, --audit-redact and --audit-sample are about a log: give --audit-log FILE too.',
      );
    return undefined;
  }
  return await DecisionLog.open({
    path: auditLog,
    tellsArguments: auditArguments ?? false,
    redact: auditRedact ?? [],
    sample: auditSample ?? 1,
    onTrouble: (text, lines = []) => {
      process.stderr.write([`postern: ${text}`, ...lines, ''].join('\n'));
      // A warning, as a host tells the errors of its log on standard error itself.
      log.warn({ lines: lines.length }, text);
    },
  });
}

/** Ends a decision log, and tells its end. */
export async function closeAuditLog(audit: DecisionLog | undefined, log: pino.Logger): Promise<void> {
  if (audit !== undefined) log.info({ ...(await audit.close()) }, 'the decision log ends');
}
