import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { GuestState } from '../../host/serve/protocol.js';
import { isAlive, type Outcome, postern, RunningPostern, until } from '../cli/postern.js';

/** A `postern serve` of a test, at a socket of its own. */
export class ServedHost {
  readonly folder = mkdtempSync(join(tmpdir(), 'postern-serve-'));
  readonly socket = join(this.folder, 'postern', 'host.sock');
  readonly store = join(this.folder, 'store');
  readonly trust = join(this.folder, 'trust.json');
  process: RunningPostern;

  private constructor(private readonly parameters: readonly string[]) {
    this.process = this.#spawn();
  }

  /** Starts a host, of the local driver domain unless the parameters say otherwise. */
  static async start(parameters: readonly string[] = ['--driver-vm', 'local']): Promise<ServedHost> {
    const host = new ServedHost(parameters);
    await host.process.printed('serving at');
    return host;
  }

  get pid(): number {
    return this.process.child.pid as number;
  }

  /** Starts a host in the place of one that has ended. */
  async restart(): Promise<void> {
    this.process = this.#spawn();
    await this.process.printed('serving at');
  }

  /** Runs a command that speaks to this host, to its end. */
  command(name: string, ...rest: string[]): Outcome {
    return postern([...name.split(' '), '--socket', this.socket, ...rest]);
  }

  /** Runs a program as a guest, to its end. */
  run(...command: string[]): Outcome {
    return this.command('run', '--', ...command);
  }

  /** Starts a program as a guest. */
  guest(...command: string[]): RunningPostern {
    return new RunningPostern(['run', '--socket', this.socket, '--', ...command]);
  }

  guests(): GuestState[] {
    return JSON.parse(this.command('guests', '--json').out) as GuestState[];
  }

  /** Ends the host if it is there, and removes its folder. */
  async close(): Promise<void> {
    if (isAlive(this.pid)) {
      this.process.child.kill('SIGTERM');
      await this.process.end();
    }
    rmSync(this.folder, { recursive: true });
  }

  #spawn(): RunningPostern {
    const files = ['--store', this.store, '--trust', this.trust];
    return new RunningPostern(['serve', '--socket', this.socket, ...files, ...this.parameters]);
  }
}

/** Waits until none of the processes is there. */
export async function gone(pids: readonly number[]): Promise<void> {
  await until(() => !pids.some(isAlive), `the processes ${pids.join(', ')} to end`);
}
