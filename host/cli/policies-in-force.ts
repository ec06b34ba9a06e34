import { defaultStoreFolder, defaultTrustPath } from '../package/locations.js';
import { PolicyStore } from '../package/store.js';
import type { StoredPolicy } from '../package/stored.js';
import { hostTrust } from '../serve/source.js';

/** Where the modules are, and whose are taken: the options of the commands that load them. */
export interface ModuleChoice {
  store?: string;
  trust?: string;
}

/**
 * The modules that judge guests: the policy store's, verified, and for classes of which it has none, and where there is no store, those
 * that came with Postern. A class whose module can't be loaded has none: standard error says so.
 * @param choice a store that was asked for must be there; otherwise this user's, if there is one
 * @throws PackageError when the store or the trust policy can't be read
 */
export async function policiesInForce({ store: folder, trust }: ModuleChoice): Promise<StoredPolicy[]> {
  const store = new PolicyStore(folder ?? defaultStoreFolder());
  if (folder !== undefined) store.state();
  const { policies, unfit } = await store.inForce(hostTrust(trust ?? defaultTrustPath()));
  for (const { class: deviceClass, code, message } of unfit)
    process.stderr.write(
      `postern: no device of the class '${deviceClass}' is given to a guest (${code}): ${message}\n`,
    );
  return policies;
}
