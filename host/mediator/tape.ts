import type { Call, Operation } from '../policy/abi.js';

/** What is recorded of one class of one guest and not yet looked at: some thousands of operations. */
const DATA_BYTES = 1 << 20;
/** The counters before the data, as 32-bit words. */
const WRITTEN = 0;
const READ = 1;
const LOST = 2;
const HEADER_BYTES = 64;
/** Instead of a record's length: the rest up to the end of the data is unused. */
const SKIP = 0xffff_ffff;
/** Length, kind, five words of the call, the count of reads; four longs of the call, the outcome; the head's length. */
const FIXED_BYTES = 4 * 8 + 8 * 5 + 8;
const READ_BYTES = 16;
const ALIGNMENT = 8;

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
 * A ring in shared memory by which a mediator hands the inputs of its decisions to another thread: it never waits, and what finds no room
 * is counted. One thread writes, one reads.
 */
export class Tape {
  readonly #counters: Int32Array;
  readonly #view: DataView;
  readonly #bytes: Uint8Array;

  constructor(readonly buffer: SharedArrayBuffer = new SharedArrayBuffer(HEADER_BYTES + DATA_BYTES)) {
    this.#counters = new Int32Array(buffer, 0, HEADER_BYTES / 4);
    this.#view = new DataView(buffer, HEADER_BYTES);
    this.#bytes = new Uint8Array(buffer, HEADER_BYTES);
  }

  /** Decisions that found no room. */
  get lost(): number {
    return Atomics.load(this.#counters, LOST);
  }

  /** Records a decision, or counts it as lost. */
  write(decision: TapedDecision): void {
    const { head, reads } = decision;
    const bytes = aligned(
      FIXED_BYTES + head.length + reads.reduce((sum, read) => sum + READ_BYTES + read.bytes.length, 0),
    );
    const at = this.#room(bytes);
    if (at === undefined) {
      Atomics.add(this.#counters, LOST, 1);
      return;
    }
    this.#put(at, bytes, decision);
    Atomics.store(this.#counters, WRITTEN, (at + bytes) % DATA_BYTES);
  }

  /** The next decision; undefined when there is none. */
  read(): TapedDecision | undefined {
    let at = Atomics.load(this.#counters, READ);
    if (at === Atomics.load(this.#counters, WRITTEN)) return undefined;
    if (this.#view.getUint32(at, true) === SKIP) {
      at = 0;
      Atomics.store(this.#counters, READ, at);
      if (at === Atomics.load(this.#counters, WRITTEN)) return undefined;
    }
    const decision = this.#get(at);
    Atomics.store(this.#counters, READ, (at + this.#view.getUint32(at, true)) % DATA_BYTES);
    return decision;
  }

  /** Where `bytes` bytes are free in one piece; a byte always stays free, so that full is not empty. */
  #room(bytes: number): number | undefined {
    const written = Atomics.load(this.#counters, WRITTEN);
    const read = Atomics.load(this.#counters, READ);
    if (read > written) return read - written > bytes ? written : undefined;
    if (DATA_BYTES - written > bytes || (DATA_BYTES - written === bytes && read > 0)) return written;
    if (read <= bytes) return undefined;
    this.#view.setUint32(written, SKIP, true);
    return 0;
  }

  #put(start: number, bytes: number, { outcome, call, head, reads }: TapedDecision): void {
    const words = [
      bytes,
      outcome === undefined ? 0 : 1,
      call.session,
      call.node,
      NUMBERS[call.operation],
      call.command,
      call.fileFlags,
      reads.length,
    ];
    const longs = [call.argument, call.length, call.offset, call.state, BigInt.asUintN(64, outcome ?? 0n)];
    for (let i = 0; i < words.length; i++) this.#view.setUint32(start + 4 * i, words[i] as number, true);
    for (let i = 0; i < longs.length; i++)
      this.#view.setBigUint64(start + 32 + 8 * i, longs[i] as bigint, true);
    this.#view.setUint32(start + 72, head.length, true);
    this.#bytes.set(head, start + FIXED_BYTES);
    let at = start + FIXED_BYTES + head.length;
    for (const read of reads) {
      this.#view.setBigUint64(at, read.address, true);
      this.#view.setUint32(at + 8, read.length, true);
      this.#view.setUint32(at + 12, read.errno, true);
      this.#bytes.set(read.bytes, at + READ_BYTES);
      at += READ_BYTES + read.bytes.length;
    }
  }

  #get(start: number): TapedDecision {
    const word = (index: number): number => this.#view.getUint32(start + 4 * index, true);
    const long = (index: number): bigint => this.#view.getBigUint64(start + 32 + 8 * index, true);
    const call: Call = {
      session: word(2),
      node: word(3),
      operation: OPERATIONS[word(4)] ?? 'ioctl',
      command: word(5),
      fileFlags: word(6),
      argument: long(0),
      length: long(1),
      offset: long(2),
      state: long(3),
    };
    const headBytes = this.#view.getUint32(start + 72, true);
    let at = start + FIXED_BYTES + headBytes;
    const reads = Array.from({ length: word(7) }, (): TapedRead => {
      const [address, length] = [this.#view.getBigUint64(at, true), this.#view.getUint32(at + 8, true)];
      const errno = this.#view.getUint32(at + 12, true);
      const bytes = this.#bytes.slice(at + READ_BYTES, at + READ_BYTES + (errno === 0 ? length : 0));
      at += READ_BYTES + bytes.length;
      return { address, length, errno, bytes };
    });
    const head = this.#bytes.slice(start + FIXED_BYTES, start + FIXED_BYTES + headBytes);
    return { outcome: word(1) === 0 ? undefined : BigInt.asIntN(64, long(4)), call, head, reads };
  }
}

function aligned(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}
