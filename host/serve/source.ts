import { existsSync, type FSWatcher, watch } from 'node:fs';
import type { Sharing } from '../policy/manifest.js';
import { loadPolicies, type PolicyPackage } from '../policy/store.js';

/** Files of one version arrive one after the other: the folder is read when nothing has changed for so long. */
const QUIET_MS = 150;

/** Where a host's modules come from. */
export interface PolicySource {
  /** @throws Error with everything that is wrong with what is there */
  inForce(): Promise<PolicyPackage[]>;
  /** Those that judge beside the modules in force, at most one a class. */
  candidates(): Promise<PolicyPackage[]>;
  /** A module misbehaved: it is not to be given out again. */
  quarantine(deviceClass: string, digest: string, reason: string): Promise<void>;
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

  async candidates(): Promise<PolicyPackage[]> {
    return [];
  }

  async quarantine(): Promise<void> {}

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

/** What an operator has chosen for some classes in place of their manifests' sharing. */
export type SharingChoices = ReadonlyMap<string, Sharing>;

/**
 * A source whose classes are shared as an operator chooses.
 * @throws Error, from inForce, when a class can't be shared so
 */
export function withSharing(source: PolicySource, choices: SharingChoices): PolicySource {
  return {
    inForce: async () => (await source.inForce()).map((candidate) => sharedBy(choices, candidate)),
    candidates: async () => (await source.candidates()).map((candidate) => sharedBy(choices, candidate)),
    quarantine: (...found) => source.quarantine(...found),
    watch: (onChange) => source.watch(onChange),
  };
}

function sharedBy(choices: SharingChoices, candidate: PolicyPackage): PolicyPackage {
  const { manifest } = candidate;
  const sharing = choices.get(manifest.class);
  if (sharing === undefined) return candidate;
  if (sharing === 'foreground' && manifest.foreground === undefined)
    throw new Error(
      `The class ${manifest.class} can't be shared by foreground: its manifest does not say what that means.`,
    );
  return { ...candidate, manifest: { ...manifest, sharing } };
}
