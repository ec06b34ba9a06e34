import { existsSync, watch } from 'node:fs';
import type pino from 'pino';
import { makeFolder } from '../package/durable.js';
import { type LyingRefused, lyingRefused, takeInbox } from '../package/inbox.js';
import { PolicyStore } from '../package/store.js';
import type { HostTrust, UnfitModule } from '../package/stored.js';
import { readTrustPolicy } from '../package/trust.js';
import type { Sharing } from '../policy/manifest.js';
import type { TestedPolicy } from './prepare.js';

/** A change of the store is a few files, one after the other: the store is read when nothing has changed for so long. */
const STORE_QUIET_MS = 100;
/** A package may be dropped by a slow copy, which stirs the folder again and again until it is whole. */
const INBOX_QUIET_MS = 500;

/** What a source has of each class, and what it can't give. */
export interface FoundModules {
  policies: TestedPolicy[];
  unfit: UnfitModule[];
}

/** What whoever dropped a package that is refused can do. */
const REFUSED_TODO =
  'mend it (`postern policy verify` and `inspect` tell what is wrong) and drop it again; remove the file to have it told of no more';

/** Where a host's modules come from. */
export interface PolicySource {
  /** The store's folder, where there is one. */
  readonly folder?: string;
  /** @throws Error with what is wrong, where nothing of any class can be told */
  inForce(): Promise<FoundModules>;
  /** Those that judge beside the modules in force, at most one a class. */
  candidates(): Promise<FoundModules>;
  /**
   * The version before the one in force, which takes its place when it misbehaves; undefined: there is none.
   * @param digest of the component of what is in force
   * @throws Error when there is one, and it can't be loaded
   */
  before(deviceClass: string, digest: string): Promise<TestedPolicy | undefined>;
  /** Packages that were dropped for installation and lie refused. */
  refused(): LyingRefused[];
  /** A module misbehaved: it is not to be given out again. */
  quarantine(deviceClass: string, digest: string, reason: string): Promise<void>;
  /** Calls `onChange` when something may have changed, until the returned function is called. */
  watch(onChange: () => void): () => void;
}

/** A policy store: what is installed there takes effect, and so do packages that are dropped in its inbox. */
export class StoreSource implements PolicySource {
  readonly #store: PolicyStore;
  readonly #outdatedTold = new Set<string>();

  get folder(): string {
    return this.#store.folder;
  }

  /**
   * @param folder the store, which is made where there is none
   * @param trustPath whose packages the inbox takes
   */
  constructor(
    folder: string,
    private readonly trustPath: string,
    private readonly log: pino.Logger,
  ) {
    this.#store = new PolicyStore(folder);
    for (const each of [folder, this.#store.inbox]) makeFolder(each);
  }

  async inForce(): Promise<FoundModules> {
    this.#tellOutdated();
    return await this.#store.inForce(hostTrust(this.trustPath));
  }

  async before(deviceClass: string, digest: string): Promise<TestedPolicy | undefined> {
    return await this.#store.before(deviceClass, digest, hostTrust(this.trustPath));
  }

  refused(): LyingRefused[] {
    return lyingRefused(this.#store);
  }

  /** Once each: an older module may have a hole that what came with Postern has not. */
  #tellOutdated(): void {
    for (const found of this.#store.outdated()) {
      const key = JSON.stringify(found);
      if (this.#outdatedTold.has(key)) continue;
      this.#outdatedTold.add(key);
      this.log.warn(
        { ...found, command: `postern policy rollback ${found.class} --store ${this.folder}` },
        'the store has an older module in force than the one that came with Postern; the command takes it back, one version at a time',
      );
    }
  }

  async candidates(): Promise<FoundModules> {
    return await this.#store.candidates(hostTrust(this.trustPath));
  }

  /** A module that came with Postern is not the store's: it stays away from this host's guests only. */
  async quarantine(deviceClass: string, digest: string, reason: string): Promise<void> {
    if (this.#store.exists && this.#store.state().classes[deviceClass] !== undefined)
      await this.#store.quarantine(deviceClass, digest, reason);
  }

  watch(onChange: () => void): () => void {
    const store = new Quiet(STORE_QUIET_MS, onChange);
    const inbox = new Quiet(INBOX_QUIET_MS, () => void this.#takeInbox());
    const watchers = [
      watch(this.#store.folder, () => store.stir()),
      watch(this.#store.inbox, () => inbox.stir()),
    ];
    inbox.stir();
    return () => {
      for (const watcher of watchers) watcher.close();
      for (const quiet of [store, inbox]) quiet.end();
    };
  }

  /** Installs what was dropped, and tells what became of it. */
  async #takeInbox(): Promise<void> {
    for (const taken of await takeInbox(this.#store, () => readTrustPolicy(this.trustPath)))
      if ('version' in taken) this.log.info({ ...taken }, 'a package that was dropped is installed');
      else this.log.error({ ...taken, todo: REFUSED_TODO }, 'a package that was dropped is refused');
  }
}

/**
 * By what a host verifies the packages that it loads. Without the file there is nobody whom it trusts.
 * @throws PackageError POSTERN_PKG_TRUST when the file says nothing usable
 */
export function hostTrust(path: string): HostTrust {
  return { path, policy: existsSync(path) ? readTrustPolicy(path) : undefined };
}

/** Does something once nothing has stirred for a while. */
class Quiet {
  #timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly quietMs: number,
    private readonly work: () => void,
  ) {}

  stir(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(this.work, this.quietMs);
  }

  end(): void {
    clearTimeout(this.#timer);
  }
}

/** What an operator has chosen for some classes in place of their manifests' sharing. */
export type SharingChoices = ReadonlyMap<string, Sharing>;

/**
 * A source whose classes are shared as an operator chooses.
 * @throws Error, from inForce, when a class can't be shared so
 */
export function withSharing(source: PolicySource, choices: SharingChoices): PolicySource {
  const shared = ({ policies, unfit }: FoundModules): FoundModules => ({
    policies: policies.map((policy) => sharedBy(choices, policy)),
    unfit,
  });
  return {
    ...(source.folder === undefined ? {} : { folder: source.folder }),
    inForce: async () => shared(await source.inForce()),
    candidates: async () => shared(await source.candidates()),
    before: async (...which) => {
      const found = await source.before(...which);
      return found === undefined ? undefined : sharedBy(choices, found);
    },
    refused: () => source.refused(),
    quarantine: (...found) => source.quarantine(...found),
    watch: (onChange) => source.watch(onChange),
  };
}

function sharedBy(choices: SharingChoices, candidate: TestedPolicy): TestedPolicy {
  const { manifest } = candidate;
  const sharing = choices.get(manifest.class);
  if (sharing === undefined) return candidate;
  if (sharing === 'foreground' && manifest.foreground === undefined)
    throw new Error(
      `The class ${manifest.class} can't be shared by foreground: its manifest does not say what that means.`,
    );
  return { ...candidate, manifest: { ...manifest, sharing } };
}
