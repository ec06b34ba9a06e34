import { existsSync, type FSWatcher, watch } from 'node:fs';
import { loadPolicies, type PolicyPackage } from '../policy/store.js';

/** Files of one version arrive one after the other: the folder is read when nothing has changed for so long. */
const QUIET_MS = 150;

/** Where a host's modules come from. */
export interface PolicySource {
  /** @throws Error with everything that is wrong with what is there */
  inForce(): Promise<PolicyPackage[]>;
  /** Calls `onChange` when something may have changed, until the returned function is called. */
  watch(onChange: () => void): () => void;
}

/** A folder of components and manifests, as the build leaves it. */
export class FolderSource implements PolicySource {
  constructor(private readonly folder: string) {
    if (!existsSync(folder)) throw new Error(`There is no policy store at ${folder}.`);
  }

  async inForce(): Promise<PolicyPackage[]> {
    return loadPolicies(this.folder);
  }

  watch(onChange: () => void): () => void {
    let timer: NodeJS.Timeout | undefined;
    const watcher: FSWatcher = watch(this.folder, () => {
      clearTimeout(timer);
      timer = setTimeout(onChange, QUIET_MS);
    });
    return () => {
      clearTimeout(timer);
      watcher.close();
    };
  }
}
