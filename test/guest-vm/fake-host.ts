import { readSync, writeSync } from 'node:fs';
import type { Aperture } from '../../host/guest-vm/aperture.js';

/** Sizes, places and numbers of native/protocol/vm_frontend.h. */
export const SLOTS = 64;
export const FILES_MADE = 512;
export const FILES_MAX = 1024;
export const APERTURE_FIRST = 1 << 20;
const TABLE_OFFSET = 4096;
const SLOTS_OFFSET = 8192;
const SLOT_BYTES = 1024;
const REQUEST_OFFSET = 16;
const ANSWER_OFFSET = 96;
const RANGES_OFFSET = 112;
export const RANGES_MAX = 56;
const RING_BYTES = SLOTS_OFFSET + SLOTS * SLOT_BYTES;
const RING = { hostSleeps: 0, told: 4, asked: 8, ready: 64 };
export const CONTROL = { hostState: 8, ringAddress: 32, ringReady: 48, ringTaken: 52 };
export const HOST = { absent: 0, serving: 1, gone: 2 };
export const STATE = { free: 0, posted: 1, needs: 2, answered: 3 };
export const RANGE = { reads: 0, writes: 1, descriptor: 2, install: 3 };
export const KIND = {
  open: 1,
  release: 2,
  ioctl: 3,
  read: 4,
  write: 5,
  mmap: 6,
  munmap: 7,
  cancel: 8,
  seek: 9,
};
/** How often the fake host looks at the ring: it has no haste, and must not take a processor. */
const LOOK_MS = 2;
const EINTR = 4;
/** What an honest host answers to what test/guests/facing_host.c does last. */
export const ORDINARY_VALUE = 42n;
const ORDINARY_COMMAND = 0xc0404601;

/** A piece of the caller's memory, or a descriptor, as a slot has it. */
export interface Range {
  address: bigint;
  bytes: number;
  kind: number;
}

export interface Request {
  slot: number;
  sequence: bigint;
  kind: number;
  round: number;
  file: number;
  command: number;
  argument: bigint;
  length: bigint;
  resolved: Range[];
}

/** What is written into a slot, each field of it whatever a test wants. */
export interface Reply {
  state?: number;
  value?: bigint;
  error?: number;
  ranges?: Range[];
  /** How many ranges it says there are. */
  count?: number;
}

/** What a request is answered: undefined as an honest host does it, where that is known; `state` POSTED: nothing, for ever. */
export type Reaction = (request: Request) => Reply | undefined;

/** A host for a guest VM's frontend that answers as a test wants: it has the two memories that a real one has, and nothing else. */
export class FakeHost {
  /** What becomes of the operations that a test is about; opens, closes and ordinary commands are answered well. */
  reaction: Reaction = () => undefined;
  /** Whether it says that it is there when it is asked. */
  tells = true;
  /** Whether it does anything at all. */
  isThere = true;
  /** Whether an operation ends when its caller has a signal. */
  obeysCancels = true;
  /** Whether it lets go of a ring that is withdrawn. */
  letsGo = true;
  #ring: number | undefined;
  readonly #seen = new Map<number, string>();
  readonly #timer: NodeJS.Timeout;

  constructor(
    /** The guest's RAM file; there before its ring is. */
    private readonly ram: () => number | undefined,
    private readonly aperture: Aperture,
  ) {
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  /** Forgets what a test wanted of it. */
  reset(): void {
    this.reaction = () => undefined;
    this.tells = true;
    this.isThere = true;
    this.letsGo = true;
    this.obeysCancels = true;
  }

  setControl(offset: number, value: number): void {
    writeSync(this.aperture.memory, word(value), 0, 4, offset);
  }

  control(offset: number): number {
    const bytes = Buffer.alloc(4);
    readSync(this.aperture.memory, bytes, 0, 4, offset);
    return bytes.readUInt32LE();
  }

  /** Changes the control page and the device table. */
  spoilTable(spoil: (control: Buffer) => void): void {
    const control = Buffer.alloc(APERTURE_FIRST);
    readSync(this.aperture.memory, control, 0, APERTURE_FIRST, 0);
    spoil(control);
    // Not what the frontend writes, nor what is said of its ring.
    writeSync(this.aperture.memory, control, 0, CONTROL.ringAddress, 0);
    writeSync(this.aperture.memory, control, TABLE_OFFSET, APERTURE_FIRST - TABLE_OFFSET, TABLE_OFFSET);
  }

  interrupt(): void {
    writeSync(this.aperture.interrupt, new BigUint64Array([1n]));
  }

  /** Poll events of every file. */
  setReady(events: number): void {
    const all = Buffer.alloc(4 * FILES_MAX);
    for (let file = 0; file < FILES_MAX; file += 1) all.writeUInt32LE(events, 4 * file);
    this.#write(RING.ready, all);
    this.interrupt();
  }

  /** Writes a slot, whosever it is. */
  reply(slot: number, { state = STATE.answered, value = 0n, error = 0, ranges = [], count }: Reply): void {
    const at = SLOTS_OFFSET + slot * SLOT_BYTES;
    const answer = Buffer.alloc(RANGES_OFFSET - ANSWER_OFFSET);
    answer.writeBigInt64LE(value, 0);
    answer.writeInt32LE(error, 8);
    answer.writeUInt32LE(count ?? ranges.length, 12);
    const list = Buffer.alloc(16 * ranges.length);
    ranges.forEach((range, i) => {
      list.writeBigUInt64LE(range.address, 16 * i);
      list.writeUInt32LE(range.bytes, 16 * i + 8);
      list.writeUInt32LE(range.kind, 16 * i + 12);
    });
    this.#write(at + RANGES_OFFSET, list);
    this.#write(at + ANSWER_OFFSET, answer);
    this.#write(at, word(state));
    this.interrupt();
  }

  /** Answers all that waits. */
  answerAll(): void {
    for (const slot of this.posted()) this.reply(slot, {});
  }

  /** Writes over all slots, their states too. */
  scribble(bytes: (count: number) => Buffer): void {
    this.#write(SLOTS_OFFSET, bytes(SLOTS * SLOT_BYTES));
    this.interrupt();
  }

  /** The slots that have a request which nobody has answered. */
  posted(): number[] {
    const ring = this.#read();
    return ring === undefined
      ? []
      : Array.from({ length: SLOTS }, (_, slot) => slot).filter(
          (slot) => ring.readUInt32LE(SLOTS_OFFSET + slot * SLOT_BYTES) === STATE.posted,
        );
  }

  #look(): void {
    if (!this.isThere || this.ram() === undefined) return;
    const isReady = this.control(CONTROL.ringReady) === 1;
    if (isReady && this.#ring === undefined) this.#take();
    if (!isReady && this.#ring !== undefined && this.letsGo) this.#letGo();
    const ring = this.#read();
    if (ring === undefined) return;
    if (this.tells) this.#write(RING.told, ring.subarray(RING.asked, RING.asked + 4));
    for (let slot = 0; slot < SLOTS; slot += 1) {
      const bytes = ring.subarray(SLOTS_OFFSET + slot * SLOT_BYTES, SLOTS_OFFSET + (slot + 1) * SLOT_BYTES);
      if (bytes.readUInt32LE() === STATE.posted) this.#meet(requestIn(slot, bytes));
    }
  }

  #meet(request: Request): void {
    const round = `${request.sequence}.${request.round}`;
    if (this.#seen.get(request.slot) === round) return;
    this.#seen.set(request.slot, round);
    const reply = this.#answerTo(request);
    if (reply !== undefined && reply.state !== STATE.posted) this.reply(request.slot, reply);
  }

  #answerTo(request: Request): Reply | undefined {
    const chosen = this.reaction(request);
    if (chosen !== undefined) return chosen;
    if (request.kind === KIND.ioctl && request.command === ORDINARY_COMMAND) return { value: ORDINARY_VALUE };
    if (request.kind === KIND.cancel && this.obeysCancels) this.#cancel(request.argument);
    const isHousekeeping = [KIND.open, KIND.release, KIND.munmap, KIND.cancel].includes(request.kind);
    return isHousekeeping ? {} : undefined;
  }

  #cancel(sequence: bigint): void {
    for (const [slot, round] of this.#seen)
      if (round.startsWith(`${sequence}.`)) this.reply(slot, { error: EINTR });
  }

  #take(): void {
    const address = Buffer.alloc(8);
    readSync(this.aperture.memory, address, 0, 8, CONTROL.ringAddress);
    this.#ring = Number(address.readBigUInt64LE());
    this.#seen.clear();
    this.setControl(CONTROL.ringTaken, 1);
  }

  #letGo(): void {
    this.#ring = undefined;
    this.setControl(CONTROL.ringTaken, 0);
  }

  #memory(): number {
    const ram = this.ram();
    if (ram === undefined) throw new Error('The guest has offered a ring before its memory is known.');
    return ram;
  }

  #read(): Buffer | undefined {
    if (this.#ring === undefined) return undefined;
    const bytes = Buffer.alloc(RING_BYTES);
    readSync(this.#memory(), bytes, 0, RING_BYTES, this.#ring);
    return bytes;
  }

  #write(offset: number, bytes: Buffer): void {
    if (this.#ring !== undefined && bytes.length > 0)
      writeSync(this.#memory(), bytes, 0, bytes.length, this.#ring + offset);
  }
}

function requestIn(slot: number, bytes: Buffer): Request {
  const request = bytes.subarray(REQUEST_OFFSET, ANSWER_OFFSET);
  const resolved = Math.min(request.readUInt32LE(72), RANGES_MAX);
  return {
    slot,
    sequence: request.readBigUInt64LE(0),
    kind: request.readUInt32LE(8),
    round: request.readUInt32LE(12),
    file: request.readUInt32LE(16),
    command: request.readUInt32LE(36),
    argument: request.readBigUInt64LE(40),
    length: request.readBigUInt64LE(48),
    resolved: Array.from({ length: resolved }, (_, i) => ({
      address: bytes.readBigUInt64LE(RANGES_OFFSET + 16 * i),
      bytes: bytes.readUInt32LE(RANGES_OFFSET + 16 * i + 8),
      kind: bytes.readUInt32LE(RANGES_OFFSET + 16 * i + 12),
    })),
  };
}

function word(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}
