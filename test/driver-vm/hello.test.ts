import { describe, expect, it } from 'vitest';
import {
  CHANNEL_BYTES,
  CHANNELS_MAX,
  PAGE_BYTES,
  PROTOCOL_VERSION,
  parseHello,
} from '../../host/driver-vm/hello.js';

const MEMORY_BYTES = 64 << 20;
const CHANNELS = 2;
const PAGES = (CHANNELS * CHANNEL_BYTES) / PAGE_BYTES;

interface Greeting {
  version?: number;
  channels?: number;
  pages?: readonly bigint[];
}

function greeting({
  version = PROTOCOL_VERSION,
  channels = CHANNELS,
  pages = goodPages(),
}: Greeting = {}): Buffer {
  const bytes = Buffer.alloc(24 + pages.length * 8);
  bytes.writeUInt32LE(version, 0);
  bytes.writeUInt32LE(channels, 4);
  bytes.writeBigUInt64LE(0x7f0000000000n, 8);
  bytes.writeUInt32LE(1, 16);
  for (const [index, page] of pages.entries()) bytes.writeBigUInt64LE(page, 24 + index * 8);
  return bytes;
}

/** Every page, last first: the order of the addresses means nothing. */
function goodPages(): bigint[] {
  return Array.from({ length: PAGES }, (_, index) => BigInt((PAGES - index) * PAGE_BYTES));
}

function withPage(page: bigint): Buffer {
  return greeting({ pages: [...goodPages().slice(1), page] });
}

describe("the agent's greeting", () => {
  it('is read', () => {
    const hello = parseHello(greeting(), MEMORY_BYTES);
    expect(hello.channels).toBe(CHANNELS);
    expect(hello.channelsAddress).toBe(0x7f0000000000n);
    expect([...(hello.pages ?? [])]).toEqual(goodPages());
  });

  it('has no pages in the local domain', () => {
    expect(parseHello(greeting({ pages: [] }), undefined).pages).toBeNull();
    expect(() => parseHello(greeting(), undefined)).toThrow('page list');
  });

  it.each([
    ['it has 5 bytes', Buffer.alloc(5)],
    [`protocol version ${PROTOCOL_VERSION + 1}`, greeting({ version: PROTOCOL_VERSION + 1 })],
    ['0 channels', greeting({ channels: 0 })],
    [`${CHANNELS_MAX + 1} channels`, greeting({ channels: CHANNELS_MAX + 1 })],
    ['a page list of', greeting({ channels: 3 })],
    ['a page list of', greeting({ pages: goodPages().slice(1) })],
    ['a page is named twice', withPage(BigInt(PAGE_BYTES))],
    ['page 0x1001 is not in', withPage(0x1001n)],
    ['page 0x4000000 is not in', withPage(BigInt(MEMORY_BYTES))],
    ['page 0xfffffffffffff000 is not in', withPage(0xfffffffffffff000n)],
  ])('is refused: %s', (reason, payload) => {
    expect(() => parseHello(payload, MEMORY_BYTES)).toThrow(reason);
  });
});
