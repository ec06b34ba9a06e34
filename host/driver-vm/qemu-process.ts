import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import type { Duplex } from 'node:stream';
import { ControlClient } from './control-client.js';
import type { Log } from './domain.js';
import { CONFINE, QEMU_DESCRIPTORS, type QemuNeeds, qemuCommand } from './qemu.js';
import { QmpClient } from './qmp.js';
import { withStreams } from './streams.js';
import { UntrustedLog } from './untrusted-log.js';

/** QEMU quits within milliseconds when it is asked to; one that does not is killed. */
const QUIT_TIMEOUT_MS = 3000;
/** How much of QEMU's own complaints, and of the VM's console, goes into the reason of an exit. */
const REASON_CHARACTERS_MAX = 600;

/** What a guest VM's QEMU gets of the host, as descriptors of this process. */
export interface ApertureEnds {
  /** The other end of the socket that the aperture is offered on. */
  socket: number;
  /** The driver domain's memory; the second may only be read through. */
  memory: number;
  memoryReadOnly: number;
  /** The other end of the socket that another driver domain's memory is handed over by. */
  gifts: number;
}

export interface QemuLaunch {
  qemuArguments: readonly string[];
  needs: QemuNeeds;
  kernel: string;
  initramfs: string;
  /** Descriptors of this process that QEMU gets. */
  memory: number;
  doorbell: number;
  screen: number;
  state?: number;
  recording?: number;
  /** For rendering: the key to the X server, and where that is. */
  /** A guest VM's. */
  aperture?: ApertureEnds;
  display?: { authority: number; environment: NodeJS.ProcessEnv };
  /** QEMU's working folder. */
  folder: string;
}

/** A running QEMU with its streams. */
export class QemuProcess {
  readonly qmp: QmpClient;
  readonly control: ControlClient;
  readonly #child: ChildProcess;
  readonly #ended: Promise<string>;
  #hasEnded = false;
  #complaints = '';
  #panic = '';
  #killedFor: string | undefined;

  constructor(launch: QemuLaunch, log: Log) {
    this.#child = withStreams(spawnQemu(launch), 'QEMU');
    const streams = this.#child.stdio as unknown as (Duplex | undefined)[];
    this.qmp = new QmpClient(streams[QEMU_DESCRIPTORS.qmp] as Duplex);
    this.control = new ControlClient(streams[QEMU_DESCRIPTORS.control] as Duplex, log);
    this.#listen(streams, log);
    this.qmp.on('GUEST_PANICKED', () => {
      this.#panic ||= 'no message on its console';
    });
    this.#ended = new Promise((resolve) => {
      this.#child.once('error', (error) => resolve(`QEMU could not be started: ${error.message}`));
      this.#child.once('close', (code, signal) => resolve(this.#describeEnd(code, signal)));
    });
    void this.#ended.then(() => {
      this.#hasEnded = true;
    });
  }

  /** QEMU's process id; undefined when it could not be started. */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Why QEMU has ended, when it has. */
  get ended(): Promise<string> {
    return this.#ended;
  }

  /** The result of `work`, or an error with the reason when QEMU ends first. */
  async orEnd<T>(work: Promise<T>): Promise<T> {
    // When QEMU ends, its streams fail as well: the reason of the end says more.
    const result = await Promise.race([
      work
        .then((value) => ({ value }))
        .catch(async (error: Error) => {
          await this.#soon();
          if (!this.#hasEnded) throw error;
          return undefined;
        }),
      this.#ended.then(() => undefined),
    ]);
    if (result === undefined) throw new Error(`The driver VM has ended: ${await this.#ended}`);
    return result.value;
  }

  /** Asks QEMU to quit, kills it after a while, and waits for its end. */
  async quit(): Promise<void> {
    if (this.#hasEnded) return;
    void this.qmp.execute('quit').catch(() => {});
    const timer = setTimeout(() => this.kill(), QUIT_TIMEOUT_MS);
    await this.#ended;
    clearTimeout(timer);
  }

  /** @param why told as the reason of its end */
  kill(why?: string): void {
    this.#killedFor ??= why;
    this.#child.kill('SIGKILL');
  }

  #soon(): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, 100));
  }

  #listen(streams: (Duplex | undefined)[], log: Log): void {
    const console = new UntrustedLog((line) => this.#takeConsoleLine(line, log), 'driver VM console');
    streams[QEMU_DESCRIPTORS.console]?.on('data', (chunk: Buffer) => console.push(chunk));
    streams[QEMU_DESCRIPTORS.console]?.on('error', () => {});
    for (const stream of [streams[1], streams[2]]) {
      stream?.on('data', (chunk: Buffer) => {
        this.#complaints = (this.#complaints + chunk.toString('utf8')).slice(-REASON_CHARACTERS_MAX);
      });
    }
  }

  #takeConsoleLine(line: string, log: Log): void {
    const panic = line.match(/Kernel panic - not syncing: (.*)/)?.[1];
    if (panic !== undefined) this.#panic ||= panic;
    log(line);
  }

  #describeEnd(code: number | null, signal: string | null): string {
    if (this.#panic !== '') return `its kernel panicked: ${this.#panic}`;
    if (this.#killedFor !== undefined) return this.#killedFor;
    if (signal !== null) return `QEMU was killed by ${signal}`;
    const words = this.#complaints.trim();
    if (code !== 0) return `QEMU exited with status ${code}${words === '' ? '' : `: ${words}`}`;
    return 'it was powered off';
  }
}

function spawnQemu(launch: QemuLaunch): ChildProcess {
  const { command, commandArguments } = qemuCommand(launch.qemuArguments, launch.needs);
  const kernel = openSync(launch.kernel, 'r');
  const initramfs = openSync(launch.initramfs, 'r');
  const confine = openSync(CONFINE, 'r');
  try {
    const fd = QEMU_DESCRIPTORS;
    const stdio: (number | 'ignore' | 'pipe')[] = ['ignore', 'pipe', 'pipe'];
    for (const piped of [fd.qmp, fd.control, fd.console]) stdio[piped] = 'pipe';
    Object.assign(stdio, { [fd.memory]: launch.memory, [fd.doorbell]: launch.doorbell });
    Object.assign(stdio, { [fd.kernel]: kernel, [fd.initramfs]: initramfs, [fd.screen]: launch.screen });
    // No entry may be missing: Node would number those after it anew.
    stdio[fd.state] = launch.state ?? 'ignore';
    stdio[fd.recording] = launch.recording ?? 'ignore';
    stdio[fd.authority] = launch.display?.authority ?? 'ignore';
    stdio[fd.aperture] = launch.aperture?.socket ?? 'ignore';
    stdio[fd.driverMemory] = launch.aperture?.memory ?? 'ignore';
    stdio[fd.driverMemoryReadOnly] = launch.aperture?.memoryReadOnly ?? 'ignore';
    stdio[fd.confine] = confine;
    stdio[fd.gifts] = launch.aperture?.gifts ?? 'ignore';
    const env = launch.display?.environment ?? process.env;
    // A session of its own: a terminal's Ctrl-C is for the guest, not for the driver VM.
    return spawn(command, commandArguments, { stdio, detached: true, cwd: launch.folder, env });
  } finally {
    closeSync(kernel);
    closeSync(initramfs);
    closeSync(confine);
  }
}
