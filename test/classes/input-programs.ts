import { setTimeout as sleep } from 'node:timers/promises';
import { openLog } from '../../host/cli/log.js';
import type { DriverDomain } from '../../host/driver-vm/domain.js';
import { runGuest } from '../../host/mediator/guest.js';

const POLL_MS = 20;
const POLLS_MAX = 1500;

/** A program that runs, as a guest or beside the driver. */
export class Running {
  output = '';
  readonly ended: Promise<unknown>;
  #hasEnded = false;

  private constructor(start: (onOutput: (chunk: Buffer) => void) => Promise<unknown>) {
    this.ended = start((chunk) => {
      this.output += chunk.toString();
    }).finally(() => {
      this.#hasEnded = true;
    });
    // Whoever waits for it sees it fail.
    this.ended.catch(() => {});
  }

  static asGuest(domain: DriverDomain, devices: string[], command: readonly string[]): Running {
    const [program = '', ...args] = command;
    return new Running((onOutput) =>
      runGuest({
        program,
        args,
        devices: devices.map((name) => ({ name, path: `/dev/${name}` })),
        domain,
        log: openLog({}),
        name: program,
        stdio: ['ignore', 'pipe', 'inherit'],
        onStart: (launcher) => launcher.stdout?.on('data', onOutput),
      }),
    );
  }

  static beside(domain: DriverDomain, command: readonly string[]): Running {
    return new Running((onOutput) => domain.run(command, onOutput));
  }

  /** Waits until `text` has been printed. */
  async printed(text: string): Promise<void> {
    for (let poll = 0; poll < POLLS_MAX && !this.output.includes(text); poll++) {
      if (this.#hasEnded) break;
      await sleep(POLL_MS);
    }
    if (!this.output.includes(text)) throw new Error(`Waited in vain for '${text}' in: ${this.output}`);
  }

  /** Waits for the end, and returns what was printed. */
  async end(): Promise<string> {
    await this.ended;
    return this.output;
  }
}
