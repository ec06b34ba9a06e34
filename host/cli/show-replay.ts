import { readFileSync } from 'node:fs';
import { type LoggedDecision, type ReplayReport, replay } from '../audit/replay.js';
import { verifyLog } from '../audit/verify.js';
import type { ReplayOptions } from './replay.js';
import { resolvePolicy } from './resolve-policy.js';
import { OBJECTION_STATUS, WIDER_STATUS } from './status.js';
import { renderTable } from './table.js';

/**
 * Prints what another module would have decided otherwise.
 * @throws Error when a log is no decision log or its chain is broken, it has nothing of the module's class, or there is no such module
 */
export async function showReplay(logs: string[], { policy: name, json }: ReplayOptions): Promise<void> {
  const { policy } = await resolvePolicy(name);
  const { files } = soundLog(logs);
  const report = await replay(linesOf(files), policy);
  // A gate that was given the wrong log or the wrong module must not pass.
  if (report.decisions === 0)
    throw new Error(`The log has no decision of the class '${report.class}': nothing can be judged again.`);
  process.stdout.write(json ? `${JSON.stringify(report, null, 2)}\n` : renderText(report));
  if (report.changes.some(({ direction }) => direction === 'wider')) process.exitCode = WIDER_STATUS;
  else if (report.changes.length > 0) process.exitCode = OBJECTION_STATUS;
}

/**
 * The files of a log whose chain holds, in their order.
 * @throws Error with what is wrong with the chain
 */
export function soundLog(logs: string[]): { files: string[] } {
  const { files, faults } = verifyLog(logs);
  if (faults.length === 0) return { files };
  const told = faults.map(({ file, at, what }) => `  ${file}:${at}: ${what}`);
  throw new Error(['The log is not what was written:', ...told].join('\n'));
}

/** The lines of a log that has been verified. */
export function* linesOf(files: string[]): Generator<LoggedDecision> {
  for (const file of files)
    for (const line of readFileSync(file, 'utf8').split('\n'))
      if (line !== '') yield JSON.parse(line) as LoggedDecision;
}

function renderText({ class: className, decisions, judged, byCommandOnly, changes }: ReplayReport): string {
  const counted = `${className}: ${decisions} decisions, ${judged} judged again`;
  const partly =
    byCommandOnly === 0
      ? ''
      : `, ${byCommandOnly} looked up by their command only (the log does not have their arguments)`;
  const head = `${counted}${partly}; ${changes.length} changes.\n`;
  if (changes.length === 0) return head;
  const rows = changes.map(({ line, guest, command, direction, recorded, replayed }) => [
    String(line),
    guest,
    command,
    direction,
    recorded,
    replayed,
  ]);
  return head + renderTable(['line', 'guest', 'command', '', 'recorded', 'by this module'], rows);
}
