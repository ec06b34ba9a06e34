/** Compiles policy modules away from every mediator, and has them called until what guests will call is compiled. */
import { setPriority } from 'node:os';
import { parentPort } from 'node:worker_threads';
import type { ModuleInput } from '../mediator/messages.js';
import { warmUp } from '../mediator/warm-up.js';
import type { Manifest } from '../policy/manifest.js';
import type { VectorFile } from '../policy/vectors.js';

/** What the worker gets. */
export interface PrepareInput {
  metered: Uint8Array;
  manifest: Manifest;
  digest: string;
  vectors: VectorFile | undefined;
}

/** What it answers. */
export type PrepareAnswer = { module: ModuleInput } | { refusal: string };

/** What guests do goes before: setpriority(2) with 0 means the calling thread. */
const NICE = 10;

/** Compiled code is small to V8 and not to the machine. */
const MODULES_A_COLLECTION = 16;
let modules = 0;

setPriority(0, NICE);
parentPort?.on('message', async (input: PrepareInput) => {
  parentPort?.postMessage(await prepare(input));
  if (++modules % MODULES_A_COLLECTION === 0) globalThis.gc?.();
});

async function prepare({ metered, manifest, digest, vectors }: PrepareInput): Promise<PrepareAnswer> {
  try {
    const module: ModuleInput = { manifest, digest, module: await WebAssembly.compile(metered) };
    const refusal = warmUp(module, vectors);
    return refusal === undefined ? { module } : { refusal };
  } catch (error) {
    return { refusal: (error as Error).message };
  }
}
