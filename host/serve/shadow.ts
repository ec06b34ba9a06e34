import { join } from 'node:path';
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import type { ModuleInput } from '../mediator/messages.js';
import { Tape } from '../mediator/tape.js';
import { ROOT } from '../root.js';
import type { Guest } from './guests.js';
import type { ShadowAnswer, ShadowCommand, ShadowFinding } from './shadow-worker.js';

const WORKER = join(ROOT, 'dist', 'host', 'serve', 'shadow-worker.js');

/** Candidates that judge beside the modules in force: in a thread of their own, from a tape of what guests did. */
export class Shadow {
  #worker: Worker | undefined;
  #commands: MessagePort | undefined;
  readonly #asked = new Map<number, (findings: ShadowFinding[]) => void>();
  #nextReport = 0;

  /** From now on a candidate judges what the guest does, beside the module in force. */
  begin(guest: Guest, inForce: ModuleInput, candidate: ModuleInput): void {
    const tape = new Tape().buffer;
    // Not waited for: a guest whose program does not run yet begins with it.
    void guest.mediation.record(candidate.manifest.class, tape);
    this.#tell({ kind: 'begin', guest: guest.name, tape, inForce, candidate });
  }

  /** Ends that. What was found stays. */
  end(guest: Guest, deviceClass: string): void {
    void guest.mediation.record(deviceClass, undefined);
    if (this.#worker !== undefined) this.#tell({ kind: 'end', guest: guest.name, class: deviceClass });
  }

  /** What was found, by class. */
  report(): Promise<ShadowFinding[]> {
    if (this.#worker === undefined) return Promise.resolve([]);
    const id = this.#nextReport++;
    const answered = new Promise<ShadowFinding[]>((resolve) => this.#asked.set(id, resolve));
    this.#tell({ kind: 'report', id });
    return answered;
  }

  async close(): Promise<void> {
    this.#commands?.close();
    await this.#worker?.terminate();
  }

  #tell(command: ShadowCommand): void {
    this.#commands ??= this.#start();
    this.#commands.postMessage(command);
  }

  #start(): MessagePort {
    const { port1, port2 } = new MessageChannel();
    const worker = new Worker(WORKER, { workerData: { commands: port2 }, transferList: [port2] });
    worker.on('message', ({ id, findings }: ShadowAnswer) => {
      this.#asked.get(id)?.(findings);
      this.#asked.delete(id);
    });
    // A candidate can't hurt: if its thread ends, there is no more to report.
    worker.on('error', () => this.#fail());
    this.#worker = worker;
    port1.unref();
    return port1;
  }

  #fail(): void {
    this.#worker = undefined;
    this.#commands = undefined;
    for (const answered of this.#asked.values()) answered([]);
    this.#asked.clear();
  }
}
