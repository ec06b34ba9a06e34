/**
 * A ring of records in shared memory, from one mediator to another thread: the writer of the decision log, or who judges in shadow. The
 * mediator never makes a system call for an allowed operation: it puts the record there, or counts it as dropped.
 */

/** What one guest's ring holds: some thousand decisions, which is more than a guest makes while the reader sleeps. */
const DATA_BYTES = 1 << 20;
/** Kept free for denials, where those must not be dropped: allowed operations are dropped before a denial has no room. */
export const RESERVED_BYTES = DATA_BYTES >> 2;
/** A denial that finds no room waits so long for the writer; then nothing more of the guest runs. */
const DENIAL_WAIT_MS = 5000;
/** The reader is woken early, where it can be, when so much is there; otherwise it looks by itself. */
const WAKE_BYTES = DATA_BYTES >> 3;
const LENGTH_BYTES = 4;

/** Words of the ring's beginning. The counts of bytes go round at 2^32. */
const WORD = { written: 0, read: 1, dropped: 2, closed: 3 } as const;
const HEADER_BYTES = 64;

/** What a record takes: its length goes before it, and begins at a multiple of its own size, so that it is never split. */
function room(length: number): number {
  return LENGTH_BYTES + ((length + LENGTH_BYTES - 1) & -LENGTH_BYTES);
}

/** Memory for a ring. */
export function ringMemory(): SharedArrayBuffer {
  return new SharedArrayBuffer(HEADER_BYTES + DATA_BYTES);
}

/** A ring, for one that writes and one that reads. */
export class Ring {
  private readonly words: Int32Array;
  private readonly data: Uint8Array;
  private readonly view: DataView;

  /**
   * @param memory from `ringMemory`
   * @param bell a word that wakes the reader of all rings; undefined: it looks by itself
   * @param reservedBytes of its room, so many are for what must not be dropped
   */
  constructor(
    readonly memory: SharedArrayBuffer,
    private readonly bell?: Int32Array,
    private readonly reservedBytes = 0,
    private readonly denialWaitMs = DENIAL_WAIT_MS,
  ) {
    this.words = new Int32Array(memory, 0, HEADER_BYTES >> 2);
    this.data = new Uint8Array(memory, HEADER_BYTES);
    this.view = new DataView(memory, HEADER_BYTES);
  }

  /** Puts a record that may be dropped: what does not fit is counted. */
  offer(record: Uint8Array): boolean {
    if (this.free() < room(record.length) + this.reservedBytes) {
      this.drop();
      return false;
    }
    this.put(record);
    return true;
  }

  /**
   * Puts a record that is never dropped: where even the reserved room is full, it waits for the writer.
   * @throws Error when the writer makes no room in time: the caller must not go on
   */
  insist(record: Uint8Array): void {
    const deadline = Date.now() + this.denialWaitMs;
    while (this.free() < room(record.length)) {
      const left = deadline - Date.now();
      if (left <= 0)
        throw new Error(
          `The decision log takes no more denials (waited ${this.denialWaitMs} ms for it): nothing more of the guest is let through.`,
        );
      this.wake();
      Atomics.wait(this.words, WORD.read, Atomics.load(this.words, WORD.read), Math.min(left, 100));
    }
    this.put(record);
  }

  /** The next record, or undefined. */
  take(): Uint8Array | undefined {
    const read = Atomics.load(this.words, WORD.read) >>> 0;
    if (read === Atomics.load(this.words, WORD.written) >>> 0) return undefined;
    const length = this.view.getUint32(read % DATA_BYTES, true);
    const record = this.copyOut(read + LENGTH_BYTES, length);
    Atomics.store(this.words, WORD.read, (read + room(length)) | 0);
    Atomics.notify(this.words, WORD.read);
    return record;
  }

  /** Counts a record that can't even be offered. */
  drop(): void {
    Atomics.add(this.words, WORD.dropped, 1);
  }

  /** How many records were dropped, since that was taken last. */
  get dropped(): number {
    return Atomics.load(this.words, WORD.dropped);
  }

  /** How many records were dropped since this was asked last. */
  takeDropped(): number {
    return Atomics.exchange(this.words, WORD.dropped, 0);
  }

  /** The mediator writes no more. */
  close(): void {
    Atomics.store(this.words, WORD.closed, 1);
    this.wake();
  }

  get isClosed(): boolean {
    return Atomics.load(this.words, WORD.closed) === 1;
  }

  private used(): number {
    return (Atomics.load(this.words, WORD.written) - Atomics.load(this.words, WORD.read)) >>> 0;
  }

  private free(): number {
    return DATA_BYTES - this.used();
  }

  private put(record: Uint8Array): void {
    const written = Atomics.load(this.words, WORD.written) >>> 0;
    this.view.setUint32(written % DATA_BYTES, record.length, true);
    this.copyIn(written + LENGTH_BYTES, record);
    Atomics.store(this.words, WORD.written, (written + room(record.length)) | 0);
    if (this.used() > WAKE_BYTES) this.wake();
  }

  /** Wakes the reader. */
  wake(): void {
    if (this.bell === undefined) return;
    Atomics.add(this.bell, 0, 1);
    Atomics.notify(this.bell, 0);
  }

  private copyIn(position: number, bytes: Uint8Array): void {
    const at = position % DATA_BYTES;
    const first = DATA_BYTES - at;
    if (bytes.length <= first) {
      this.data.set(bytes, at);
      return;
    }
    this.data.set(bytes.subarray(0, first), at);
    this.data.set(bytes.subarray(first), 0);
  }

  private copyOut(position: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    const at = position % DATA_BYTES;
    const first = Math.min(length, DATA_BYTES - at);
    bytes.set(this.data.subarray(at, at + first));
    if (first < length) bytes.set(this.data.subarray(0, length - first), first);
    return bytes;
  }
}
