/** Makes a policy module ready away from every mediator: metered, compiled, tried and warm. Ends with one message. */
import { parentPort, workerData } from 'node:worker_threads';
import type { ModuleInput } from '../mediator/messages.js';
import { warmUp } from '../mediator/warm-up.js';
import type { Manifest } from '../policy/manifest.js';
import { meteredModule } from '../policy/meter.js';

/** What the worker gets. */
export interface PrepareInput {
  core: Uint8Array;
  manifest: Manifest;
  digest: string;
}

/** What it says in the end. */
export type PrepareAnswer = { module: ModuleInput } | { refusal: string };

const { core, manifest, digest } = workerData as PrepareInput;

async function prepare(): Promise<PrepareAnswer> {
  try {
    const module: ModuleInput = { manifest, digest, module: await meteredModule(core) };
    const refusal = warmUp(module);
    return refusal === undefined ? { module } : { refusal };
  } catch (error) {
    return { refusal: (error as Error).message };
  }
}

parentPort?.postMessage(await prepare());
