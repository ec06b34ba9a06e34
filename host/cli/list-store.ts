import { type LyingRefused, lyingRefused } from '../package/inbox.js';
import type { ClassRecord, HistoryEntry, RefusedFile, StoreEntry } from '../package/state.js';
import type { PolicyStore } from '../package/store.js';
import type { StoredPolicy, UnfitModule } from '../package/stored.js';
import { type StoreChoice, storeOf } from './change-store.js';
import { printJson, refusing } from './refusal.js';
import { REFUSED_STATUS } from './status.js';
import { renderTable } from './table.js';

/** `postern policy list`. */
export async function listStore(options: StoreChoice & { history?: boolean }): Promise<void> {
  await refusing(options.json, async () => {
    const store = storeOf(options);
    if (options.history) showHistory(store, options.json);
    else await showModules(store, options.json);
  });
}

/** A class whose module can't be loaded is a refusal, of that class alone: it has the status of one. */
async function showModules(store: PolicyStore, json: boolean | undefined): Promise<void> {
  const records = store.exists ? store.state().classes : {};
  const { policies, unfit } = await store.inForce();
  const refused = lyingRefused(store);
  policies.sort((a, b) => (a.manifest.class < b.manifest.class ? -1 : 1));
  if (unfit.length > 0) process.exitCode = REFUSED_STATUS;
  if (json) {
    const classes = policies.map((policy) => listed(policy, records[policy.manifest.class]));
    printJson({ store: store.exists ? store.folder : null, classes, unfit, refused });
    return;
  }
  const rows = policies.map((policy) => rowOf(policy, records[policy.manifest.class]));
  process.stdout.write(
    renderTable(
      ['class', 'version', 'sequence', 'from', 'signed by', 'before it', 'candidate', 'quarantined'],
      rows,
    ) +
      renderUnfit(unfit) +
      renderRefused(refused) +
      (store.exists
        ? ''
        : `\nThere is no policy store at ${store.folder}: all modules are those that came with Postern.\n`),
  );
}

function renderUnfit(unfit: readonly UnfitModule[]): string {
  return unfit
    .map(
      ({ class: deviceClass, version, code, message }) =>
        `\n${deviceClass} ${version} can't be loaded, so nobody gets devices of the class (${code}): ${message}\n`,
    )
    .join('');
}

/** Packages that were dropped in the inbox and lie refused there; empty where there are none. */
export function renderRefused(refused: readonly LyingRefused[]): string {
  if (refused.length === 0) return '';
  const lines = refused.map(
    ({ at, file, path, code, why }) => `  ${at} ${file} (${code}): ${why}\n    ${path}\n`,
  );
  return `\nRefused, and still in the inbox (drop what is mended there; remove what is not wanted):\n${lines.join('')}`;
}

function listed({ manifest, digest, entry }: StoredPolicy, record: ClassRecord | undefined): object {
  const { class: deviceClass, name, version, sequence } = manifest;
  return {
    class: deviceClass,
    inForce: {
      name,
      version,
      sequence,
      digest,
      from: entry === undefined ? 'postern' : 'store',
      signers: entry?.signers ?? null,
    },
    sequenceHighest: record?.sequenceHighest ?? sequence,
    previous: record?.previous ?? [],
    candidate: record?.candidate ?? null,
    quarantined: record?.quarantined ?? [],
  };
}

function rowOf({ manifest, entry }: StoredPolicy, record: ClassRecord | undefined): string[] {
  const versions = (entries: readonly (StoreEntry | null)[]): string =>
    entries.flatMap((other) => (other === null ? [] : `${other.version} (${other.sequence})`)).join(', ');
  return [
    manifest.class,
    manifest.version,
    String(manifest.sequence),
    entry === undefined ? 'Postern' : 'the store',
    entry === undefined ? '' : entry.signers.join(', ') || 'nobody',
    versions(record?.previous ?? []),
    versions([record?.candidate ?? null]),
    (record?.quarantined ?? []).map(({ version }) => version).join(', '),
  ];
}

function showHistory(store: PolicyStore, json: boolean | undefined): void {
  const refusals = store.refusals().map((refusal) => ({ ...refusal, act: 'refuse' as const }));
  const entries = [...store.state().history, ...refusals].sort((a, b) => (a.at < b.at ? -1 : 1));
  if (json) {
    printJson(entries);
    return;
  }
  process.stdout.write(
    renderTable(['when', 'who', 'what', 'class', 'version', 'sequence', 'why'], entries.map(historyRow)),
  );
}

function historyRow(entry: HistoryEntry | (RefusedFile & { act: 'refuse' })): string[] {
  const { at, by, act, why = '' } = entry;
  if (act === 'refuse') return [at, by, act, '', '', '', `${entry.file} (${entry.code}): ${why}`];
  return [at, by, act, entry.class, entry.version, String(entry.sequence), why];
}
