/** Makes policy modules ready away from every mediator: metered, compiled, tried and warm. */
import { setPriority } from 'node:os';
import { parentPort } from 'node:worker_threads';
import type { ModuleInput } from '../mediator/messages.js';
import { warmUp } from '../mediator/warm-up.js';
import type { Manifest } from '../policy/manifest.js';
import { meteredModule } from '../policy/meter.js';
import { runVectors, type TriedPolicy, type VectorFile } from '../policy/vectors.js';

/** What the worker gets. */
export interface PrepareInput {
  core: Uint8Array;
  manifest: Manifest;
  digest: string;
  vectors: VectorFile | undefined;
}

/** What it answers. */
export type PrepareAnswer = { module: ModuleInput } | { refusal: string };

/** What guests do goes before: setpriority(2) with 0 means the calling thread. */
const NICE = 10;

setPriority(0, NICE);
parentPort?.on('message', async (input: PrepareInput) => parentPort?.postMessage(await prepare(input)));

async function prepare({ core, manifest, digest, vectors }: PrepareInput): Promise<PrepareAnswer> {
  try {
    const module: ModuleInput = { manifest, digest, module: await meteredModule(core) };
    const refusal = warmUp(module) ?? (vectors && (await selfTest({ core, manifest }, vectors)));
    return refusal === undefined ? { module } : { refusal };
  } catch (error) {
    return { refusal: (error as Error).message };
  }
}

/** What is wrong with the module by its own test vectors; undefined when nothing is. */
async function selfTest(policy: TriedPolicy, vectors: VectorFile): Promise<string | undefined> {
  const { total, passed, failures } = await runVectors(policy, vectors);
  const [first] = failures;
  if (first === undefined) return undefined;
  const { vector, field, expected, actual } = first;
  const difference = `expected ${field} to be ${JSON.stringify(expected)}, got ${JSON.stringify(actual)}`;
  return `The module fails ${total - passed} of its ${total} test vectors, the first is '${vector}': ${difference}.`;
}
