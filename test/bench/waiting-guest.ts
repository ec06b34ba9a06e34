import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { openLog } from '../../host/cli/log.js';
import { type GuestOptions, type GuestReport, runGuest } from '../../host/mediator/guest.js';
import { numbersAfter } from './programs.js';

const log = openLog({});

/** What operations took, nanoseconds. */
export type Times = Record<'median' | 'p99', number>;

/** A guest that says `ready`, waits for lines with a number of operations, makes them, and says how long they took. */
export class WaitingGuest {
  readonly #lines: string[] = [];
  #wake: (() => void) | undefined;
  #end: Promise<GuestReport>;
  #launcher: ChildProcess | undefined;

  private constructor(options: Pick<GuestOptions, 'program' | 'args' | 'devices' | 'domain' | 'policies'>) {
    this.#end = runGuest({
      ...options,
      log,
      name: options.program,
      stdio: ['pipe', 'pipe', 'inherit'],
      onStart: (launcher) => this.#attach(launcher),
    });
    this.#end.catch(() => this.#wake?.());
  }

  /** Returns when the guest is ready. */
  static async start(
    options: Pick<GuestOptions, 'program' | 'args' | 'devices' | 'domain' | 'policies'>,
  ): Promise<WaitingGuest> {
    const guest = new WaitingGuest(options);
    await guest.#line();
    return guest;
  }

  /** Has the guest make operations. */
  async work(operations: number): Promise<Times> {
    return numbersAfter(await this.ask(`${operations}`), ['median', 'p99']);
  }

  /** Tells the guest a line, and returns the line that it answers. */
  async ask(line: string): Promise<string> {
    this.#launcher?.stdin?.write(`${line}\n`);
    return await this.#line();
  }

  /** Ends the guest. */
  async stop(): Promise<void> {
    this.#launcher?.stdin?.end();
    await this.#end;
  }

  #attach(launcher: ChildProcess): void {
    this.#launcher = launcher;
    launcher.stdin?.on('error', () => {});
    if (launcher.stdout === null) return;
    createInterface({ input: launcher.stdout }).on('line', (line) => {
      this.#lines.push(line);
      this.#wake?.();
    });
  }

  /** The next line; the guest's failure, where there is none. */
  async #line(): Promise<string> {
    while (this.#lines.length === 0) {
      const woken = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      await Promise.race([woken, this.#end.then(({ exitCode }) => this.#demandLine(exitCode))]);
    }
    return this.#lines.shift() as string;
  }

  #demandLine(exitCode: number | null): void {
    if (this.#lines.length === 0) throw new Error(`A guest ended with ${exitCode} before it answered.`);
  }
}
