import { existsSync, lstatSync, readdirSync, rmSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { native } from '../native.js';
import { loadPolicies, type PolicyPackage } from '../policy/store.js';
import { makeFolder, UNFINISHED_ENDING, writeDurably } from './durable.js';
import { PackageError } from './errors.js';
import { type OpenedPackage, openPackage, PACKAGE_ENDING, policyOf, readPackageFile } from './package.js';
import { refuseOld } from './rollback-protection.js';
import { verifySignatures } from './signatures.js';
import {
  type ClassRecord,
  EMPTY_STATE,
  filesOf,
  type HistoryEntry,
  PREVIOUS_MAX,
  type RefusedFile,
  readState,
  type StoreAct,
  type StoreEntry,
  type StoreState,
  writeState,
} from './state.js';
import {
  type HostTrust,
  type LoadedModules,
  openStored,
  type StoredPolicy,
  type UnfitModule,
  type VersionName,
} from './stored.js';
import type { TrustPolicy } from './trust.js';
import { tryPackage } from './try.js';

/** How long a change waits for another one, and how often it looks again. A change takes a fraction of a second. */
const LOCK_MS_MAX = 10_000;
const LOCK_AGAIN_MS = 20;
/** A reader that finds a package gone looks at the state again, which a change has replaced meanwhile. */
const READS_MAX = 3;
/** Others may neither write to a store nor to what is in it. */
const WRITABLE_BY_OTHERS = 0o022;
/** What is wrong with a module that misbehaved, or with a file that is refused, is told in so many characters. */
const REASON_LENGTH_MAX = 500;

/** How a package is to be taken. */
export interface InstallOptions {
  /** Undefined only with allowUnsigned: signatures are then not looked at. */
  trust: TrustPolicy | undefined;
  /** Takes a package whose signatures nobody has verified. Recorded. */
  allowUnsigned?: boolean;
  /** Takes an older version than the store has seen. Recorded, with `why`. */
  allowDowngrade?: boolean;
  why?: string;
  now?: Date;
}

/** A package that has passed everything but the store's own rules. */
interface Admitted {
  opened: OpenedPackage;
  bytes: Buffer;
  signers: string[];
}

/** A class whose version in force is older than what came with Postern, both by their versions. */
export interface Outdated {
  class: string;
  inForce: string;
  builtIn: string;
}

/**
 * The policy modules that a host runs, in a folder: packages by their digest, and one state file that is replaced as a whole and is the
 * only truth. A crash at any moment leaves the store as it was before a change, or as it is after it. Every method that changes it takes
 * the store's lock, which ends with the process that holds it.
 *
 * All methods throw PackageError.
 */
export class PolicyStore {
  readonly #packages: string;
  /** Packages that are dropped here are installed by a host that watches the store. */
  readonly inbox: string;

  /**
   * @param folder where the store is, or is to be made by the first installation
   * @param builtIn the modules that came with Postern: in force for classes of which the store has none
   */
  constructor(
    readonly folder: string,
    private readonly builtIn: () => PolicyPackage[] = loadPolicies,
  ) {
    this.#packages = join(folder, 'packages');
    this.inbox = join(folder, 'inbox');
  }

  /** Whether there is a store. */
  get exists(): boolean {
    return this.#state() !== undefined;
  }

  /** What the store says of itself. @throws PackageError POSTERN_STORE_MISSING when there is none */
  state(): StoreState {
    const state = this.#state();
    if (state !== undefined) return state;
    throw new PackageError(
      'POSTERN_STORE_MISSING',
      `There is no policy store at ${this.folder}: \`postern policy install\` makes one.`,
    );
  }

  /**
   * The module of every class, the store's before Postern's own. Without a store, Postern's own, unless the trust policy wants none of them.
   * A class whose module in the store can't be loaded has none: neither an older version nor Postern's own takes its place unasked, for
   * either may have the hole that it closed.
   * @param trust of a host, which verifies again what it loads; whoever only looks needs none
   */
  async inForce(trust?: HostTrust): Promise<LoadedModules> {
    return this.#reading(() => {
      const { loaded, policies, unfit } = this.#loadEach('inForce', trust);
      const own = trust?.policy?.takesBuiltIn === false ? [] : this.builtIn();
      const others = own.filter(({ manifest }) => !loaded.has(manifest.class));
      return { policies: [...others.map(shipped), ...policies], unfit };
    });
  }

  /** The versions that judge beside those in force, at most one a class. */
  async candidates(trust?: HostTrust): Promise<LoadedModules> {
    return this.#reading(() => this.#loadEach('candidate', trust));
  }

  /**
   * The version that takes the place of the one in force when that misbehaves: the last one before it that is not quarantined, at the end what
   * came with Postern. One that can't be loaded is not passed over: whether it closes a hole of the one before it can't be told.
   * @param digest of the component of what is in force
   * @returns undefined when something else is in force, or there is no version before it
   * @throws PackageError when there is one that can't be loaded
   */
  async before(deviceClass: string, digest: string, trust: HostTrust): Promise<StoredPolicy | undefined> {
    const record = this.#state()?.classes[deviceClass];
    if (record?.inForce?.digest !== digest) return undefined;
    const [next, ...rest] = this.#usable(record);
    if (next !== undefined) return this.#load(deviceClass, next, { ...record, previous: rest }, trust);
    const own = trust.policy?.takesBuiltIn === false ? undefined : this.#builtInOf(deviceClass);
    return own === undefined ? undefined : shipped(own);
  }

  /**
   * Verifies a package and puts it in force; what was in force becomes the previous version. A package that is in force already changes nothing.
   * @param file its path, or its bytes
   */
  async install(file: string | Buffer, options: InstallOptions): Promise<StoreEntry> {
    const admitted = await admit(file, options);
    return this.#changing((state) => {
      const { manifest } = admitted.opened;
      const record = state.classes[manifest.class];
      const entry = entryOf(admitted, options);
      if (record?.inForce?.file === entry.file) return record.inForce;
      const isOld = refuseOld(
        admitted.opened,
        record,
        this.#builtInSequence(manifest.class),
        options.allowDowngrade === true,
      );
      refuseQuarantined(record, entry);
      this.#keep(admitted);
      state.classes[manifest.class] = putInForce(record, entry);
      note(state, isOld ? 'downgrade' : 'install', manifest.class, entry, {
        signers: entry.signers,
        why: options.why,
      });
      return entry;
    });
  }

  /** As install, but the package judges beside the version in force and changes nothing, until `promote`. */
  async setCandidate(file: string | Buffer, options: InstallOptions): Promise<StoreEntry> {
    const admitted = await admit(file, options);
    return this.#changing((state) => {
      const { manifest } = admitted.opened;
      const record = state.classes[manifest.class];
      const entry = entryOf(admitted, options);
      refuseOld(
        admitted.opened,
        record,
        this.#builtInSequence(manifest.class),
        options.allowDowngrade === true,
      );
      refuseQuarantined(record, entry);
      this.#keep(admitted);
      const base = record ?? { ...NOTHING_SEEN, sequenceHighest: entry.sequence, seen: entry.content };
      state.classes[manifest.class] = { ...base, candidate: entry };
      note(state, 'candidate', manifest.class, entry, { signers: entry.signers, why: options.why });
      return entry;
    });
  }

  /** Puts the candidate of a class in force. */
  async promote(deviceClass: string, { why }: { why?: string } = {}): Promise<StoreEntry> {
    return this.#changing((state) => {
      const record = this.#record(state, deviceClass);
      const entry = this.#candidate(record, deviceClass);
      refuseQuarantined(record, entry);
      state.classes[deviceClass] = putInForce({ ...record, candidate: null }, entry);
      note(state, 'promote', deviceClass, entry, { why });
      return entry;
    });
  }

  /** Takes the candidate of a class away. */
  async withdrawCandidate(deviceClass: string, { why }: { why?: string } = {}): Promise<StoreEntry> {
    return this.#changing((state) => {
      const record = this.#record(state, deviceClass);
      const entry = this.#candidate(record, deviceClass);
      record.candidate = null;
      note(state, 'withdraw', deviceClass, entry, { why });
      return entry;
    });
  }

  /**
   * Puts the version before the one in force into force again: an explicit act, which is recorded. What the store has seen stays seen.
   * @returns the version that is in force now; undefined: the one that came with Postern
   */
  async rollback(deviceClass: string, { why }: { why?: string } = {}): Promise<StoreEntry | undefined> {
    return this.#changing((state) => {
      const record = this.#record(state, deviceClass);
      const from =
        record.inForce ??
        nothing(`Of the class '${deviceClass}' the version that came with Postern is in force.`);
      const to = this.#goBack(record, deviceClass);
      note(state, 'rollback', deviceClass, to ?? from, { why });
      return to;
    });
  }

  /**
   * Records that a module misbehaved: it is not taken again. If it is in force, the version before it is put back.
   * @param digest of the component
   * @returns whether another version is in force now
   */
  async quarantine(deviceClass: string, digest: string, reason: string): Promise<boolean> {
    return this.#changing((state) => {
      const record = this.#record(state, deviceClass);
      const bad = [record.inForce, record.candidate, ...record.previous].find(
        (entry) => entry?.digest === digest,
      );
      if (bad === undefined || bad === null)
        return nothing(`${this.folder} has no module ${digest} of the class '${deviceClass}'.`);
      if (!record.quarantined.some((entry) => entry.digest === digest))
        record.quarantined.push({
          digest,
          version: bad.version,
          reason: reason.slice(0, REASON_LENGTH_MAX),
          at: new Date().toISOString(),
        });
      note(state, 'quarantine', deviceClass, bad, { why: reason.slice(0, REASON_LENGTH_MAX) });
      if (record.candidate?.digest === digest) record.candidate = null;
      const wasInForce = record.inForce?.digest === digest;
      if (wasInForce) this.#goBack(record, deviceClass);
      record.previous = record.previous.filter((entry) => entry.digest !== digest);
      return wasInForce;
    });
  }

  /** Classes of which a version is in force that is older than what came with Postern: what was installed stays until it is taken back. */
  outdated(): Outdated[] {
    const own = new Map(this.builtIn().map(({ manifest }) => [manifest.class, manifest]));
    return Object.entries(this.#state()?.classes ?? {}).flatMap(([deviceClass, record]) => {
      const builtIn = own.get(deviceClass);
      if (record.inForce === null || builtIn === undefined) return [];
      if (builtIn.sequence <= record.inForce.sequence) return [];
      return { class: deviceClass, inForce: record.inForce.version, builtIn: builtIn.version };
    });
  }

  /** Records that a file which was dropped in the inbox is refused, under its name there. */
  async noteRefused(file: string, code: string, why: string): Promise<void> {
    await this.#changing((state) => {
      const entry = { at: new Date().toISOString(), by: user(), file, code };
      state.refused = [...(state.refused ?? []), { ...entry, why: why.slice(0, REASON_LENGTH_MAX) }];
    });
  }

  /** Every refusal that the store remembers, the oldest first. */
  refusals(): RefusedFile[] {
    return this.#state()?.refused ?? [];
  }

  #goBack(record: ClassRecord, deviceClass: string): StoreEntry | undefined {
    const usable = this.#usable(record);
    const to = usable.shift();
    if (to === undefined && this.#builtInSequence(deviceClass) === undefined)
      return nothing(`There is no version of the class '${deviceClass}' before the one in force.`);
    record.inForce = to ?? null;
    record.previous = usable;
    return to;
  }

  #candidate({ candidate }: ClassRecord, deviceClass: string): StoreEntry {
    return candidate ?? nothing(`The class '${deviceClass}' has no candidate in ${this.folder}.`);
  }

  #record(state: StoreState, deviceClass: string): ClassRecord {
    return state.classes[deviceClass] ?? nothing(`${this.folder} has nothing of the class '${deviceClass}'.`);
  }

  #builtInOf(deviceClass: string): PolicyPackage | undefined {
    return this.builtIn().find(({ manifest }) => manifest.class === deviceClass);
  }

  #builtInSequence(deviceClass: string): number | undefined {
    return this.#builtInOf(deviceClass)?.manifest.sequence;
  }

  #state(): StoreState | undefined {
    this.#refuseForeignFolder();
    return readState(this.folder);
  }

  #refuseForeignFolder(): void {
    if (!existsSync(this.folder)) return;
    const { uid, mode } = lstatSync(this.folder);
    if ((uid !== 0 && uid !== process.geteuid?.()) || (mode & WRITABLE_BY_OTHERS) !== 0)
      throw new PackageError(
        'POSTERN_STORE_PERMISSIONS',
        `${this.folder} belongs to, or may be written by, somebody else: a store is its owner's alone (mode 0700).`,
      );
  }

  #path(file: string): string {
    return join(this.#packages, file + PACKAGE_ENDING);
  }

  #keep({ opened, bytes }: Admitted): void {
    makeFolder(this.#packages);
    writeDurably(this.#path(opened.fileDigest), bytes);
  }

  /** What each class has, and has not; `loaded` names those of which the store has something, fit or not. */
  #loadEach(
    what: 'inForce' | 'candidate',
    trust: HostTrust | undefined,
  ): LoadedModules & { loaded: Set<string> } {
    const found = { loaded: new Set<string>(), policies: [] as StoredPolicy[], unfit: [] as UnfitModule[] };
    for (const [deviceClass, record] of Object.entries(this.#state()?.classes ?? {})) {
      const entry = record[what];
      if (entry === null) continue;
      found.loaded.add(deviceClass);
      try {
        found.policies.push(this.#load(deviceClass, entry, record, trust));
      } catch (error) {
        if (!(error instanceof PackageError)) throw error;
        const { code, message } = error;
        found.unfit.push({ class: deviceClass, version: entry.version, code, message });
      }
    }
    return found;
  }

  #load(
    deviceClass: string,
    entry: StoreEntry,
    record: ClassRecord,
    trust: HostTrust | undefined,
  ): StoredPolicy {
    const path = this.#path(entry.file);
    const opened = openStored(path, deviceClass, entry, trust);
    const before: VersionName[] = this.#usable(record).map(({ name, version, sequence, digest }) => ({
      ...{ name, version, sequence, digest },
    }));
    const own = this.#builtInOf(deviceClass);
    if (own !== undefined) before.push(versionName(own));
    return { ...policyOf(opened, path), entry, vectors: opened.vectors, before };
  }

  /** What can be gone back to, the last one first. */
  #usable({ previous, quarantined }: ClassRecord): StoreEntry[] {
    return previous.filter(({ digest }) => !quarantined.some((bad) => bad.digest === digest));
  }

  /** Reads again where a package has gone: a change has replaced the state meanwhile, or somebody has removed it, which stays so. */
  async #reading<T extends LoadedModules>(read: () => T): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      const found = read();
      const isGone = found.unfit.some(({ code }) => code === 'POSTERN_PKG_NOT_A_FILE');
      if (!isGone || attempt === READS_MAX) return found;
    }
  }

  /** Makes one change under the lock: what `change` does to the state is in the store, durably, when this returns. */
  async #changing<T>(change: (state: StoreState) => T): Promise<T> {
    this.#refuseForeignFolder();
    for (const folder of [this.folder, this.#packages, this.inbox]) makeFolder(folder);
    const lock = await this.#lock();
    try {
      const state = this.#state() ?? structuredClone(EMPTY_STATE);
      const before = JSON.stringify(state);
      const result = change(state);
      if (JSON.stringify(state) !== before) writeState(this.folder, state);
      this.#removeGarbage(state);
      return result;
    } finally {
      native.closeDescriptor(lock);
    }
  }

  async #lock(): Promise<number> {
    const deadline = performance.now() + LOCK_MS_MAX;
    for (;;) {
      try {
        return native.lockFile(join(this.folder, 'lock'));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
        if (performance.now() > deadline)
          throw new PackageError(
            'POSTERN_STORE_BUSY',
            `Another process has been changing ${this.folder} for ${LOCK_MS_MAX / 1000} seconds.`,
          );
      }
      await sleep(LOCK_AGAIN_MS);
    }
  }

  /** Packages that nothing refers to any more, and what a crash has left unfinished. */
  #removeGarbage(state: StoreState): void {
    const kept = new Set([...filesOf(state)].map((file) => file + PACKAGE_ENDING));
    for (const name of readdirSync(this.#packages))
      if (!kept.has(name)) rmSync(join(this.#packages, name), { force: true });
    for (const name of readdirSync(this.folder))
      if (name.endsWith(UNFINISHED_ENDING)) rmSync(join(this.folder, name), { force: true });
  }
}

const NOTHING_SEEN: Pick<ClassRecord, 'inForce' | 'previous' | 'candidate' | 'quarantined'> = {
  inForce: null,
  previous: [],
  candidate: null,
  quarantined: [],
};

/** A module that came with Postern. */
function shipped(policy: PolicyPackage): StoredPolicy {
  return { ...policy, entry: undefined, vectors: undefined, before: [] };
}

function versionName({ manifest: { name, version, sequence }, digest }: PolicyPackage): VersionName {
  return { name, version, sequence, digest };
}

/** Everything about a package that is its own affair. Its module is run only when its signers are known. */
async function admit(file: string | Buffer, options: InstallOptions): Promise<Admitted> {
  const bytes = typeof file === 'string' ? readPackageFile(file) : file;
  const opened = openPackage(bytes);
  const signers = signersOf(opened, options);
  await tryPackage(opened);
  return { opened, bytes, signers };
}

function signersOf(
  { members, manifest }: OpenedPackage,
  { trust, allowUnsigned = false, now = new Date() }: InstallOptions,
): string[] {
  if (allowUnsigned) return [];
  if (trust === undefined)
    throw new PackageError(
      'POSTERN_PKG_TRUST',
      'There is no trust policy, by which the package’s signatures could be verified.',
    );
  return verifySignatures(members, manifest.class, trust, now);
}

function entryOf({ opened, signers }: Admitted, { now = new Date() }: InstallOptions): StoreEntry {
  const { fileDigest, contentDigest, digest, manifest } = opened;
  const { name, version, sequence } = manifest;
  return {
    file: fileDigest,
    content: contentDigest,
    digest,
    name,
    version,
    sequence,
    signers,
    installedAt: now.toISOString(),
  };
}

function refuseQuarantined(record: ClassRecord | undefined, { digest, version }: StoreEntry): void {
  const bad = record?.quarantined.find((entry) => entry.digest === digest);
  if (bad === undefined) return;
  throw new PackageError(
    'POSTERN_PKG_QUARANTINED',
    `Version ${version} misbehaved on this host on ${bad.at}: ${bad.reason}`,
  );
}

/** The record with a new version in force, and the last one to go back to. */
function putInForce(record: ClassRecord | undefined, entry: StoreEntry): ClassRecord {
  const { quarantined, candidate, previous, inForce } = record ?? NOTHING_SEEN;
  const isNewer = record === undefined || entry.sequence >= record.sequenceHighest;
  const others = [...(inForce === null ? [] : [inForce]), ...previous].filter(
    ({ content }) => content !== entry.content,
  );
  return {
    sequenceHighest: isNewer ? entry.sequence : record.sequenceHighest,
    seen: isNewer ? entry.content : record.seen,
    inForce: entry,
    previous: others.slice(0, PREVIOUS_MAX),
    candidate: candidate?.content === entry.content ? null : candidate,
    quarantined,
  };
}

function note(
  state: StoreState,
  act: StoreAct,
  deviceClass: string,
  entry: StoreEntry,
  more: Pick<HistoryEntry, 'signers'> & { why?: string | undefined },
): void {
  const { version, sequence, digest } = entry;
  const { why, ...rest } = more;
  const record: HistoryEntry = {
    at: new Date().toISOString(),
    by: user(),
    act,
    class: deviceClass,
    version,
    sequence,
    digest,
    ...rest,
  };
  state.history.push(why === undefined ? record : { ...record, why });
}

/** Who does something: the user, and whoever became it by sudo. */
function user(): string {
  const behind = process.env.SUDO_USER;
  return `${userName()} (${process.getuid?.()})${behind === undefined ? '' : ` for ${behind}`}`;
}

/** A user without an entry in the user database has a number only. */
function userName(): string {
  try {
    return userInfo().username;
  } catch {
    return 'somebody';
  }
}

function nothing(message: string): never {
  throw new PackageError('POSTERN_STORE_NOTHING', message);
}
