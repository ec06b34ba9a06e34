import { defaultStoreFolder, defaultTrustPath } from '../package/locations.js';
import { PolicyStore, type StoredPolicy } from '../package/store.js';
import { hostTrust } from '../serve/source.js';

/** Where the modules are, and whose are taken: the options of the commands that load them. */
export interface ModuleChoice {
  store?: string;
  trust?: string;
}

/**
 * The modules that judge guests: the policy store's, verified, and for classes of which it has none, and where there is no store, those
 * that came with Postern.
 * @param choice a store that was asked for must be there; otherwise this user's, if there is one
 * @throws PackageError when the store or a package in it is not as it was installed, or not trusted any more
 */
export async function policiesInForce({ store: folder, trust }: ModuleChoice): Promise<StoredPolicy[]> {
  const store = new PolicyStore(folder ?? defaultStoreFolder());
  if (folder !== undefined) store.state();
  return await store.inForce(hostTrust(trust ?? defaultTrustPath()));
}
