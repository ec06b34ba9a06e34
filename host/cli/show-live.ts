import { askHost } from '../serve/client.js';
import { defaultSocketPath } from '../serve/door.js';
import type { ClassState, ModuleName, ShadowReport } from '../serve/protocol.js';
import { renderRefused } from './list-store.js';
import type { LiveOptions } from './policy-live.js';
import { printJson } from './refusal.js';
import { renderTable } from './table.js';

/** Prints what candidates found. */
export async function showShadow({ socket, json }: LiveOptions): Promise<void> {
  const { classes } = await askHost(socket ?? defaultSocketPath(), { request: 'shadow' }, 'shadow');
  if (json) printJson(classes);
  else
    process.stdout.write(
      classes.length === 0 ? 'No candidate judges.\n' : classes.map(renderReport).join('\n'),
    );
}

function renderReport({ class: deviceClass, candidate, judged, lost, differences }: ShadowReport): string {
  const missed = lost === 0 ? '' : `, ${lost} came too fast to be recorded`;
  const head = `${deviceClass}: candidate ${candidate.version} (sequence ${candidate.sequence}), ${judged} decisions${missed}, `;
  if (differences.length === 0) return `${head}no difference\n`;
  const rows = differences.map(({ kind, command, count, guest, inForce, candidate: other }) => [
    kind,
    command,
    String(count),
    guest,
    JSON.stringify(inForce),
    JSON.stringify(other),
  ]);
  const table = renderTable(['', 'command', 'times', 'first by', 'in force', 'candidate'], rows);
  return `${head}${differences.length} differences\n${table}`;
}

/** Prints what the running host has in force. */
export async function showStatus({ socket, json }: LiveOptions): Promise<void> {
  const { classes, refused } = await askHost(
    socket ?? defaultSocketPath(),
    { request: 'policies' },
    'policies',
  );
  if (json) printJson({ classes, refused });
  else process.stdout.write(renderStates(classes) + renderRefused(refused));
}

function renderStates(classes: readonly ClassState[]): string {
  const rows = classes.map(
    ({ class: deviceClass, inForce, previous, candidate, quarantined, ...failures }) => [
      deviceClass,
      inForce === null ? 'nothing' : versionOf(inForce),
      versionOf(previous),
      versionOf(candidate),
      quarantined.map(versionOf).join(', '),
      failures.failure ?? failures.candidateFailure ?? '',
    ],
  );
  const head = ['class', 'in force', 'falls back to', 'candidate', 'quarantined', 'what is wrong'];
  return renderTable(head, rows);
}

function versionOf(module: ModuleName | null): string {
  return module === null ? '' : `${module.version} (${module.sequence})`;
}
