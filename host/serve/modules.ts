import type pino from 'pino';
import { compileModule } from '../mediator/guest.js';
import type { ModuleInput } from '../mediator/messages.js';
import { isSameModule, keyOfModule } from '../mediator/same-module.js';
import type { PolicyPackage } from '../policy/store.js';
import { Candidates } from './candidates.js';
import { Garbage } from './garbage.js';
import { type Guest, type Guests, moduleName } from './guests.js';
import { Preparer, type TestedPolicy } from './prepare.js';
import type { ClassState, ModuleName, ShadowReport, Switch } from './protocol.js';

/** What a class has in this host. */
interface Place {
  inForce: PolicyPackage;
  /** What was in force before, and is put back when the module in force misbehaves. */
  previous: PolicyPackage | undefined;
  /** Digests of modules that misbehaved here: they don't come back. */
  quarantined: ModuleName[];
  /** Why the last new module is not in force. */
  failure: string | undefined;
}

/** The modules of a host: which is in force for each class, and how another takes its place while guests run. */
export class Modules {
  readonly #places = new Map<string, Place>();
  readonly #compiled = new Map<string, Promise<ModuleInput>>();
  readonly #preparer = new Preparer();
  readonly #candidates: Candidates;
  readonly #garbage = new Garbage();
  readonly #latest = new Map<string, Switch>();
  /** Changes happen one after the other. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(
    packages: readonly PolicyPackage[],
    private readonly guests: Guests,
    private readonly log: pino.Logger,
  ) {
    this.#candidates = new Candidates(
      guests,
      this.#preparer,
      (deviceClass) => this.#inForceOf(deviceClass),
      log,
    );
    for (const inForce of packages)
      this.#places.set(inForce.manifest.class, {
        inForce,
        previous: undefined,
        quarantined: [],
        failure: undefined,
      });
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

  states(): ClassState[] {
    return [...this.#places].map(([deviceClass, { inForce, previous, quarantined, failure }]) => ({
      class: deviceClass,
      inForce: moduleName(inForce),
      previous: nameOrNull(previous),
      candidate: nameOrNull(this.#candidates.of(deviceClass)),
      quarantined,
      failure: failure ?? null,
      candidateFailure: this.#candidates.failureOf(deviceClass) ?? null,
    }));
  }

  /** Puts into force what differs from what is there. Whatever fails leaves the old module in force, and the result says so. */
  async take(packages: readonly TestedPolicy[]): Promise<Switch[]> {
    const done: Switch[] = [];
    for (const candidate of packages) {
      const result = await this.#inTurn(async () => {
        // Looked at only now: who asked before may have put it in force meanwhile.
        const isThere = isSameModule(this.#places.get(candidate.manifest.class)?.inForce, candidate);
        return isThere ? undefined : await this.#replace(candidate);
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
  async takeCandidates(packages: readonly TestedPolicy[]): Promise<void> {
    await this.#inTurn(() => this.#candidates.take(packages));
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

  /** A guest has found that a module misbehaves: everybody gets the one before it back. Whether that is news. */
  async quarantine(deviceClass: string, digest: string): Promise<boolean> {
    return await this.#inTurn(async () => {
      const place = this.#places.get(deviceClass);
      if (place === undefined || place.inForce.digest !== digest || place.previous === undefined)
        return false;
      const [bad, good] = [place.inForce, place.previous];
      place.quarantined.push(moduleName(bad));
      place.inForce = good;
      place.previous = undefined;
      this.#forgetOthers(place);
      for (const guest of this.guests.of(deviceClass)) await this.#switch(guest, good, false);
      await this.#candidates.restart(deviceClass);
      this.log.error(
        { class: deviceClass, quarantined: bad.manifest.version, inForce: good.manifest.version },
        'a module misbehaved and is quarantined; the version before it is in force again',
      );
      return true;
    });
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
      if (place !== undefined) place.failure = result.failure;
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
      failure: undefined,
    };
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

function nameOrNull(candidate: PolicyPackage | undefined): ModuleName | null {
  return candidate === undefined ? null : moduleName(candidate);
}
