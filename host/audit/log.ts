import { hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { ROOT } from '../root.js';
import type { ChainHead } from './chain.js';
import type { LogCommand, LogMessage, LogWorkerInput } from './log-messages.js';
import { ringMemory } from './ring.js';
import type { TapInput } from './tap.js';

/** Workers run compiled code, also when this module runs from its source. */
const WORKER = join(ROOT, 'dist', 'host', 'audit', 'log-worker.js');
/** A segment is kept readable by ordinary tools. */
const SEGMENT_BYTES_DEFAULT = 64 << 20;
/** What is written to a device is data of the guest's user (keys, text, frames), not arguments of a command. */
const REDACTED_DEFAULT = ['write'];
const WORD_BYTES = 4;

/** How decisions are to be logged. */
export interface DecisionLogOptions {
  /** The file that lines are appended to; full segments become FILE.1, FILE.2, … */
  path: string;
  /** Bytes after which a segment is full. */
  segmentBytesMax?: number;
  /** Whether the argument bytes that modules see are written too. */
  tellsArguments?: boolean;
  /** Commands, by kernel name, whose argument bytes are not written all the same; those of writes never are. */
  redact?: string[];
  /** Of so many allowed operations one is written; denials always are. 1 by default. */
  sample?: number;
  /** Told when the log can't be written, when it can again, and what was lost at the end. */
  onTrouble: (text: string, lines?: string[]) => void;
}

/**
 * A decision log: one JSON line a decision, each with the hash of the line before (schemas/decision.schema.json). A thread of its own
 * formats and writes; mediators hand decisions over through shared memory (tap.ts).
 *
 * Where the disk is full, guests go on: allowed operations are counted and the chain gets a line with their number when it can be
 * written again, denials wait in their reserved room, and a guest that has filled even this is stopped at its next denial until the
 * log can be written, and ended after five seconds. What can't be written at the end is told to `onTrouble`, denials as whole lines.
 */
export class DecisionLog {
  private readonly bell = new SharedArrayBuffer(WORD_BYTES);
  private readonly ended: Promise<ChainHead>;
  private finish!: (head: ChainHead) => void;
  private fail!: (error: Error) => void;

  private constructor(
    private readonly options: DecisionLogOptions,
    private readonly commands: MessagePort,
  ) {
    this.ended = new Promise((finish, fail) => {
      this.finish = finish;
      this.fail = fail;
    });
    this.ended.catch(() => {});
  }

  /**
   * Opens a log, whose chain goes on where it ended.
   * @throws Error when the file can't be written, or is no decision log
   */
  static async open(options: DecisionLogOptions): Promise<DecisionLog> {
    const { port1, port2 } = new MessageChannel();
    const log = new DecisionLog(options, port1);
    const input: LogWorkerInput = {
      path: resolve(options.path),
      segmentBytesMax: options.segmentBytesMax ?? SEGMENT_BYTES_DEFAULT,
      about: { host: hostname(), sample: options.sample ?? 1, arguments: options.tellsArguments ?? false },
      bell: log.bell,
      commands: port2,
      redact: [...REDACTED_DEFAULT, ...(options.redact ?? [])],
    };
    const worker = new Worker(WORKER, { workerData: input, transferList: [port2] });
    await log.listen(worker);
    return log;
  }

  /**
   * What a guest's mediator needs for telling its decisions; `port` is to be transferred.
   * @param name as the log calls the guest
   * @param isProcess whether its processes have the numbers and names that this machine gives them; false for a guest VM
   */
  tapFor(name: string, number: number, isProcess = true): TapInput {
    const { port1, port2 } = new MessageChannel();
    const ring = ringMemory();
    const guest = { kind: 'guest', name, number, isProcess, ring, port: port1 } satisfies LogCommand;
    this.commands.postMessage(guest, [port1]);
    this.ring();
    return {
      ring,
      bell: this.bell,
      port: port2,
      tellsArguments: this.options.tellsArguments ?? false,
      sample: this.options.sample ?? 1,
    };
  }

  /** Writes what there is, and ends. What is told is the chain's end: kept elsewhere, it shows whether a log has lost its tail. */
  async close(): Promise<ChainHead> {
    this.commands.postMessage({ kind: 'close' } satisfies LogCommand);
    this.ring();
    return await this.ended;
  }

  private ring(): void {
    const bell = new Int32Array(this.bell);
    Atomics.add(bell, 0, 1);
    Atomics.notify(bell, 0);
  }

  private listen(worker: Worker): Promise<void> {
    return new Promise((opened, refused) => {
      const fail = (error: Error): void => {
        this.fail(error);
        refused(error);
      };
      worker.on('message', (message: LogMessage) => {
        if (message.kind === 'open') opened();
        else if (message.kind === 'closed') this.finish(message.head);
        else if (message.kind === 'failed')
          fail(new Error(`The decision log ${this.options.path}: ${message.message}`));
        else this.tellTrouble(message);
      });
      worker.once('error', fail);
      worker.once('exit', () => {
        this.commands.close();
        fail(new Error('The writer of the decision log ended unexpectedly.'));
      });
    });
  }

  private tellTrouble(message: LogMessage & { kind: 'stuck' | 'recovered' | 'lost' }): void {
    const { path, onTrouble } = this.options;
    if (message.kind === 'stuck')
      onTrouble(
        `The decision log ${path} can't be written (${message.message}). Guests go on; allowed operations are counted, and denials are kept until there is room.`,
      );
    else if (message.kind === 'recovered') onTrouble(`The decision log ${path} is written again.`);
    else
      onTrouble(
        `The decision log ${path} lacks its last ${message.total} lines, of which these are denials:`,
        message.lines,
      );
  }
}
