import { type StoreChoice, storeOf } from './change-store.js';
import { printJson, refusing } from './refusal.js';

/** What `postern policy promote` and `withdraw` were asked for. */
export interface PromoteChoice extends StoreChoice {
  why?: string;
}

/** `postern policy promote`. */
export async function promote(deviceClass: string, options: PromoteChoice): Promise<void> {
  await change(deviceClass, options, 'promote', 'is in force');
}

/** `postern policy withdraw`. */
export async function withdraw(deviceClass: string, options: PromoteChoice): Promise<void> {
  await change(deviceClass, options, 'withdrawCandidate', 'is no candidate any more');
}

async function change(
  deviceClass: string,
  options: PromoteChoice,
  how: 'promote' | 'withdrawCandidate',
  becomes: string,
): Promise<void> {
  const { json, why } = options;
  await refusing(json, async () => {
    const store = storeOf(options);
    const entry = await store[how](deviceClass, why === undefined ? {} : { why });
    if (json) printJson({ store: store.folder, class: deviceClass, ...entry });
    else process.stdout.write(`${entry.name} ${entry.version} (sequence ${entry.sequence}) ${becomes}.\n`);
  });
}
