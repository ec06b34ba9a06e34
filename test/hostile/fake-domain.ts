import { fstatSync, readSync, writeSync } from 'node:fs';
import { Socket } from 'node:net';
import type { Device } from '../../host/driver-vm/devices.js';
import type { DriverDomain } from '../../host/driver-vm/domain.js';
import { CHANNEL_BYTES } from '../../host/driver-vm/hello.js';
import { native } from '../../host/native.js';

/** native/protocol/protocol.h, whose offsets are asserted there. */
const PAGE_BYTES = 4096;
const RING_ENTRIES = 64;
const AT = {
  ...{ state: 0, submitTail: 64, submitHead: 128, completeTail: 192, completeHead: 256, hostSleeping: 260 },
  ...{ submissions: 4096, completions: 8192, arena: 16384 },
} as const;
const OP_BYTES = 64;
const COMPLETION_BYTES = 32;
const STATE = { free: 0, start: 1, running: 2, stop: 3 } as const;
export const KIND = {
  open: 1,
  release: 2,
  ioctl: 3,
  read: 4,
  write: 5,
  mmap: 6,
  munmap: 7,
  watch: 8,
  cancel: 9,
} as const;
const DONE = 1;
const READY_UNKNOWN = 0xffffffff;
const CHANNELS = 4;
const SPARE_PAGES = 64;
const AGENT_ADDRESS = 0x7000000000n;
const POLL_MS = 1;

/** A submission, as the backend reads it. */
export interface Submission {
  channel: number;
  id: bigint;
  kind: number;
  file: number;
  command: number;
  argument: bigint;
  length: bigint;
  headOffset: number;
  descriptorsOffset: number;
}

/** What a backend says of a descriptor that it has taken from its driver. */
export interface Taken {
  result: number;
  openFlags: number;
  mode: number;
  bytes: bigint;
  /** What stands in the argument where the descriptor's number is. */
  number: number;
}

/** A completion, as the backend writes it. */
export interface Completion {
  id: bigint;
  result: bigint;
  kind?: number;
  file?: number;
  ready?: number;
}

/** What a backend does with a submission; undefined: an honest answer. */
export type Answer = (op: Submission, domain: FakeDomain) => Completion[] | undefined;

/**
 * A driver domain whose agent is the test: it speaks the protocol in the memory that it shares with the host, and says what it likes. By
 * itself it is an honest camera that knows nothing.
 */
export class FakeDomain {
  /** Guest-physical addresses that an honest mmap names. */
  readonly sparePages: bigint[];
  readonly domain: DriverDomain;
  answer: Answer = () => undefined;
  readonly #memory: number;
  readonly #rings: Socket;
  readonly #timer: NodeJS.Timeout;
  readonly #heads = new Map<number, number>();
  readonly #tails = new Map<number, number>();

  constructor() {
    const bytes = CHANNELS * CHANNEL_BYTES + SPARE_PAGES * PAGE_BYTES;
    this.#memory = native.memfd('postern-fake-domain', bytes);
    const [doorbell, theirs] = native.socketPair();
    // What the host rings is only taken, so that it never fills: the channels are looked at anyway.
    this.#rings = new Socket({ fd: theirs, readable: true, writable: true });
    this.#rings.on('error', () => {}).resume();
    const channelPages = (CHANNELS * CHANNEL_BYTES) / PAGE_BYTES;
    const address = (page: number): bigint => BigInt(page) * BigInt(PAGE_BYTES);
    this.sparePages = Array.from({ length: SPARE_PAGES }, (_, page) => address(channelPages + page));
    this.domain = {
      kind: 'vm',
      memory: { descriptor: this.#memory, bytes },
      channels: CHANNELS,
      channelsAddress: AGENT_ADDRESS,
      pages: BigUint64Array.from({ length: channelPages }, (_, page) => address(page)),
      doorbell,
      channelEvents: null,
      devices: async () => [CAMERA_DEVICE],
      run: () => Promise.reject(new Error('A fake domain runs nothing.')),
      onExit: () => {},
      close: async () => {
        clearInterval(this.#timer);
        this.#rings.destroy();
        native.closeDescriptor(doorbell);
        native.closeDescriptor(this.#memory);
      },
    };
    this.#timer = setInterval(() => this.#serve(), POLL_MS);
  }

  /** Whether its memory is still there, as the host's descriptor of it shows. */
  get bytes(): number {
    return fstatSync(this.#memory).size;
  }

  /** Fills a page of its memory. */
  fill(page: bigint, byte: number): void {
    writeSync(this.#memory, Buffer.alloc(PAGE_BYTES, byte), 0, PAGE_BYTES, Number(page));
  }

  firstByteOf(page: bigint): number {
    return this.#read(Number(page), 1).readUInt8();
  }

  /** Writes anything anywhere in a channel. */
  scribble(channel: number, at: number, bytes: Buffer): void {
    writeSync(this.#memory, bytes, 0, bytes.length, channel * CHANNEL_BYTES + at);
  }

  /** Writes into the argument of an ioctl, or the buffer of a transfer. */
  reply(op: Submission, bytes: Buffer): void {
    const arena = op.kind === KIND.ioctl ? this.#arenaOffset(op) : op.headOffset;
    this.scribble(op.channel, AT.arena + arena, bytes);
  }

  /** Says that so many completions have been written, whatever is true. As an answer it has no completions itself. */
  setTail(channel: number, tail: number): Completion[] {
    return this.#tell(channel, AT.completeTail, tail);
  }

  setState(channel: number, state: number): Completion[] {
    return this.#tell(channel, AT.state, state);
  }

  #tell(channel: number, at: number, value: number): Completion[] {
    this.#setWord(channel, at, value);
    this.#wake(channel);
    return [];
  }

  tail(channel: number): number {
    return this.#tails.get(channel) ?? 0;
  }

  complete(channel: number, { id, result, kind = DONE, file = 0, ready = READY_UNKNOWN }: Completion): void {
    const tail = this.tail(channel);
    const entry = Buffer.alloc(COMPLETION_BYTES);
    entry.writeBigUInt64LE(id, 0);
    entry.writeBigInt64LE(result, 8);
    entry.writeUInt32LE(kind, 16);
    entry.writeUInt32LE(file, 20);
    entry.writeUInt32LE(ready, 24);
    this.scribble(channel, AT.completions + (tail % RING_ENTRIES) * COMPLETION_BYTES, entry);
    this.#tails.set(channel, tail + 1);
    this.setTail(channel, tail + 1);
  }

  #serve(): void {
    for (let channel = 0; channel < CHANNELS; channel++) {
      const state = this.#word(channel, AT.state);
      if (state === STATE.start) this.#start(channel);
      else if (state === STATE.stop) this.#free(channel);
      else if (state === STATE.running) this.#take(channel);
    }
  }

  #start(channel: number): void {
    // The host may have submitted something already: a free channel begins at 0.
    this.#heads.set(channel, 0);
    this.#tails.set(channel, 0);
    this.setState(channel, STATE.running);
  }

  #free(channel: number): void {
    this.scribble(channel, 4, Buffer.alloc(AT.arena - 4));
    this.setState(channel, STATE.free);
  }

  #take(channel: number): void {
    const tail = this.#word(channel, AT.submitTail);
    // A test may have written anything there: it is itself that would be caught in a loop.
    if (tail - (this.#heads.get(channel) ?? 0) > RING_ENTRIES) return;
    for (let head = this.#heads.get(channel) ?? 0; head !== tail; head++) {
      this.#heads.set(channel, head + 1);
      this.#setWord(channel, AT.submitHead, head + 1);
      const op = this.#submission(channel, head);
      for (const completion of this.answer(op, this) ?? this.honestly(op)) this.complete(channel, completion);
    }
  }

  /** What a camera without frames would say. */
  honestly(op: Submission): Completion[] {
    const done = (result: bigint): Completion[] => [{ id: op.id, result }];
    if (op.kind === KIND.read) {
      this.reply(op, Buffer.alloc(Number(op.length), 0x11));
      return done(op.length);
    }
    if (op.kind === KIND.ioctl) {
      if (op.command === QUERYBUF) this.reply(op, bufferAt(0x1000));
      return done(0n);
    }
    if (op.kind === KIND.mmap) return this.mapping(op, this.sparePages);
    return done(0n);
  }

  /** An answer to mmap that names these pages, as many as asked for. */
  mapping(op: Submission, pages: readonly bigint[], result?: bigint): Completion[] {
    const count = Number(op.length) / PAGE_BYTES;
    const list = BigUint64Array.from(pages.slice(0, count));
    this.scribble(op.channel, AT.arena + op.headOffset, Buffer.from(list.buffer));
    return [{ id: op.id, result: result ?? BigInt(count) }];
  }

  /** Answers EXPBUF as if the driver had made a descriptor, with lies in what is said of it. */
  take(op: Submission, lie: Partial<Taken>): Completion[] {
    const { result, openFlags, mode, bytes, number } = { ...HONESTLY_TAKEN, ...lie };
    const said = Buffer.alloc(DESCRIPTOR_REPLY.bytes);
    said.writeInt32LE(result, 0);
    said.writeUInt32LE(openFlags, 4);
    said.writeUInt32LE(mode, 8);
    said.writeBigInt64LE(bytes, 32);
    this.scribble(op.channel, AT.arena + op.descriptorsOffset + DESCRIPTOR_REPLY.offset, said);
    const argument = Buffer.alloc(EXPORT_BYTES);
    argument.writeInt32LE(number, EXPORT_FD);
    this.reply(op, argument);
    return [{ id: op.id, result: 0n }];
  }

  #submission(channel: number, head: number): Submission {
    const entry = this.#read(
      channel * CHANNEL_BYTES + AT.submissions + (head % RING_ENTRIES) * OP_BYTES,
      OP_BYTES,
    );
    return {
      channel,
      id: entry.readBigUInt64LE(0),
      kind: entry.readUInt32LE(8),
      file: entry.readUInt32LE(16),
      command: entry.readUInt32LE(20),
      argument: entry.readBigUInt64LE(24),
      length: entry.readBigUInt64LE(40),
      headOffset: entry.readUInt32LE(48),
      descriptorsOffset: entry.readUInt32LE(52),
    };
  }

  #arenaOffset(op: Submission): number {
    return Number(op.argument - AGENT_ADDRESS) - op.channel * CHANNEL_BYTES - AT.arena;
  }

  #wake(channel: number): void {
    const number = Buffer.alloc(4);
    number.writeUInt32LE(channel);
    this.#rings.write(number);
  }

  #word(channel: number, at: number): number {
    return this.#read(channel * CHANNEL_BYTES + at, 4).readUInt32LE();
  }

  #setWord(channel: number, at: number, value: number): void {
    const word = Buffer.alloc(4);
    word.writeUInt32LE(value >>> 0);
    this.scribble(channel, at, word);
  }

  #read(at: number, bytes: number): Buffer {
    const buffer = Buffer.alloc(bytes);
    readSync(this.#memory, buffer, 0, bytes, at);
    return buffer;
  }
}

/** VIDIOC_QUERYBUF on x86-64. */
export const QUERYBUF = 0xc0585609;
/** VIDIOC_EXPBUF, and struct v4l2_exportbuffer (linux/videodev2.h): its size, and where the descriptor is. */
export const EXPBUF = 0xc0405610;
const EXPORT_BYTES = 64;
const EXPORT_FD = 16;
/** The part of struct postern_descriptor that the backend writes. */
const DESCRIPTOR_REPLY = { offset: 28, bytes: 40 } as const;
const HONESTLY_TAKEN: Taken = { result: 0, openFlags: 2, mode: 0o600, bytes: 8192n, number: -1 };
/** struct v4l2_buffer (linux/videodev2.h): its size, and where m.offset and length are. */
const BUFFER_BYTES = 88;
const BUFFER = { type: 4, memory: 60, offset: 64, length: 72 } as const;
const VIDEO_CAPTURE = 1;
const MEMORY_MMAP = 1;

/** A buffer of two pages, to be mapped at `offset`. */
function bufferAt(offset: number): Buffer {
  const buffer = Buffer.alloc(BUFFER_BYTES);
  buffer.writeUInt32LE(VIDEO_CAPTURE, BUFFER.type);
  buffer.writeUInt32LE(MEMORY_MMAP, BUFFER.memory);
  buffer.writeUInt32LE(offset, BUFFER.offset);
  buffer.writeUInt32LE(2 * PAGE_BYTES, BUFFER.length);
  return buffer;
}

const CAMERA_DEVICE: Device = {
  ...{ name: 'video0', major: 81, minor: 0, subsystem: 'video4linux' },
  ...{ sysfs: '/devices/platform/fake.0/video4linux/video0', files: {}, links: {} },
};
