import { defaultStoreFolder, defaultTrustPath } from '../package/locations.js';
import { PolicyStore } from '../package/store.js';
import { readTrustPolicy } from '../package/trust.js';
import { printJson, refusing } from './refusal.js';

/** Which store is meant, and for whom the result is. */
export interface StoreChoice {
  store?: string;
  json?: boolean;
}

/** What `postern policy install` was asked for. */
export interface InstallChoice extends StoreChoice {
  trust?: string;
  allowUnsigned?: boolean;
  allowDowngrade?: boolean;
  candidate?: boolean;
  why?: string;
}

/** What `postern policy rollback` was asked for. */
export interface RollbackChoice extends StoreChoice {
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
    if (options.json) printJson({ store: store.folder, candidate, ...entry });
    else
      process.stdout.write(
        `${entry.name} ${entry.version} (sequence ${entry.sequence}) is ${candidate ? 'the candidate' : 'in force'} in ${store.folder}; ` +
          `${entry.signers.length === 0 ? 'nobody’s signature was looked at' : `signed by ${entry.signers.join(', ')}`}.\n`,
      );
  });
}

/** `postern policy rollback`. */
export async function rollBack(deviceClass: string, options: RollbackChoice): Promise<void> {
  const { why } = options;
  await refusing(options.json, async () => {
    const store = storeOf(options);
    const entry = await store.rollback(deviceClass, why === undefined ? {} : { why });
    if (options.json) printJson({ store: store.folder, class: deviceClass, inForce: entry ?? null });
    else
      process.stdout.write(
        entry === undefined
          ? `${deviceClass}: the module that came with Postern is in force again.\n`
          : `${deviceClass}: ${entry.version} (sequence ${entry.sequence}) is in force again.\n`,
      );
  });
}
