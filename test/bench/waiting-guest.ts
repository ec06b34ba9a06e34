import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { openLog } from '../../host/cli/log.js';
import { type GuestOptions, type GuestReport, runGuest } from '../../host/mediator/guest.js';

const log = openLog({});

/** A guest that waits for lines and answers each by a line. */
export class WaitingGuest {
  readonly #lines: string[] = [];
  #wake: (() => void) | undefined;
  readonly #end: Promise<GuestReport>;
  #launcher: ChildProcess | undefined;

  constructor(options: Pick<GuestOptions, 'program' | 'args' | 'devices' | 'domain'>) {
    this.#end = runGuest({
      ...options,
      log,
      name: 'bench',
      stdio: ['pipe', 'pipe', 'inherit'],
      onStart: (launcher) => this.#attach(launcher),
    });
    this.#end.catch(() => {}).finally(() => this.#wake?.());
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

  /**
   * The next line.
   * @throws Error when the guest ends without one
   */
  async line(): Promise<string> {
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

  say(line: string): void {
    this.#launcher?.stdin?.write(`${line}\n`);
  }

  /** Ends its input. */
  end(): void {
    this.#launcher?.stdin?.end();
  }

  async stop(): Promise<void> {
    this.end();
    await this.#end;
  }
}
