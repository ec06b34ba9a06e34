import { type Duplex, duplexPair } from 'node:stream';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ControlClient } from '../../host/driver-vm/control-client.js';
import { FRAME, FrameParser, frameOf } from '../../host/driver-vm/frames.js';
import { CHANNEL_BYTES, PAGE_BYTES } from '../../host/driver-vm/hello.js';

/** Streams that the agent speaks; the seed is fixed, so that every run tries the same. */
const STREAMS = 400;
const SEED = 6;
const MEMORY_BYTES = 64 * CHANNEL_BYTES;
const TIMEOUT_MS = 60_000;
const LOG_LINE_MAX = 2000;

const word = fc.oneof(fc.nat(4), fc.constantFrom(0x7fffffff, 0xffffffff, 128, 129), fc.nat(0xffffffff));

/** A greeting whose numbers and pages may be anything, and often fit together. */
const greeting = fc
  .record({
    version: fc.oneof({ weight: 6, arbitrary: fc.constant(2) }, word),
    channels: fc.oneof({ weight: 6, arbitrary: fc.constant(1) }, word),
    strange: fc.array(
      fc.record({ at: fc.nat(CHANNEL_BYTES / PAGE_BYTES - 1), page: fc.bigInt(0n, 2n ** 64n - 1n) }),
      {
        maxLength: 2,
      },
    ),
    cut: fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, fc.nat(40)),
  })
  .map(({ version, channels, strange, cut }) => {
    const pages = CHANNEL_BYTES / PAGE_BYTES;
    const bytes = Buffer.alloc(24 + 8 * pages);
    bytes.writeUInt32LE(version, 0);
    bytes.writeUInt32LE(channels, 4);
    for (let page = 0; page < pages; page++) bytes.writeBigUInt64LE(BigInt(page * PAGE_BYTES), 24 + 8 * page);
    for (const { at, page } of strange) bytes.writeBigUInt64LE(page, 24 + 8 * at);
    return bytes.subarray(0, bytes.length - cut);
  });

const HONEST_DEVICE = {
  name: 'video0',
  major: 81,
  minor: 0,
  subsystem: 'video4linux',
  sysfs: '/devices/a',
  files: {},
  links: {},
};
const deviceValue = fc.oneof(
  fc.string(),
  fc.integer(),
  fc.constantFrom(null, '../../etc/passwd', -1, 2 ** 53, {}, []),
);
const devices = fc
  .oneof(
    fc.constant([HONEST_DEVICE]),
    fc
      .tuple(fc.constantFrom(...Object.keys(HONEST_DEVICE), '__proto__', 'more'), deviceValue)
      .map(([key, value]) => [{ ...HONEST_DEVICE, [key]: value }]),
    fc.jsonValue(),
  )
  .map((value) => Buffer.from(JSON.stringify(value)));

const bytes = fc.uint8Array({ maxLength: 80 }).map((some) => Buffer.from(some));
const payload = fc.oneof(greeting, devices, bytes);
const frame = fc
  .tuple(fc.constantFrom(...Object.values(FRAME)), payload)
  .map(([type, content]) => frameOf(type, content));
/** A frame's head that promises what does not come, or is none. */
const broken = fc.tuple(word, word).map(([length, type]) => {
  const head = Buffer.alloc(8);
  head.writeUInt32LE(length, 0);
  head.writeUInt32LE(type, 4);
  return head;
});
/** What is said when something has been asked: mostly an answer of that kind, with anything in it, and other words before or after. */
const reply = fc.record({
  before: fc.oneof({ weight: 6, arbitrary: fc.constant(Buffer.alloc(0)) }, frame, broken, bytes),
  log: fc.oneof(
    { weight: 3, arbitrary: fc.constant(Buffer.alloc(0)) },
    bytes.map((text) => frameOf(FRAME.log, text)),
  ),
  answers: fc.record({
    [FRAME.hello]: greeting,
    [FRAME.devices]: devices,
    [FRAME.run]: fc.oneof({ weight: 3, arbitrary: word.map((status) => wordOf(status)) }, bytes),
    [FRAME.ping]: fc.constant(Buffer.alloc(0)),
  }),
  times: fc.oneof({ weight: 8, arbitrary: fc.constant(1) }, fc.nat(3)),
});

interface Reply {
  before: Buffer;
  log: Buffer;
  answers: Record<1 | 2 | 3 | 8, Buffer>;
  times: number;
}

/** What is said before anything has been asked, and in answer to the first four questions; then the stream ends. */
const speech = fc.record({
  first: fc.oneof({ weight: 8, arbitrary: fc.constant(Buffer.alloc(0)) }, frame, bytes),
  replies: fc.array(reply, { minLength: 4, maxLength: 4 }),
});

function wordOf(value: number): Buffer {
  const four = Buffer.alloc(4);
  four.writeUInt32LE(value);
  return four;
}

describe('a backend agent that says anything', () => {
  it(`is believed or refused, in ${STREAMS} streams, and none of its words brings down the host`, async () => {
    const counts = { believed: 0, refused: 0 };
    const property = fc.asyncProperty(speech, async ({ first, replies }) => {
      const lines: string[] = [];
      const [ours, theirs] = duplexPair();
      const client = new ControlClient(ours, (line) => lines.push(line));
      theirs.write(first);
      speak(theirs, first.length === 0, replies);
      ours.on('end', () => ours.destroy());
      const settled = Promise.allSettled([
        client.hello(MEMORY_BYTES, TIMEOUT_MS),
        client.devices(),
        client.run(['true'], (chunk) => expect(Buffer.isBuffer(chunk)).toBe(true)),
        client.ping(),
      ]);
      for (const outcome of await settled) {
        if (outcome.status === 'fulfilled') counts.believed += 1;
        else {
          expect(outcome.reason).toBeInstanceOf(Error);
          expect(outcome.reason).not.toBeInstanceOf(TypeError);
          counts.refused += 1;
        }
      }
      const [hello, list] = await settled;
      if (hello?.status === 'fulfilled') expectPages(hello.value);
      if (list?.status === 'fulfilled') expect(list.value).toBeInstanceOf(Array);
      for (const line of lines) expect(line.length).toBeLessThan(LOG_LINE_MAX);
    });
    await fc.assert(property, { numRuns: STREAMS, seed: SEED });
    expect(counts.believed).toBeGreaterThan(STREAMS / 20);
    expect(counts.refused).toBeGreaterThan(STREAMS / 2);
  });
});

/** Answers questions as they come, and ends the stream when there is nothing more to say. */
function speak(stream: Duplex, isSound: boolean, replies: readonly Reply[]): void {
  const parser = new FrameParser();
  const left = [...replies];
  stream.on('data', (chunk: Buffer) => {
    for (const { type } of parser.push(chunk)) {
      if (type === FRAME.input || stream.writableEnded) continue;
      const next = left.shift();
      if (next === undefined) return void stream.end();
      stream.write(Buffer.concat([next.before, next.log]));
      const content = next.answers[type as keyof Reply['answers']];
      for (let time = 0; time < next.times; time++) stream.write(frameOf(type, content));
      // What does not fit together may be waited for: then the end is what comes.
      if (!isSound || next.before.length > 0 || next.times === 0 || left.length === 0) stream.end();
    }
  });
}

/** A greeting that is believed names each page once, in the memory. */
function expectPages(hello: unknown): void {
  const pages = [...((hello as { pages: BigUint64Array | null }).pages ?? [])];
  expect(pages.length).toBeGreaterThan(0);
  expect(new Set(pages).size).toBe(pages.length);
  expect(pages.every((page) => page < BigInt(MEMORY_BYTES) && page % BigInt(PAGE_BYTES) === 0n)).toBe(true);
}
