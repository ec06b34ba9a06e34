import type { MessagePort } from 'node:worker_threads';
import type { Call, ClassInfo, Verdict } from '../policy/abi.js';
import type { Manifest } from '../policy/manifest.js';
import { RecordEncoder, WITHOUT_MODULE } from './record.js';
import { Ring } from './ring.js';

/** What a mediator needs for telling its decisions: it can be posted to a worker, with `port` transferred. */
export interface TapInput {
  ring: SharedArrayBuffer;
  bell: SharedArrayBuffer;
  /** Where modules are told, once each. */
  port: MessagePort;
  /** Whether the bytes that modules see are told too. */
  tellsArguments: boolean;
  /** Of so many allowed operations one is told. */
  sample: number;
}

/** A module whose decisions are told. */
export interface TappedModule {
  info: ClassInfo;
  input: { manifest: Manifest; digest: string };
}

/** A module as the writer is told of it. */
export interface ModuleMessage {
  kind: 'module';
  id: number;
  name: string;
  version: string;
  digest: string;
  info: ClassInfo;
}

/** Operations that the driver has not finished: as many as a guest may have in all classes together, and then some. */
const UNFINISHED_MAX = 1024;

/** Processes that are remembered: more than a guest has at a time. */
const PROCESSES_MAX = 4096;

/**
 * The mediator's end of the decision log. Nothing here waits or makes a system call for an allowed operation; a denial that finds no
 * room even in its reserve waits for the writer, and ends the guest when that takes too long (Ring.insist).
 */
export class DecisionTap {
  private readonly ring: Ring;
  private readonly encoder = new RecordEncoder();
  /** Weakly: a module that another has replaced in a running host is nobody's. */
  private readonly modules = new WeakMap<TappedModule, number>();
  private modulesTold = 0;
  /** Allowed operations without an outcome: their calls, and which decision each was. */
  private readonly unfinished: { id: number; call: Call; process: number }[] = [];
  private reads: { address: bigint; bytes: Uint8Array }[] = [];
  /** Processes that the writer has been woken for, so that it sees their names while they are there. */
  private readonly processes = new Set<number>();
  private decisions = 0;
  private allowed = 0;

  constructor(private readonly input: TapInput) {
    this.ring = new Ring(input.ring, new Int32Array(input.bell));
  }

  /** The module under way has read guest memory. */
  read(address: bigint, memory: Uint8Array, at: number, length: number): void {
    if (this.input.tellsArguments) this.reads.push({ address, bytes: memory.slice(at, at + length) });
  }

  /** A module has decided. `head` may be a view: it is copied. */
  decided(module: TappedModule, call: Call, head: Uint8Array, verdict: Verdict, process: number): void {
    const { reads } = this;
    if (reads.length > 0) this.reads = [];
    if (verdict.tag === 'allow' && this.allowed++ % this.input.sample !== 0) return;
    const id = this.decisions++ >>> 0;
    const record = this.encoder.encode({
      ...{ kind: 'decision', id, module: this.numberOf(module), process, timeMs: now() },
      ...{ call, headBytes: head.length, verdict },
      seen: this.input.tellsArguments ? { head, reads } : undefined,
    });
    if (verdict.tag === 'deny') this.ring.insist(record);
    else if (this.ring.offer(record)) this.remember({ id, call, process });
    if (!this.processes.has(process)) this.introduce(process);
  }

  /** The driver has answered. Of several calls that are alike, the oldest gets the answer. */
  done(call: Call, process: number, outcome: bigint): void {
    const index = this.unfinished.findIndex(
      (one) =>
        one.call.session === call.session &&
        one.process === process &&
        one.call.operation === call.operation &&
        one.call.command === call.command &&
        one.call.argument === call.argument,
    );
    const [found] = index < 0 ? [] : this.unfinished.splice(index, 1);
    if (found !== undefined)
      this.ring.offer(this.encoder.encode({ kind: 'outcome', id: found.id, timeMs: now(), outcome }));
  }

  /** The host has refused an operation by itself, or what a module asked for. Never dropped. */
  refused(
    module: TappedModule | undefined,
    process: number,
    command: number,
    errno: number,
    text: string,
  ): void {
    const number = module === undefined ? WITHOUT_MODULE : this.numberOf(module);
    const refused = this.unfinished.find((one) => one.process === process && one.call.command === command);
    if (refused !== undefined && errno !== 0) this.done(refused.call, process, -BigInt(errno));
    this.ring.insist(
      this.encoder.encode({ kind: 'refusal', module: number, process, timeMs: now(), command, errno, text }),
    );
  }

  /**
   * A module has misbehaved in judging a call, which another judges in its place where `errno` is 0. Never dropped.
   * @param text what it did
   */
  faulted(module: TappedModule, call: Call, process: number, errno: number, text: string): void {
    const { operation, command } = call;
    if (errno !== 0) this.done(call, process, -BigInt(errno));
    const record = { module: this.numberOf(module), process, timeMs: now(), operation, command, errno, text };
    this.ring.insist(this.encoder.encode({ kind: 'fault', ...record }));
  }

  /** The guest has ended. */
  close(): void {
    this.ring.close();
  }

  private introduce(process: number): void {
    if (this.processes.size >= PROCESSES_MAX) this.processes.clear();
    this.processes.add(process);
    this.ring.wake();
  }

  private remember(one: { id: number; call: Call; process: number }): void {
    if (this.unfinished.length >= UNFINISHED_MAX) this.unfinished.shift();
    this.unfinished.push(one);
  }

  /** The message is in the writer's port before any record that names the module is in the ring. */
  private numberOf(module: TappedModule): number {
    const known = this.modules.get(module);
    if (known !== undefined) return known;
    const id = this.modulesTold++;
    this.modules.set(module, id);
    const { manifest, digest } = module.input;
    const { name, version } = manifest;
    this.input.port.postMessage({
      kind: 'module',
      id,
      name,
      version,
      digest,
      info: module.info,
    } satisfies ModuleMessage);
    return id;
  }
}

function now(): number {
  return performance.timeOrigin + performance.now();
}
