import type { Mediation } from '../mediator/mediation.js';
import type { PolicyPackage } from '../policy/store.js';
import type { Channel } from './channel.js';
import type { GuestState, ModuleName } from './protocol.js';

/** A guest of this host. */
export interface Guest {
  name: string;
  /** Where its launcher's command listens. */
  channel: Channel;
  mediation: Mediation;
  /** The modules that judge it, by class index. */
  packages: PolicyPackage[];
  startedMs: number;
  /** Of its program; 0 until it runs. */
  pid: number;
}

/** The guests of one host, by name. */
export class Guests {
  readonly #guests = new Map<string, Guest>();
  /** Names of guests that are on their way. */
  readonly #reserved = new Set<string>();

  /** A name that no other guest has: `wanted`, or with a number behind it. It is the caller's until add or release. */
  reserve(wanted: string): string {
    let name = wanted;
    for (let number = 2; this.#guests.has(name) || this.#reserved.has(name); number++)
      name = `${wanted}-${number}`;
    this.#reserved.add(name);
    return name;
  }

  add(guest: Guest): void {
    this.#guests.set(guest.name, guest);
  }

  /** Frees the name. */
  release(name: string): void {
    this.#guests.delete(name);
    this.#reserved.delete(name);
  }

  all(): Guest[] {
    return [...this.#guests.values()];
  }

  /** Those whom modules of a class judge. */
  of(deviceClass: string): Guest[] {
    return this.all().filter(({ packages }) =>
      packages.some(({ manifest }) => manifest.class === deviceClass),
    );
  }

  find(name: string): Guest | undefined {
    return this.#guests.get(name);
  }

  /** What there is to say of each. */
  async states(inFront: string | undefined): Promise<GuestState[]> {
    const states = await Promise.all(this.all().map((guest) => stateOf(guest, guest.name === inFront)));
    return states.filter((state) => state !== undefined);
  }
}

async function stateOf(
  { name, pid, startedMs, mediation, packages }: Guest,
  foreground: boolean,
): Promise<GuestState | undefined> {
  const counters = pid === 0 ? {} : await mediation.count();
  if (counters === undefined) return undefined;
  const seconds = (performance.now() - startedMs) / 1000;
  return { name, pid, seconds, foreground, modules: packages.map(moduleName), counters };
}

/** A module by what its manifest says of it. */
export function moduleName({ manifest, digest }: PolicyPackage): ModuleName {
  return {
    class: manifest.class,
    name: manifest.name,
    version: manifest.version,
    sequence: manifest.sequence,
    digest,
  };
}
