import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { ModuleInput } from '../mediator/messages.js';
import type { PolicyPackage } from '../policy/store.js';
import { ROOT } from '../root.js';
import type { PrepareAnswer, PrepareInput } from './prepare-worker.js';

const WORKER = join(ROOT, 'dist', 'host', 'serve', 'prepare-worker.js');
/** Metering and compiling a module of the largest size takes seconds; a module that keeps the compiler busy longer is not fit. */
const PREPARE_MS_MAX = 60_000;

/**
 * Meters, compiles, tries and warms a module up, in a thread of its own: no operation of a guest waits for it.
 * @throws Error with why the module is not fit
 */
export async function prepareModule({ core, manifest, digest }: PolicyPackage): Promise<ModuleInput> {
  const worker = new Worker(WORKER, { workerData: { core, manifest, digest } satisfies PrepareInput });
  try {
    const answer = await answerOf(worker);
    if ('module' in answer) return answer.module;
    throw new Error(answer.refusal);
  } finally {
    await worker.terminate();
  }
}

function answerOf(worker: Worker): Promise<PrepareAnswer> {
  return new Promise((resolve, reject) => {
    const giveUp = (): void =>
      reject(new Error(`The module is not ready after ${PREPARE_MS_MAX / 1000} seconds.`));
    const timer = setTimeout(giveUp, PREPARE_MS_MAX);
    worker.once('message', resolve);
    worker.once('error', reject);
    worker.once('exit', () => {
      clearTimeout(timer);
      reject(new Error('The thread that prepares the module has ended.'));
    });
  });
}
