/** A section of a WebAssembly binary, core or component: its id and its bytes. */
export interface Section {
  id: number;
  bytes: Uint8Array;
  /** A custom section's name (id 0), else the empty string. */
  name: string;
  /** Where the section's header begins in the file. */
  start: number;
  end: number;
}

/** The limits of a memory or a table; `maximum` is undefined where none is declared. */
export interface Limits {
  minimum: number;
  maximum: number | undefined;
}

const PREAMBLE_BYTES = 8;
const MAGIC = [0x00, 0x61, 0x73, 0x6d];
const CORE_VERSION = [0x01, 0x00, 0x00, 0x00];
/** Version 13 of the binary format, layer 1: a component. */
const COMPONENT_VERSION = [0x0d, 0x00, 0x01, 0x00];
/** Section 1 of a component holds a core module. */
const COMPONENT_CORE_MODULE = 1;

export const SECTION = { custom: 0, import: 2, table: 4, memory: 5, start: 8 } as const;

/** Reads LEB128 numbers and bytes, and throws on the first byte that isn't there. */
class Reader {
  constructor(
    private readonly bytes: Uint8Array,
    public at = 0,
  ) {}

  get done(): boolean {
    return this.at >= this.bytes.length;
  }

  byte(): number {
    const byte = this.bytes[this.at++];
    if (byte === undefined) throw new Error('The WebAssembly binary ends in the middle of a section.');
    return byte;
  }

  /** An unsigned LEB128 number of at most 32 bits. */
  u32(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.byte();
      value += (byte & 0x7f) * 2 ** shift;
      if ((byte & 0x80) === 0) return checkedU32(value);
    }
    throw new Error('The WebAssembly binary has a number of more than 32 bits.');
  }

  take(length: number): Uint8Array {
    if (length > this.bytes.length - this.at)
      throw new Error('The WebAssembly binary ends in the middle of a section.');
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }
}

function checkedU32(value: number): number {
  if (value > 0xffffffff) throw new Error('The WebAssembly binary has a number of more than 32 bits.');
  return value;
}

/** How a section's bytes are read: numbers and bytes, with an Error for the first that isn't there. */
export type SectionReader = Pick<Reader, 'byte' | 'u32' | 'take' | 'done'>;

/** A reader at the beginning of a section's bytes. */
export function sectionReader({ bytes }: Section): SectionReader {
  return new Reader(bytes);
}

/** The sections of a component. Throws when the bytes aren't one. */
export function componentSections(component: Uint8Array): Section[] {
  return sections(component, COMPONENT_VERSION, 'a component');
}

/** The sections of a core module. Throws when the bytes aren't one. */
export function coreSections(module: Uint8Array): Section[] {
  return sections(module, CORE_VERSION, 'a core module');
}

/**
 * The core module that a policy's component holds: the first one; those after it are the component's own shims.
 * @throws Error when the bytes aren't a component, or there is none in it
 */
export function coreModuleOf(component: Uint8Array): Uint8Array {
  const first = componentSections(component).find(({ id }) => id === COMPONENT_CORE_MODULE);
  if (first === undefined) throw new Error('The component holds no core module: build it from a policy.');
  return first.bytes;
}

/** The module without its custom sections (names, producers), which carry no meaning but may confuse tools. */
export function withoutCustomSections(module: Uint8Array): Uint8Array {
  const kept = coreSections(module).filter(({ id }) => id !== SECTION.custom);
  return Buffer.concat([
    module.subarray(0, PREAMBLE_BYTES),
    ...kept.map(({ start, end }) => module.subarray(start, end)),
  ]);
}

/** The limits of every memory that a memory section declares. */
export function memoryLimits(section: Section): Limits[] {
  const reader = new Reader(section.bytes);
  return Array.from({ length: reader.u32() }, () => limits(reader));
}

/** The limits of every table that a table section declares. */
export function tableLimits(section: Section): Limits[] {
  const reader = new Reader(section.bytes);
  return Array.from({ length: reader.u32() }, () => {
    reader.byte(); // The element type: WebAssembly itself has validated it.
    return limits(reader);
  });
}

function limits(reader: Reader): Limits {
  const flags = reader.byte();
  if (flags > 1) throw new Error('A shared or 64-bit memory or table is not for a policy.');
  const minimum = reader.u32();
  return { minimum, maximum: flags === 1 ? reader.u32() : undefined };
}

function sections(file: Uint8Array, version: number[], what: string): Section[] {
  const preamble = [...file.subarray(0, PREAMBLE_BYTES)];
  if (preamble.join() !== [...MAGIC, ...version].join())
    throw new Error(`Expected the WebAssembly binary of ${what}.`);
  const reader = new Reader(file, PREAMBLE_BYTES);
  const found: Section[] = [];
  while (!reader.done) {
    const start = reader.at;
    const id = reader.byte();
    const bytes = reader.take(reader.u32());
    found.push({ id, bytes, name: id === SECTION.custom ? nameOf(bytes) : '', start, end: reader.at });
  }
  return found;
}

function nameOf(custom: Uint8Array): string {
  const reader = new Reader(custom);
  return Buffer.from(reader.take(reader.u32())).toString('utf8');
}
