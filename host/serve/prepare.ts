import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { ModuleInput } from '../mediator/messages.js';
import type { PolicyPackage } from '../policy/store.js';
import type { VectorFile } from '../policy/vectors.js';
import { ROOT } from '../root.js';
import type { PrepareAnswer, PrepareInput } from './prepare-worker.js';

const WORKER = join(ROOT, 'dist', 'host', 'serve', 'prepare-worker.js');
/** Metering and compiling a module of the largest size takes seconds; a module that keeps the compiler busy longer is not fit. */
const PREPARE_MS_MAX = 60_000;
/** Starting the thread and loading the meter takes longer than most modules: it waits a while for the next one. */
const IDLE_MS_MAX = 10_000;

/** A module with its test vectors, if it came with any. */
export type TestedPolicy = PolicyPackage & {
  vectors?: VectorFile | undefined;
  /** The versions of which one may judge again when this one misbehaves; undefined: whichever was in force. */
  before?: readonly { digest: string; sequence: number }[] | undefined;
};

/** A thread that meters, compiles, tries and warms modules up, one at a time: no operation of a guest waits for it. */
export class Preparer {
  #worker: Worker | undefined;
  #idle: NodeJS.Timeout | undefined;

  /**
   * Makes a module ready.
   * @throws Error with why the module is not fit
   */
  async prepare({ core, manifest, digest, vectors }: TestedPolicy): Promise<ModuleInput> {
    clearTimeout(this.#idle);
    this.#worker ??= new Worker(WORKER);
    const input: PrepareInput = { core, manifest, digest, vectors };
    try {
      const answer = await answerTo(this.#worker, input);
      this.#idle = setTimeout(() => void this.close(), IDLE_MS_MAX).unref();
      if ('module' in answer) return answer.module;
      throw new Error(answer.refusal);
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    clearTimeout(this.#idle);
    const worker = this.#worker;
    this.#worker = undefined;
    await worker?.terminate();
  }
}

function answerTo(worker: Worker, input: PrepareInput): Promise<PrepareAnswer> {
  return new Promise<PrepareAnswer>((resolve, reject) => {
    const giveUp = (): void =>
      reject(new Error(`The module is not ready after ${PREPARE_MS_MAX / 1000} seconds.`));
    const timer = setTimeout(giveUp, PREPARE_MS_MAX);
    const gone = (): void => reject(new Error('The thread that prepares the module has ended.'));
    const settled = (): void => {
      clearTimeout(timer);
      worker.off('error', reject).off('exit', gone);
    };
    worker.once('message', (answer: PrepareAnswer) => {
      settled();
      resolve(answer);
    });
    worker.once('error', reject).once('exit', gone);
    worker.postMessage(input);
  });
}
