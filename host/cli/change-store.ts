import { defaultStoreFolder, defaultTrustPath } from '../package/locations.js';
import type { StoreEntry } from '../package/state.js';
import { PolicyStore } from '../package/store.js';
import { readTrustPolicy } from '../package/trust.js';
import { printJson, refusing } from './refusal.js';
import { type HostChoice, takeover, tellTakeover, type Wanted } from './takeover.js';

/** Which store is meant, and for whom the result is. */
export interface StoreChoice {
  store?: string;
  json?: boolean;
}

/** What `postern policy install` was asked for. */
export interface InstallChoice extends StoreChoice, HostChoice {
  trust?: string;
  allowUnsigned?: boolean;
  allowDowngrade?: boolean;
  candidate?: boolean;
  why?: string;
}

/** What `postern policy rollback` was asked for. */
export interface RollbackChoice extends StoreChoice, HostChoice {
  why?: string;
}

/** The store that is meant. */
export function storeOf({ store }: StoreChoice): PolicyStore {
  return new PolicyStore(store ?? defaultStoreFolder());
}

/** `postern policy install`. */
export async function installPackage(file: string, options: InstallChoice): Promise<void> {
  const { allowUnsigned = false, allowDowngrade = false, candidate = false, why } = options;
  await refusing(options.json, async () => {
    const store = storeOf(options);
    const trust = allowUnsigned ? undefined : readTrustPolicy(options.trust ?? defaultTrustPath());
    const choice = { trust, allowUnsigned, allowDowngrade, ...(why === undefined ? {} : { why }) };
    const entry = candidate ? await store.setCandidate(file, choice) : await store.install(file, choice);
    const as = candidate ? 'candidate' : 'inForce';
    const wanted: Wanted = { class: classOf(store, as, entry), module: entry, as };
    const signed =
      entry.signers.length === 0
        ? 'nobody’s signature was looked at'
        : `signed by ${entry.signers.join(', ')}`;
    await tellChange(store, wanted, options, { candidate, ...entry }, () => {
      const becomes = candidate ? 'the candidate' : 'in force';
      return `${entry.name} ${entry.version} (sequence ${entry.sequence}) is ${becomes} in ${store.folder}; ${signed}.`;
    });
  });
}

/** Tells what was done to the store, and what the running host has made of it. */
export async function tellChange(
  store: PolicyStore,
  wanted: Wanted,
  options: StoreChoice & HostChoice,
  result: object,
  told: () => string,
): Promise<void> {
  const host = await takeover(store.folder, wanted, options);
  const text = tellTakeover(host);
  if (options.json) printJson({ store: store.folder, ...result, host });
  else process.stdout.write(`${told()}\n${text}`);
}

/** `postern policy rollback`. */
export async function rollBack(deviceClass: string, options: RollbackChoice): Promise<void> {
  const { why } = options;
  await refusing(options.json, async () => {
    const store = storeOf(options);
    const entry = await store.rollback(deviceClass, why === undefined ? {} : { why });
    const module = await inForceOf(store, deviceClass);
    const wanted: Wanted = { class: deviceClass, module, as: 'inForce' };
    await tellChange(store, wanted, options, { class: deviceClass, inForce: entry ?? null }, () =>
      entry === undefined
        ? `${deviceClass}: the module that came with Postern is in force again.`
        : `${deviceClass}: ${entry.version} (sequence ${entry.sequence}) is in force again.`,
    );
  });
}

/** Which class a package that has just been taken is of. */
function classOf(store: PolicyStore, as: Wanted['as'], { file }: StoreEntry): string {
  const found = Object.entries(store.state().classes).find(([, record]) => record[as]?.file === file);
  return found?.[0] ?? '';
}

/** What judges a class by the store, or by what came with Postern. */
async function inForceOf(store: PolicyStore, deviceClass: string): Promise<Wanted['module']> {
  const found = (await store.inForce()).policies.find(({ manifest }) => manifest.class === deviceClass);
  return found === undefined ? null : { digest: found.digest, sequence: found.manifest.sequence };
}
