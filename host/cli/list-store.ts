import type { ClassRecord, HistoryEntry, StoreEntry } from '../package/state.js';
import type { PolicyStore, StoredPolicy } from '../package/store.js';
import { type StoreChoice, storeOf } from './change-store.js';
import { printJson, refusing } from './refusal.js';
import { renderTable } from './table.js';

/** `postern policy list`. */
export async function listStore(options: StoreChoice & { history?: boolean }): Promise<void> {
  await refusing(options.json, async () => {
    const store = storeOf(options);
    if (options.history) showHistory(store, options.json);
    else await showModules(store, options.json);
  });
}

async function showModules(store: PolicyStore, json: boolean | undefined): Promise<void> {
  const records = store.exists ? store.state().classes : {};
  const policies = await store.inForce();
  policies.sort((a, b) => (a.manifest.class < b.manifest.class ? -1 : 1));
  if (json) {
    const classes = policies.map((policy) => listed(policy, records[policy.manifest.class]));
    printJson({ store: store.exists ? store.folder : null, classes });
    return;
  }
  const rows = policies.map((policy) => rowOf(policy, records[policy.manifest.class]));
  process.stdout.write(
    renderTable(
      ['class', 'version', 'sequence', 'from', 'signed by', 'before it', 'candidate', 'quarantined'],
      rows,
    ) +
      (store.exists
        ? ''
        : `\nThere is no policy store at ${store.folder}: all modules are those that came with Postern.\n`),
  );
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
  const { history } = store.state();
  if (json) {
    printJson(history);
    return;
  }
  const row = ({ at, by, act, class: deviceClass, version, sequence, why }: HistoryEntry): string[] => [
    ...[at, by, act, deviceClass, version, String(sequence), why ?? ''],
  ];
  process.stdout.write(
    renderTable(['when', 'who', 'what', 'class', 'version', 'sequence', 'why'], history.map(row)),
  );
}
