import { type StoreChoice, storeOf, tellChange } from './change-store.js';
import { refusing } from './refusal.js';
import type { HostChoice, Wanted } from './takeover.js';

/** What `postern policy promote` and `withdraw` were asked for. */
export interface PromoteChoice extends StoreChoice, HostChoice {
  why?: string;
}

/** `postern policy promote`. */
export async function promote(deviceClass: string, options: PromoteChoice): Promise<void> {
  await refusing(options.json, async () => {
    const store = storeOf(options);
    const entry = await store.promote(deviceClass, reasonOf(options));
    const wanted: Wanted = { class: deviceClass, module: entry, as: 'inForce' };
    await tellChange(
      store,
      wanted,
      options,
      { class: deviceClass, ...entry },
      () => `${named(entry)} is in force.`,
    );
  });
}

/** `postern policy withdraw`. */
export async function withdraw(deviceClass: string, options: PromoteChoice): Promise<void> {
  await refusing(options.json, async () => {
    const store = storeOf(options);
    const entry = await store.withdrawCandidate(deviceClass, reasonOf(options));
    const wanted: Wanted = { class: deviceClass, module: null, as: 'candidate' };
    const told = (): string => `${named(entry)} is no candidate any more.`;
    await tellChange(store, wanted, options, { class: deviceClass, ...entry }, told);
  });
}

function reasonOf({ why }: PromoteChoice): { why?: string } {
  return why === undefined ? {} : { why };
}

function named({ name, version, sequence }: { name: string; version: string; sequence: number }): string {
  return `${name} ${version} (sequence ${sequence})`;
}
