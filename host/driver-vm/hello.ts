/** POSTERN_PROTOCOL_VERSION, POSTERN_CHANNELS_MAX, POSTERN_CHANNEL_BYTES and POSTERN_PAGE_BYTES of native/protocol/protocol.h. */
export const PROTOCOL_VERSION = 2;
export const CHANNELS_MAX = 128;
export const CHANNEL_BYTES = 4 * 4096 + (1 << 20);
export const PAGE_BYTES = 4096;

/** sizeof(struct postern_hello). */
const HELLO_BYTES = 24;
const PAGE_NUMBER_BYTES = 8;

export interface Hello {
  channels: number;
  /** Where the agent has channel 0. */
  channelsAddress: bigint;
  /** Guest-physical address of every page of the channels; null in the local domain. */
  pages: BigUint64Array | null;
}

/**
 * Reads the agent's answer to HELLO.
 * @param memoryBytes the size of the VM's memory, which every page must be in; undefined for the local domain, which has no pages
 * @throws Error when the agent's word is not believable
 */
export function parseHello(payload: Buffer, memoryBytes: number | undefined): Hello {
  if (payload.length < HELLO_BYTES) throw refusal(`it has ${payload.length} bytes, expected ${HELLO_BYTES}`);
  const version = payload.readUInt32LE(0);
  const channels = payload.readUInt32LE(4);
  if (version !== PROTOCOL_VERSION)
    throw refusal(`protocol version ${version}, expected ${PROTOCOL_VERSION}`);
  if (channels === 0 || channels > CHANNELS_MAX)
    throw refusal(`${channels} channels, expected 1 to ${CHANNELS_MAX}`);
  const pages = parsePages(payload.subarray(HELLO_BYTES), channels, memoryBytes);
  return { channels, channelsAddress: payload.readBigUInt64LE(8), pages };
}

function parsePages(list: Buffer, channels: number, memoryBytes: number | undefined): BigUint64Array | null {
  const expected = memoryBytes === undefined ? 0 : (channels * CHANNEL_BYTES) / PAGE_BYTES;
  if (list.length !== expected * PAGE_NUMBER_BYTES) {
    throw refusal(`a page list of ${list.length} bytes, expected ${expected * PAGE_NUMBER_BYTES}`);
  }
  if (memoryBytes === undefined) return null;
  const pages = new BigUint64Array(expected);
  for (let i = 0; i < expected; i++) pages[i] = list.readBigUInt64LE(i * PAGE_NUMBER_BYTES);
  checkPages(pages, BigInt(memoryBytes));
  return pages;
}

function checkPages(pages: BigUint64Array, memoryBytes: bigint): void {
  if (new Set(pages).size !== pages.length) throw refusal('a page is named twice');
  for (const page of pages) {
    if (page % BigInt(PAGE_BYTES) !== 0n || page >= memoryBytes) {
      throw refusal(`page 0x${page.toString(16)} is not in the VM's memory`);
    }
  }
}

function refusal(reason: string): Error {
  return new Error(
    `The backend agent's greeting can't be used: ${reason}. Agent and host must be of one build: run \`npm run setup\`.`,
  );
}
