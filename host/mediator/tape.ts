import { Ring, ringMemory } from '../audit/ring.js';
import type { Call, Operation } from '../policy/abi.js';

/** Kind, five words of the call, the count of reads, the head's length; four longs of the call, the outcome. */
const FIXED_BYTES = 4 * 8 + 8 * 5;
const READ_BYTES = 16;
/** Most decisions read little of the guest; what is longer makes the room for a record grow, up to what its ring can hold. */
const SCRATCH_BYTES = 16 * 1024;

const OPERATIONS: readonly Operation[] = ['open', 'ioctl', 'read', 'write', 'mmap', 'seek'];
const NUMBERS = Object.fromEntries(OPERATIONS.map((name, index) => [name, index])) as Record<
  Operation,
  number
>;

/** What a policy read of its guest's memory in one decision. */
export interface TapedRead {
  address: bigint;
  length: number;
  errno: number;
  /** Of the length, when errno is 0. */
  bytes: Uint8Array;
}

/** One decision's input: everything that a module's answer depends on. */
export interface TapedDecision {
  /** Undefined: an admission; else the driver's answer, to be settled. */
  outcome: bigint | undefined;
  call: Call;
  head: Uint8Array;
  reads: TapedRead[];
}

/**
 * Hands the inputs of a mediator's decisions to another thread, by a ring in shared memory: it never waits, and what finds no room is
 * counted. One thread writes, one reads.
 */
export class Tape {
  readonly #ring: Ring;
  #scratch = new Uint8Array(0);
  #view = new DataView(this.#scratch.buffer);

  constructor(readonly buffer: SharedArrayBuffer = ringMemory()) {
    this.#ring = new Ring(buffer);
  }

  /** Decisions that found no room. */
  get lost(): number {
    return this.#ring.dropped;
  }

  /** Records a decision, or counts it as lost. */
  write(decision: TapedDecision): void {
    const { head, reads } = decision;
    const bytes = reads.reduce(
      (sum, read) => sum + READ_BYTES + read.bytes.length,
      FIXED_BYTES + head.length,
    );
    if (bytes > this.buffer.byteLength) {
      this.#ring.drop();
      return;
    }
    if (bytes > this.#scratch.length) this.#grow(bytes);
    this.#put(decision);
    this.#ring.offer(this.#scratch.subarray(0, bytes));
  }

  /** The next decision; undefined when there is none. */
  read(): TapedDecision | undefined {
    const record = this.#ring.take();
    return record === undefined ? undefined : decisionOf(record);
  }

  #grow(bytes: number): void {
    this.#scratch = new Uint8Array(Math.max(bytes, SCRATCH_BYTES));
    this.#view = new DataView(this.#scratch.buffer);
  }

  #put({ outcome, call, head, reads }: TapedDecision): void {
    const view = this.#view;
    view.setUint32(0, outcome === undefined ? 0 : 1, true);
    view.setUint32(4, call.session, true);
    view.setUint32(8, call.node, true);
    view.setUint32(12, NUMBERS[call.operation], true);
    view.setUint32(16, call.command, true);
    view.setUint32(20, call.fileFlags, true);
    view.setUint32(24, reads.length, true);
    view.setUint32(28, head.length, true);
    view.setBigUint64(32, call.argument, true);
    view.setBigUint64(40, call.length, true);
    view.setBigUint64(48, call.offset, true);
    view.setBigUint64(56, call.state, true);
    view.setBigInt64(64, outcome ?? 0n, true);
    this.#scratch.set(head, FIXED_BYTES);
    let at = FIXED_BYTES + head.length;
    for (const read of reads) {
      view.setBigUint64(at, read.address, true);
      view.setUint32(at + 8, read.length, true);
      view.setUint32(at + 12, read.errno, true);
      this.#scratch.set(read.bytes, at + READ_BYTES);
      at += READ_BYTES + read.bytes.length;
    }
  }
}

/** A decision of its record, whose bytes it keeps. */
function decisionOf(record: Uint8Array): TapedDecision {
  const view = new DataView(record.buffer, record.byteOffset, record.byteLength);
  const word = (at: number): number => view.getUint32(at, true);
  const long = (at: number): bigint => view.getBigUint64(at, true);
  const call: Call = {
    session: word(4),
    node: word(8),
    operation: OPERATIONS[word(12)] ?? 'ioctl',
    command: word(16),
    fileFlags: word(20),
    argument: long(32),
    length: long(40),
    offset: long(48),
    state: long(56),
  };
  const head = record.subarray(FIXED_BYTES, FIXED_BYTES + word(28));
  let at = FIXED_BYTES + head.length;
  const reads = Array.from({ length: word(24) }, (): TapedRead => {
    const [address, length, errno] = [long(at), word(at + 8), word(at + 12)];
    const bytes = record.subarray(at + READ_BYTES, at + READ_BYTES + (errno === 0 ? length : 0));
    at += READ_BYTES + bytes.length;
    return { address, length, errno, bytes };
  });
  return { outcome: word(0) === 0 ? undefined : view.getBigInt64(64, true), call, head, reads };
}
