import { fork } from 'node:child_process';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { ModuleInput } from '../mediator/messages.js';
import type { PolicyPackage } from '../policy/store.js';
import type { VectorFile } from '../policy/vectors.js';
import { ROOT } from '../root.js';
import type { PrepareAnswer, PrepareInput } from './prepare-worker.js';
import type { TrialAnswer, TrialInput } from './trial-process.js';

const WORKER = join(ROOT, 'dist', 'host', 'serve', 'prepare-worker.js');
const TRIAL = join(ROOT, 'dist', 'host', 'serve', 'trial-process.js');
/** As prepare-worker.ts: all threads of the process give way to guests, those that V8 compiles and collects with too. */
const NICE = ['-n', '10'];
/** Metering and compiling a module of the largest size takes seconds; a module that keeps the compiler busy longer is not fit. */
const PREPARE_MS_MAX = 60_000;
/** Starting the process and loading the meter takes longer than most modules: both wait a while for the next one. */
const IDLE_MS_MAX = 10_000;

/** A module with its test vectors, if it came with any. */
export type TestedPolicy = PolicyPackage & {
  vectors?: VectorFile | undefined;
  /** The versions of which one may judge again when this one misbehaves; undefined: whichever was in force. */
  before?: readonly { digest: string; sequence: number }[] | undefined;
};

/**
 * Makes modules ready, one at a time; no operation of a guest waits for it. A process of its own meters and tries them: its threads give
 * way as a whole, and its memory is not the host's. What it let pass is compiled by a thread of this process, for compiled code can't
 * leave its process.
 */
export class Preparer {
  #trial: Helper<TrialInput, TrialAnswer> | undefined;
  #compiler: Helper<PrepareInput, PrepareAnswer> | undefined;
  #idle: NodeJS.Timeout | undefined;

  /**
   * Makes a module ready.
   * @throws Error with why the module is not fit
   */
  async prepare({ core, manifest, digest, vectors }: TestedPolicy): Promise<ModuleInput> {
    clearTimeout(this.#idle);
    try {
      this.#trial ??= startTrial();
      const tried = await answerOf(this.#trial, { core, manifest, vectors });
      if ('refusal' in tried) throw new Error(tried.refusal);
      this.#compiler ??= startCompiler();
      const answer = await answerOf(this.#compiler, { metered: tried.metered, manifest, digest, vectors });
      if ('refusal' in answer) throw new Error(answer.refusal);
      this.#idle = setTimeout(() => void this.close(), IDLE_MS_MAX).unref();
      return answer.module;
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    clearTimeout(this.#idle);
    const helpers = [this.#trial, this.#compiler];
    this.#trial = undefined;
    this.#compiler = undefined;
    await Promise.all(helpers.map((helper) => helper?.end()));
  }
}

/** Who does one of the steps: it answers each input once. */
interface Helper<Input, Answer> {
  readonly what: string;
  post(input: Input): void;
  /** Its next answer; rejects when it has ended. */
  next(): Promise<Answer>;
  end(): Promise<void>;
}

function startTrial(): Helper<TrialInput, TrialAnswer> {
  const child = fork(TRIAL, {
    execPath: 'nice',
    execArgv: [...NICE, process.execPath],
    serialization: 'advanced',
  });
  const gone = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
    child.once('error', () => resolve());
  });
  return {
    what: 'process that tries the module',
    post: (input) => void child.send(input),
    next: () => firstOf<TrialAnswer>((resolve) => child.once('message', resolve), gone),
    end: async () => {
      child.kill('SIGKILL');
      await gone;
    },
  };
}

function startCompiler(): Helper<PrepareInput, PrepareAnswer> {
  const worker = new Worker(WORKER);
  const gone = new Promise<void>((resolve) => {
    worker.once('exit', () => resolve());
    worker.once('error', () => resolve());
  });
  return {
    what: 'thread that compiles the module',
    post: (input) => worker.postMessage(input),
    next: () => firstOf<PrepareAnswer>((resolve) => worker.once('message', resolve), gone),
    end: async () => void (await worker.terminate()),
  };
}

function firstOf<Answer>(
  listen: (resolve: (answer: Answer) => void) => void,
  gone: Promise<void>,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    listen(resolve);
    void gone.then(() => reject(new Error('has ended')));
  });
}

async function answerOf<Input, Answer>(helper: Helper<Input, Answer>, input: Input): Promise<Answer> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`is not done after ${PREPARE_MS_MAX / 1000} seconds`)),
      PREPARE_MS_MAX,
    );
  });
  try {
    const answer = helper.next();
    helper.post(input);
    return await Promise.race([answer, late]);
  } catch (error) {
    throw new Error(`The ${helper.what} ${(error as Error).message}.`);
  } finally {
    clearTimeout(timer);
  }
}
