import {
  type Access,
  accessBits,
  type Call,
  type Operation,
  type Plan,
  type Verdict,
} from '../policy/abi.js';
import { DESCRIPTOR_FLOWS, DESCRIPTOR_KINDS, SCOPES } from '../policy/lift.js';

/** What a mediator tells the writer of the decision log, as it goes through the ring. */
export type AuditRecord =
  | {
      kind: 'decision';
      /** Which decision of the guest it is; an outcome names it. */
      id: number;
      module: number;
      process: number;
      /** Milliseconds since 1970. */
      timeMs: number;
      call: Call;
      headBytes: number;
      verdict: Verdict;
      /** What the module saw, where it was asked for. */
      seen: { head: Uint8Array; reads: { address: bigint; bytes: Uint8Array }[] } | undefined;
    }
  /** The driver has answered, or the host has refused what the module allowed (`refusal`, a note of the mediator's). */
  | { kind: 'outcome'; id: number; timeMs: number; outcome: bigint }
  /** The host has refused by itself: `text` says why. */
  | {
      kind: 'refusal';
      module: number;
      process: number;
      timeMs: number;
      command: number;
      errno: number;
      text: string;
    }
  /** A module has misbehaved in judging: `text` says how. Errno 0: another one judges in its place. */
  | {
      kind: 'fault';
      module: number;
      process: number;
      timeMs: number;
      operation: Operation;
      command: number;
      errno: number;
      text: string;
    };

const KIND = { decision: 1, outcome: 2, refusal: 3, fault: 4 } as const;
const OPERATIONS: readonly Operation[] = ['open', 'ioctl', 'read', 'write', 'mmap', 'seek'];
/** The largest plan has 1280 grants and relocations, and an operation's snapshot is at most its envelope's megabyte. */
const SCRATCH_BYTES = 256 * 1024;
const NO_MODULE = 0xffffffff;
/** Characters of a reason: what a module says is told in as many. */
const TEXT_LENGTH_MAX = 1000;

/** Writes records into a buffer of its own: what `encode` returns is a view that the next call overwrites. */
export class RecordEncoder {
  private readonly bytes = new Uint8Array(SCRATCH_BYTES);
  private readonly view = new DataView(this.bytes.buffer);
  private at = 0;

  encode(record: AuditRecord): Uint8Array {
    this.at = 0;
    this.u32(KIND[record.kind]);
    this.view.setFloat64(this.at, record.timeMs, true);
    this.at += 8;
    if (record.kind === 'outcome') {
      this.u32(record.id);
      this.view.setBigInt64(this.at, record.outcome, true);
      this.at += 8;
    } else if (record.kind === 'refusal' || record.kind === 'fault') {
      for (const word of [record.module, record.process, record.command, record.errno]) this.u32(word);
      if (record.kind === 'fault') this.u32(OPERATIONS.indexOf(record.operation));
      this.piece(new TextEncoder().encode(record.text.slice(0, TEXT_LENGTH_MAX)));
    } else this.decision(record);
    return this.bytes.subarray(0, this.at);
  }

  private decision(record: AuditRecord & { kind: 'decision' }): void {
    const { call, verdict } = record;
    this.u32(record.id);
    this.u32(record.module);
    this.u32(record.process);
    this.u32(record.headBytes);
    this.u32(call.session);
    this.u32(call.node);
    this.u32(OPERATIONS.indexOf(call.operation));
    this.u32(call.command);
    this.u32(call.fileFlags);
    this.u64(call.argument);
    this.u64(call.length);
    this.u64(call.offset);
    this.u64(call.state);
    if (verdict.tag === 'deny') {
      this.u32(1);
      this.u32(verdict.val.errno);
      this.u32(verdict.val.reason);
      this.u32(verdict.val.field);
    } else this.plan(verdict.val);
    this.seen(record.seen);
  }

  private plan({
    head,
    blocking,
    alone,
    grants,
    relocations,
    requirements,
    descriptors,
    forget,
  }: Plan): void {
    this.u32(0);
    this.u32(accessBits(head));
    this.u32(blocking ? 1 : 0);
    this.u32(alone ? 1 : 0);
    this.u32(grants.length);
    for (const { address, length, access } of grants) {
      this.u64(address);
      this.u32(length);
      this.u32(accessBits(access));
    }
    this.u32(relocations.length);
    for (const { region, offset, target } of relocations) {
      this.u32(region);
      this.u32(offset);
      this.u32(target);
    }
    this.u32(requirements.length);
    for (const { table, source, offset, width, errno, reason, within } of requirements) {
      this.u32(table);
      this.u32(source);
      this.u32(offset);
      this.u32(width);
      this.u32(errno);
      this.u32(reason);
      this.u32(SCOPES.indexOf(within));
    }
    this.u32(descriptors.length);
    for (const { region, offset, width, kind, flow, closeOnExec } of descriptors) {
      this.u32(region);
      this.u32(offset);
      this.u32(width);
      this.u32(DESCRIPTOR_KINDS.indexOf(kind));
      this.u32(DESCRIPTOR_FLOWS.indexOf(flow));
      this.u32(closeOnExec ? 1 : 0);
    }
    this.u32(forget.length);
    for (const { table, source, offset, width } of forget) {
      this.u32(table);
      this.u32(source);
      this.u32(offset);
      this.u32(width);
    }
  }

  /** What does not fit is left out, as if it had not been asked for: a replay then says that it is not there. */
  private seen(seen: (AuditRecord & { kind: 'decision' })['seen']): void {
    const bytes =
      seen === undefined
        ? 0
        : seen.reads.reduce((sum, read) => sum + read.bytes.length + 16, seen.head.length + 16);
    const fits = seen !== undefined && bytes <= SCRATCH_BYTES - this.at;
    this.u32(fits ? seen.reads.length + 1 : 0);
    if (!fits) return;
    this.piece(seen.head);
    for (const read of seen.reads) {
      this.u64(read.address);
      this.piece(read.bytes);
    }
  }

  private piece(bytes: Uint8Array): void {
    this.u32(bytes.length);
    this.bytes.set(bytes, this.at);
    this.at += bytes.length;
  }

  private u32(value: number): void {
    this.view.setUint32(this.at, value, true);
    this.at += 4;
  }

  private u64(value: bigint): void {
    this.view.setBigUint64(this.at, value, true);
    this.at += 8;
  }
}

/**
 * Reads a record back.
 * @throws Error (RangeError) when it is cut short
 */
export function decodeRecord(bytes: Uint8Array): AuditRecord {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const u32 = (): number => {
    at += 4;
    return view.getUint32(at - 4, true);
  };
  const u64 = (): bigint => {
    at += 8;
    return view.getBigUint64(at - 8, true);
  };
  const piece = (): Uint8Array => {
    const length = u32();
    if (at + length > bytes.length) throw new RangeError('A record of the decision log is cut short.');
    at += length;
    return bytes.slice(at - length, at);
  };
  const list = <T>(read: () => T): T[] => Array.from({ length: u32() }, read);
  const access = (): Access => {
    const bits = u32();
    return { toDriver: (bits & 1) !== 0, fromDriver: (bits & 2) !== 0, fromDriverOnError: (bits & 4) !== 0 };
  };
  const kind = u32();
  at += 8;
  const timeMs = view.getFloat64(4, true);
  if (kind === KIND.outcome) {
    const id = u32();
    return { kind: 'outcome', id, timeMs, outcome: BigInt.asIntN(64, u64()) };
  }
  if (kind === KIND.refusal) {
    const [module, process, command, errno] = [u32(), u32(), u32(), u32()];
    return {
      kind: 'refusal',
      timeMs,
      module,
      process,
      command,
      errno,
      text: new TextDecoder().decode(piece()),
    };
  }
  if (kind === KIND.fault) {
    const [module, process, command, errno] = [u32(), u32(), u32(), u32()];
    const operation = OPERATIONS[u32()] ?? 'ioctl';
    const text = new TextDecoder().decode(piece());
    return { kind: 'fault', timeMs, module, process, operation, command, errno, text };
  }
  const [id, module, process, headBytes] = [u32(), u32(), u32(), u32()];
  const call: Call = {
    session: u32(),
    node: u32(),
    operation: OPERATIONS[u32()] ?? 'ioctl',
    command: u32(),
    fileFlags: u32(),
    argument: u64(),
    length: u64(),
    offset: u64(),
    state: u64(),
  };
  const verdict = readVerdict();
  const pieces = u32();
  const seen =
    pieces === 0
      ? undefined
      : {
          head: piece(),
          reads: Array.from({ length: pieces - 1 }, () => ({ address: u64(), bytes: piece() })),
        };
  return { kind: 'decision', id, module, process, timeMs, call, headBytes, verdict, seen };

  function readVerdict(): Verdict {
    if (u32() === 1) return { tag: 'deny', val: { errno: u32(), reason: u32(), field: u32() } };
    return {
      tag: 'allow',
      val: {
        head: access(),
        blocking: u32() === 1,
        alone: u32() === 1,
        grants: list(() => ({ address: u64(), length: u32(), access: access() })),
        relocations: list(() => ({ region: u32(), offset: u32(), target: u32() })),
        requirements: list(() => ({
          table: u32(),
          source: u32(),
          offset: u32(),
          width: u32(),
          errno: u32(),
          reason: u32(),
          within: SCOPES[u32()] ?? 'session',
        })),
        descriptors: list(() => ({
          region: u32(),
          offset: u32(),
          width: u32(),
          kind: DESCRIPTOR_KINDS[u32()] ?? 'dma-buf',
          flow: DESCRIPTOR_FLOWS[u32()] ?? 'to-driver',
          closeOnExec: u32() === 1,
        })),
        forget: list(() => ({ table: u32(), source: u32(), offset: u32(), width: u32() })),
      },
    };
  }
}

/** The module number of a refusal that no module is concerned with. */
export const WITHOUT_MODULE = NO_MODULE;
