import type pino from 'pino';
import type { ModuleInput } from '../mediator/messages.js';
import { isSameModule, keyOfModule } from '../mediator/same-module.js';
import type { UnfitModule } from '../package/stored.js';
import type { PolicyPackage } from '../policy/store.js';
import { type Guest, type Guests, moduleName } from './guests.js';
import type { Preparer, TestedPolicy } from './prepare.js';
import type { ShadowReport } from './protocol.js';
import { Shadow } from './shadow.js';

interface Candidate {
  package: PolicyPackage;
  module: ModuleInput;
}

/** The module in force of a class, as mediators have it; undefined: the class has none. */
export type InForce = (deviceClass: string) => Promise<ModuleInput | undefined>;

/** Modules in shadow mode: each judges what guests do beside the module in force, and changes nothing. */
export class Candidates {
  readonly #candidates = new Map<string, Candidate>();
  readonly #shadow = new Shadow();
  /** Candidates that are not fit, with why. */
  readonly #failures = new Map<string, { key: string; message: string }>();

  constructor(
    private readonly guests: Guests,
    private readonly preparer: Preparer,
    private readonly inForce: InForce,
    private readonly log: pino.Logger,
  ) {}

  of(deviceClass: string): PolicyPackage | undefined {
    return this.#candidates.get(deviceClass)?.package;
  }

  /** Why the candidate that was last wanted of a class does not judge; undefined: it does, or there is none. */
  failureOf(deviceClass: string): string | undefined {
    return this.#failures.get(deviceClass)?.message;
  }

  /**
   * Has these judge, and no others. One that is not fit is told of, and left out.
   * @param unfit those that could not even be loaded
   */
  async take(packages: readonly TestedPolicy[], unfit: readonly UnfitModule[]): Promise<void> {
    const wanted = new Map(packages.map((candidate) => [candidate.manifest.class, candidate]));
    for (const [deviceClass, { package: before }] of this.#candidates)
      if (!isSameModule(wanted.get(deviceClass), before)) await this.#end(deviceClass);
    for (const deviceClass of this.#failures.keys())
      if (!wanted.has(deviceClass)) this.#failures.delete(deviceClass);
    for (const { class: deviceClass, code, message } of unfit)
      this.#failures.set(deviceClass, { key: '', message: `${code}: ${message}` });
    for (const [deviceClass, candidate] of wanted)
      if (
        !this.#candidates.has(deviceClass) &&
        this.#failures.get(deviceClass)?.key !== keyOfModule(candidate)
      )
        await this.#begin(deviceClass, candidate);
  }

  /** Has the candidates judge a guest that has just begun. */
  async attend(guest: Guest): Promise<void> {
    for (const { manifest } of guest.packages) await this.#shadowGuest(guest, manifest.class);
  }

  /** Another module is in force: candidates are compared with it from now on. */
  async restart(deviceClass: string): Promise<void> {
    for (const guest of this.guests.of(deviceClass)) await this.#shadowGuest(guest, deviceClass);
  }

  /** What was found so far, by class. */
  async reports(): Promise<ShadowReport[]> {
    const findings = await this.#shadow.report();
    return [...this.#candidates].map(([deviceClass, candidate]) => {
      const found = findings.find((finding) => finding.class === deviceClass);
      const { judged = 0, lost = 0, differences = [] } = found ?? {};
      return { class: deviceClass, candidate: moduleName(candidate.package), judged, lost, differences };
    });
  }

  async close(): Promise<void> {
    await this.#shadow.close();
  }

  async #begin(deviceClass: string, candidate: TestedPolicy): Promise<void> {
    try {
      const module = await this.preparer.prepare(candidate);
      this.#candidates.set(deviceClass, { package: candidate, module });
      this.#failures.delete(deviceClass);
      await this.restart(deviceClass);
      this.log.info({ candidate: moduleName(candidate) }, 'a candidate judges beside the module in force');
    } catch (error) {
      const { message } = error as Error;
      this.#failures.set(deviceClass, { key: keyOfModule(candidate), message });
      this.log.error({ candidate: moduleName(candidate), message }, 'a candidate is not fit to judge');
    }
  }

  async #end(deviceClass: string): Promise<void> {
    this.#candidates.delete(deviceClass);
    for (const guest of this.guests.of(deviceClass)) this.#shadow.end(guest, deviceClass);
  }

  async #shadowGuest(guest: Guest, deviceClass: string): Promise<void> {
    const candidate = this.#candidates.get(deviceClass);
    const inForce = candidate === undefined ? undefined : await this.inForce(deviceClass);
    if (candidate !== undefined && inForce !== undefined)
      this.#shadow.begin(guest, inForce, candidate.module);
  }
}
