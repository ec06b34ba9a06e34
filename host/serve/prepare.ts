import { fork } from 'node:child_process';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { ModuleInput } from '../mediator/messages.js';
import type { VersionName } from '../package/stored.js';
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
  before?: readonly VersionName[] | undefined;
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
      if (this.#trial?.hasEnded !== false) this.#trial = startTrial();
      const tried = await this.#trial.ask({ core, manifest, vectors });
      if ('refusal' in tried) throw new Error(tried.refusal);
      if (this.#compiler?.hasEnded !== false) this.#compiler = startCompiler();
      const answer = await this.#compiler.ask({ metered: tried.metered, manifest, digest, vectors });
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

/** Who does one of the steps, one input after the other. */
class Helper<Input, Answer> {
  #waiting: { resolve: (answer: Answer) => void; reject: (error: Error) => void } | undefined;
  #hasEnded = false;

  constructor(
    private readonly what: string,
    private readonly post: (input: Input) => void,
    readonly end: () => Promise<void>,
  ) {}

  /**
   * Its answer to an input.
   * @throws Error when it has ended, or takes too long
   */
  async ask(input: Input): Promise<Answer> {
    const late = `is not done after ${PREPARE_MS_MAX / 1000} seconds`;
    const timer = setTimeout(() => this.fail(late), PREPARE_MS_MAX);
    try {
      return await new Promise<Answer>((resolve, reject) => {
        this.#waiting = { resolve, reject };
        this.post(input);
      });
    } finally {
      clearTimeout(timer);
      this.#waiting = undefined;
    }
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  gone(): void {
    this.#hasEnded = true;
    this.fail('has ended');
  }

  take(answer: Answer): void {
    this.#waiting?.resolve(answer);
  }

  fail(why: string): void {
    this.#waiting?.reject(new Error(`The ${this.what} ${why}.`));
  }
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
  const helper = new Helper<TrialInput, TrialAnswer>(
    'process that tries the module',
    (input) => child.send(input, (error) => error && helper.gone()),
    async () => {
      child.kill('SIGKILL');
      await gone;
    },
  );
  child.on('message', (answer: TrialAnswer) => helper.take(answer));
  child.once('error', ({ message }) => helper.fail(`does not run: ${message}`));
  child.once('exit', () => helper.gone());
  return helper;
}

function startCompiler(): Helper<PrepareInput, PrepareAnswer> {
  const worker = new Worker(WORKER);
  const helper = new Helper<PrepareInput, PrepareAnswer>(
    'thread that compiles the module',
    (input) => worker.postMessage(input),
    async () => void (await worker.terminate()),
  );
  worker.on('message', (answer: PrepareAnswer) => helper.take(answer));
  worker.once('error', ({ message }) => helper.fail(`failed: ${message}`));
  worker.once('exit', () => helper.gone());
  return helper;
}
