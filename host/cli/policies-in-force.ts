import { defaultStoreFolder } from '../package/locations.js';
import { PolicyStore, type StoredPolicy } from '../package/store.js';

/**
 * The modules that judge guests: the policy store's, and for classes of which it has none, and where there is no store, those that came
 * with Postern.
 * @param folder the store that was asked for, which must then be there; undefined: this user's, if there is one
 * @throws PackageError when the store or a package in it is not as it was installed
 */
export async function policiesInForce(folder: string | undefined): Promise<StoredPolicy[]> {
  const store = new PolicyStore(folder ?? defaultStoreFolder());
  if (folder !== undefined) store.state();
  return await store.inForce();
}
