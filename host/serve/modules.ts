import type pino from 'pino';
import { compileModule } from '../mediator/guest.js';
import type { ModuleInput } from '../mediator/messages.js';
import { isSameModule, keyOfModule } from '../mediator/same-module.js';
import type { UnfitModule } from '../package/stored.js';
import type { PolicyPackage } from '../policy/store.js';
import { Candidates } from './candidates.js';
import { Garbage } from './garbage.js';
import { type Guest, type Guests, moduleName } from './guests.js';
import { Preparer, type TestedPolicy } from './prepare.js';
import type { ClassState, ModuleName, ShadowReport, Switch } from './protocol.js';
import type { FoundModules, PolicySource } from './source.js';

/** What a class has in this host. */
interface Place {
  inForce: TestedPolicy;
  /** What was in force before and is at hand in every guest: each puts it back at once when the module in force misbehaves. */
  previous: PolicyPackage | undefined;
  /** Modules that misbehaved here: they don't come back. */
  quarantined: ModuleName[];
  /** Whether the module in force has misbehaved, and there was nothing to take its place. */
  isAlone: boolean;
}

/** What there is for a class that has nothing of its own yet. */
const NEW_PLACE: Omit<Place, 'inForce' | 'quarantined'> = { previous: undefined, isAlone: false };

/** What to do where a class has no module, or one that misbehaves. */
const INSTALL_TODO = 'Install a version that is fit: `postern policy install PACKAGE`.';

/** The modules of a host: which is in force for each class, and how another takes its place while guests run. */
export class Modules {
  readonly #places = new Map<string, Place>();
  readonly #compiled = new Map<string, Promise<ModuleInput>>();
  readonly #preparer = new Preparer();
  readonly #candidates: Candidates;
  readonly #garbage = new Garbage();
  readonly #latest = new Map<string, Switch>();
  /** What the source can't give, by class. */
  #unfit = new Map<string, UnfitModule>();
  /** By class, why the last new module is not in force, or what is wrong with the one that is. */
  readonly #failures = new Map<string, string>();
  /** Changes happen one after the other. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(
    { policies, unfit }: FoundModules,
    private readonly source: Pick<PolicySource, 'before'>,
    private readonly guests: Guests,
    private readonly log: pino.Logger,
  ) {
    this.#candidates = new Candidates(
      guests,
      this.#preparer,
      (deviceClass) => this.#inForceOf(deviceClass),
      log,
    );
    for (const inForce of policies)
      this.#places.set(inForce.manifest.class, { ...NEW_PLACE, quarantined: [], inForce });
    this.#noteUnfit(unfit);
  }

  /** What is in force. */
  get packages(): PolicyPackage[] {
    return [...this.#places.values()].map(({ inForce }) => inForce);
  }

  /** A package that is in force or was just before, as a mediator takes it. */
  compiled(candidate: PolicyPackage): Promise<ModuleInput> {
    const known = this.#compiled.get(keyOfModule(candidate));
    if (known !== undefined) return known;
    const made = compileModule(candidate);
    this.#compiled.set(keyOfModule(candidate), made);
    return made;
  }

  /** Ends what works for it. */
  async close(): Promise<void> {
    await this.#candidates.close();
    await this.#preparer.close();
  }

  /** Of every class, also of one that has nothing in force because what the store has of it is not fit. */
  states(): ClassState[] {
    const classes = new Set([...this.#places.keys(), ...this.#unfit.keys(), ...this.#failures.keys()]);
    return [...classes].sort().map((deviceClass) => {
      const place = this.#places.get(deviceClass);
      return {
        class: deviceClass,
        inForce: nameOrNull(place?.inForce),
        previous: place === undefined ? null : fallbackOf(place),
        candidate: nameOrNull(this.#candidates.of(deviceClass)),
        quarantined: place?.quarantined ?? [],
        failure: this.#failureOf(deviceClass) ?? null,
        candidateFailure: this.#candidates.failureOf(deviceClass) ?? null,
      };
    });
  }

  /** Why devices may have no judge: the classes whose module can't be loaded. */
  missing(): string[] {
    return [...this.#unfit.values()]
      .filter((unfit) => !this.#places.has(unfit.class))
      .map((unfit) => `the module of the class '${unfit.class}' can't be loaded (${unfit.code})`);
  }

  /** Puts into force what differs from what is there. Whatever fails leaves the old module in force, and the result says so. */
  async take({ policies, unfit }: FoundModules): Promise<Switch[]> {
    this.#noteUnfit(unfit);
    const done: Switch[] = [];
    for (const candidate of policies) {
      const result = await this.#inTurn(async () => {
        // Looked at only now: who asked before may have put it in force meanwhile.
        const place = this.#places.get(candidate.manifest.class);
        if (place === undefined || !isSameModule(place.inForce, candidate))
          return await this.#replace(candidate);
        // The same, but perhaps with other versions before it.
        if (JSON.stringify(place.inForce.before) !== JSON.stringify(candidate.before)) place.isAlone = false;
        place.inForce = candidate;
        return undefined;
      });
      if (result !== undefined) done.push(result);
    }
    return done;
  }

  /** What became of the last new module of each class. */
  latest(): Switch[] {
    return [...this.#latest.values()];
  }

  /** Has these, and no others, judge beside the modules in force. */
  async takeCandidates({ policies, unfit }: FoundModules): Promise<void> {
    await this.#inTurn(() => this.#candidates.take(policies, unfit));
  }

  /** What candidates found. */
  async reports(): Promise<ShadowReport[]> {
    return await this.#candidates.reports();
  }

  async #inForceOf(deviceClass: string): Promise<ModuleInput | undefined> {
    const inForce = this.#places.get(deviceClass)?.inForce;
    return inForce === undefined ? undefined : await this.compiled(inForce);
  }

  /** Gives a guest that has just begun what came into force meanwhile. */
  async catchUp(guest: Guest): Promise<void> {
    await this.#inTurn(async () => {
      for (const before of [...guest.packages]) {
        const inForce = this.#places.get(before.manifest.class)?.inForce;
        if (inForce !== undefined && !isSameModule(inForce, before))
          await this.#switch(guest, inForce, false);
      }
      await this.#candidates.attend(guest);
    });
  }

  /**
   * A guest has found that a module misbehaves: everybody gets the one before it. Where that is not at hand, the source has it; where there is
   * none, or a manifest forbids it, the module stays, and what it can't judge is denied.
   * @param reason what it did
   * @returns whether another one is in force now
   */
  async fallBack(deviceClass: string, digest: string, reason: string): Promise<boolean> {
    return await this.#inTurn(async () => {
      const place = this.#places.get(deviceClass);
      if (place === undefined || place.inForce.digest !== digest || place.isAlone) return false;
      const bad = place.inForce;
      try {
        const good = place.previous ?? (await this.#prepareBefore(bad));
        await this.#putBack(place, good);
        this.log.error(
          { class: deviceClass, quarantined: bad.manifest.version, inForce: good.manifest.version, reason },
          'a module misbehaved and is quarantined; the version before it is in force again',
        );
        return true;
      } catch (error) {
        place.isAlone = true;
        const { name, version } = bad.manifest;
        const failure = `${name} ${version} misbehaves (${reason}), and nothing takes its place: ${(error as Error).message} What it can't judge fails with EIO. ${INSTALL_TODO}`;
        this.#failures.set(deviceClass, failure);
        this.log.error({ class: deviceClass, version, digest, reason, failure }, 'a module misbehaves');
        return false;
      }
    });
  }

  /**
   * Makes the version before one ready.
   * @throws Error with why there is none
   */
  async #prepareBefore({ manifest, digest }: TestedPolicy): Promise<TestedPolicy> {
    if (manifest.fallback === 'none') throw new Error('Its manifest says that no version before it may.');
    const before = await this.source.before(manifest.class, digest);
    if (before === undefined) throw new Error('There is no version before it.');
    const module = this.#preparer.prepare(before);
    this.#compiled.set(keyOfModule(before), module);
    try {
      await module;
      return before;
    } catch (error) {
      this.#compiled.delete(keyOfModule(before));
      throw new Error(
        `The version before it, ${before.manifest.version}, is not fit: ${(error as Error).message}`,
      );
    }
  }

  /** The module in force is not to come back; another one judges every guest from now on. */
  async #putBack(place: Place, good: TestedPolicy): Promise<void> {
    const deviceClass = good.manifest.class;
    place.quarantined.push(moduleName(place.inForce));
    place.inForce = good;
    place.previous = undefined;
    this.#forgetOthers(place);
    for (const guest of this.guests.of(deviceClass)) await this.#switch(guest, good, false);
    await this.#candidates.restart(deviceClass);
  }

  #failureOf(deviceClass: string): string | undefined {
    const unfit = this.#unfit.get(deviceClass);
    return unfit === undefined ? this.#failures.get(deviceClass) : `${unfit.code}: ${unfit.message}`;
  }

  /** What the source can't give is told once. What is in force of such a class stays there; where nothing is, its devices are given to nobody. */
  #noteUnfit(unfit: readonly UnfitModule[]): void {
    for (const found of unfit) {
      const known = this.#unfit.get(found.class);
      if (known?.code === found.code && known.message === found.message) continue;
      const stays = this.#places.get(found.class)?.inForce.manifest.version;
      const text =
        stays === undefined
          ? 'a module in the store can’t be loaded: nobody gets devices of its class'
          : 'a module in the store can’t be loaded: what was in force stays';
      this.log.error({ ...found, inForce: stays ?? null }, text);
    }
    this.#unfit = new Map(unfit.map((found) => [found.class, found]));
  }

  async #replace(candidate: TestedPolicy): Promise<Switch> {
    const deviceClass = candidate.manifest.class;
    const place = this.#places.get(deviceClass);
    const result: Switch = {
      class: deviceClass,
      module: moduleName(candidate),
      failure: null,
      switched: [],
      kept: [],
    };
    try {
      if (place?.quarantined.some(({ digest }) => digest === candidate.digest))
        throw new Error('It misbehaved here before, and is quarantined.');
      const module = this.#preparer.prepare(candidate);
      this.#compiled.set(keyOfModule(candidate), module);
      await module;
      await this.#putInForce(candidate, place, result);
      this.log.info({ ...result }, 'a module is in force');
    } catch (error) {
      this.#compiled.delete(keyOfModule(candidate));
      result.failure = (error as Error).message;
      this.#failures.set(deviceClass, result.failure);
      this.log.error({ ...result }, 'a module is not put into force; what was in force stays');
    }
    this.#latest.set(deviceClass, result);
    return result;
  }

  async #putInForce(candidate: TestedPolicy, place: Place | undefined, result: Switch): Promise<void> {
    const hasFallback =
      candidate.manifest.fallback !== 'none' && place !== undefined && isBefore(place.inForce, candidate);
    const next: Place = {
      inForce: candidate,
      previous: hasFallback ? place.inForce : undefined,
      quarantined: place?.quarantined ?? [],
      isAlone: false,
    };
    this.#failures.delete(candidate.manifest.class);
    // Guests that begin from here on get the new module; those that are there are switched one by one.
    this.#places.set(candidate.manifest.class, next);
    this.#forgetOthers(next);
    for (const guest of this.guests.of(candidate.manifest.class)) {
      const refusal = await this.#switch(guest, candidate, hasFallback);
      if (refusal === undefined) result.switched.push(guest.name);
      else result.kept.push({ guest: guest.name, reason: refusal });
    }
    await this.#candidates.restart(candidate.manifest.class);
    this.#garbage.add();
  }

  /** Why the guest keeps what it has; undefined when it has the new module, or has ended. */
  async #switch(guest: Guest, candidate: PolicyPackage, onTrial: boolean): Promise<string | undefined> {
    const answered = guest.mediation.switchTo(await this.compiled(candidate), onTrial);
    // A guest whose program does not run yet takes the module before anything else; how long its command waits is its own affair.
    const answer = guest.pid === 0 ? undefined : await answered;
    if (answer?.refusal !== undefined) return answer.refusal;
    guest.packages = guest.packages.map((other) =>
      other.manifest.class === candidate.manifest.class ? candidate : other,
    );
    return undefined;
  }

  /** Of a class only what is in force and what was before it stay compiled. */
  #forgetOthers({ inForce, previous }: Place): void {
    const packages = [...this.#places.values(), { inForce, previous }].flatMap((place) => [
      place.inForce,
      ...(place.previous === undefined ? [] : [place.previous]),
    ]);
    const kept = new Set(packages.map(keyOfModule));
    for (const key of this.#compiled.keys()) if (!kept.has(key)) this.#compiled.delete(key);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => {});
    return result;
  }
}

/** Whether a module may judge again when the new one misbehaves: after a rollback, what was gone back from may not. */
function isBefore({ digest, manifest }: PolicyPackage, { before }: TestedPolicy): boolean {
  return before?.some((each) => each.digest === digest && each.sequence === manifest.sequence) ?? true;
}

/** What would judge if the module in force misbehaved: what is at hand, or what the source says is before it. */
function fallbackOf({ inForce, previous, quarantined, isAlone }: Place): ModuleName | null {
  if (previous !== undefined) return moduleName(previous);
  if (isAlone || inForce.manifest.fallback === 'none') return null;
  const next = inForce.before?.find(({ digest }) => !quarantined.some((bad) => bad.digest === digest));
  return next === undefined ? null : { class: inForce.manifest.class, ...next };
}

function nameOrNull(candidate: PolicyPackage | undefined): ModuleName | null {
  return candidate === undefined ? null : moduleName(candidate);
}
