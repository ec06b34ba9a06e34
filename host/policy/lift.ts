import type {
  Access,
  ClassInfo,
  Command,
  Denial,
  Descriptor,
  DescriptorFlow,
  DescriptorKind,
  Forgetting,
  Grant,
  Lesson,
  Mask,
  Plan,
  Relocation,
  Requirement,
  Scope,
  Settlement,
  Verdict,
} from './__generated__/postern-device-types.js';
import { PolicyFault } from './fault.js';
import type { Envelope } from './manifest.js';

/** Sizes and alignments, in bytes, of the contract's types by the canonical ABI. */
const VERDICT = { bytes: 52, align: 4 };
const SETTLEMENT = { bytes: 32, align: 8 };
const CLASS_INFO = { bytes: 36, align: 4 };
const GRANT = { bytes: 16, align: 8 };
const RELOCATION = { bytes: 12, align: 4 };
const REQUIREMENT = { bytes: 28, align: 4 };
const DESCRIPTOR = { bytes: 16, align: 4 };
const FORGETTING = { bytes: 16, align: 4 };
const LESSON = { bytes: 16, align: 4 };
const MASK = { bytes: 24, align: 8 };
const COMMAND = { bytes: 28, align: 4 };
const STRING = { bytes: 8, align: 4 };
const BYTE = { bytes: 1, align: 1 };

/** One answer teaches, forgets or masks a handful of fields; the largest is the offsets of a buffer's planes. */
const ENTRIES_MAX = 64;
/** Rows, reasons and tables of one class: the whole of V4L2 has fewer than a hundred rows. */
const CLASS_ENTRIES_MAX = 1024;

/** The eight values of the contract's `access`: shared, so that a grant costs no object of its own. */
const ACCESS: readonly Access[] = Array.from({ length: 8 }, (_, bits) =>
  Object.freeze({
    toDriver: (bits & 1) !== 0,
    fromDriver: (bits & 2) !== 0,
    fromDriverOnError: (bits & 4) !== 0,
  }),
);

/** The contract's enum `scope`, by its discriminants. */
export const SCOPES: readonly Scope[] = ['guest', 'device', 'session'];

/** The contract's enums `descriptor-kind` and `descriptor-flow`, by their discriminants. */
export const DESCRIPTOR_KINDS: readonly DescriptorKind[] = ['dma-buf', 'sync-file', 'syncobj'];
export const DESCRIPTOR_FLOWS: readonly DescriptorFlow[] = ['to-driver', 'from-driver', 'repeated'];

const NOTHING: never[] = [];

/** An `access` as bits: 1 to the driver, 2 from the driver, 4 from the driver on error. */
export function accessBits(access: Access): number {
  return (access.toDriver ? 1 : 0) | (access.fromDriver ? 2 : 0) | (access.fromDriverOnError ? 4 : 0);
}

/** The type of a value in the module's memory: how long it is and where it may begin. */
interface Shape {
  bytes: number;
  align: number;
}

/**
 * Lifts the contract's results from a policy's memory, as the canonical ABI describes it, and throws a PolicyFault
 * wherever the ABI traps. The memory is read through typed arrays, which V8 compiles to plain loads where a DataView costs a call:
 * every address has been checked for its type's alignment, so that it is a whole index.
 */
export class Lifter {
  private bytes = new Uint8Array(0);
  private words = new Uint32Array(0);
  private longs = new BigUint64Array(0);
  private readonly text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

  constructor(
    private readonly memory: WebAssembly.Memory,
    private readonly envelope: Envelope,
  ) {
    this.refresh();
  }

  verdict(at: unknown): Verdict {
    const start = this.place(at, VERDICT);
    const tag = this.byte(start);
    if (tag === 0) return { tag: 'allow', val: this.plan(start + 4) };
    if (tag === 1) return { tag: 'deny', val: this.denial(start + 4) };
    throw new PolicyFault('abi', `A verdict is allow (0) or deny (1), but the policy returned ${tag}.`);
  }

  settlement(at: unknown): Settlement {
    const start = this.place(at, SETTLEMENT);
    return {
      state: this.long(start),
      watch: this.word(start + 8),
      idle: this.word(start + 12),
      learn: this.list(start + 16, LESSON, ENTRIES_MAX, this.lesson),
      masks: this.list(start + 24, MASK, ENTRIES_MAX, this.mask),
    };
  }

  classInfo(at: unknown): ClassInfo {
    const start = this.place(at, CLASS_INFO);
    return {
      class: this.string(start),
      commands: this.list(start + 8, COMMAND, CLASS_ENTRIES_MAX, this.command),
      reasons: this.list(start + 16, STRING, CLASS_ENTRIES_MAX, this.string),
      tables: this.list(start + 24, STRING, CLASS_ENTRIES_MAX, this.string),
      unsettledTransfers: this.bool(start + 32),
    };
  }

  /** The memory as it is now: growing replaces the buffer and detaches the old one. */
  refresh(): Uint8Array {
    if (this.bytes.length > 0) return this.bytes;
    const { buffer } = this.memory;
    this.bytes = new Uint8Array(buffer);
    this.words = new Uint32Array(buffer);
    this.longs = new BigUint64Array(buffer);
    return this.bytes;
  }

  /** Writes a word at an address that `place` or `range` has checked. */
  putWord(at: number, value: number): void {
    this.words[at >>> 2] = value;
  }

  /** Checks that a value of `shape` may be at `at`. */
  place(at: unknown, shape: Shape): number {
    if (typeof at !== 'number')
      throw new PolicyFault('abi', `The policy returned ${typeof at}, not an address.`);
    return this.range(at >>> 0, 1, shape);
  }

  /** Checks that `count` values of `shape` may be at `address`. */
  range(address: number, count: number, shape: Shape): number {
    const end = address + count * shape.bytes;
    if (address % shape.align !== 0)
      throw new PolicyFault('abi', `The policy's address ${address} is not a multiple of ${shape.align}.`);
    if (end > this.refresh().length)
      throw new PolicyFault('abi', `The policy's value at ${address} ends at ${end}, beyond its memory.`);
    return address;
  }

  private list<T>(at: number, shape: Shape, most: number, lift: (this: Lifter, at: number) => T): T[] {
    const count = this.word(at + 4);
    const address = this.range(this.word(at), count, shape);
    if (count > most)
      throw new PolicyFault('limit', `The policy returned a list of ${count}, at most ${most} may be.`);
    if (count === 0) return NOTHING;
    const values: T[] = [];
    for (let index = 0; index < count; index++) values.push(lift.call(this, address + index * shape.bytes));
    return values;
  }

  private plan(at: number): Plan {
    const { envelope } = this;
    return {
      head: this.access(at),
      grants: this.list(at + 4, GRANT, envelope.grantsMax, this.grant),
      relocations: this.list(at + 12, RELOCATION, envelope.relocationsMax, this.relocation),
      requirements: this.list(at + 20, REQUIREMENT, envelope.requirementsMax, this.requirement),
      descriptors: this.list(at + 28, DESCRIPTOR, envelope.descriptorsMax ?? 0, this.descriptor),
      forget: this.list(at + 36, FORGETTING, ENTRIES_MAX, this.forgetting),
      blocking: this.bool(at + 44),
      alone: this.bool(at + 45),
    };
  }

  private denial(at: number): Denial {
    return { errno: this.word(at), reason: this.word(at + 4), field: this.word(at + 8) };
  }

  private grant(at: number): Grant {
    return {
      address: this.long(at),
      length: this.word(at + 8),
      access: this.access(at + 12),
    };
  }

  private relocation(at: number): Relocation {
    return { region: this.word(at), offset: this.word(at + 4), target: this.word(at + 8) };
  }

  private requirement(at: number): Requirement {
    return {
      table: this.word(at),
      source: this.word(at + 4),
      offset: this.word(at + 8),
      width: this.word(at + 12),
      errno: this.word(at + 16),
      reason: this.word(at + 20),
      within: this.oneOf(SCOPES, at + 24),
    };
  }

  private descriptor(at: number): Descriptor {
    return {
      region: this.word(at),
      offset: this.word(at + 4),
      width: this.word(at + 8),
      kind: this.oneOf(DESCRIPTOR_KINDS, at + 12),
      flow: this.oneOf(DESCRIPTOR_FLOWS, at + 13),
      closeOnExec: this.bool(at + 14),
    };
  }

  private forgetting(at: number): Forgetting {
    return {
      table: this.word(at),
      source: this.word(at + 4),
      offset: this.word(at + 8),
      width: this.word(at + 12),
    };
  }

  private lesson(at: number): Lesson {
    return {
      table: this.word(at),
      region: this.word(at + 4),
      offset: this.word(at + 8),
      width: this.word(at + 12),
    };
  }

  private mask(at: number): Mask {
    return {
      region: this.word(at),
      offset: this.word(at + 4),
      width: this.word(at + 8),
      keep: this.long(at + 16),
    };
  }

  private command(at: number): Command {
    return {
      name: this.string(at),
      number: this.word(at + 8),
      mask: this.word(at + 12),
      head: this.word(at + 16),
      access: this.access(at + 20),
      nested: this.bool(at + 21),
      unsettled: this.bool(at + 22),
      steady: this.bool(at + 23),
      refused: this.word(at + 24),
    };
  }

  private long(at: number): bigint {
    return this.longs[at >>> 3] as bigint;
  }

  private word(at: number): number {
    return this.words[at >>> 2] as number;
  }

  private byte(at: number): number {
    return this.bytes[at] as number;
  }

  private access(at: number): Access {
    const access = ACCESS[this.byte(at)];
    if (access === undefined)
      throw new PolicyFault('abi', 'The policy returned access flags that do not exist.');
    return access;
  }

  private oneOf<T>(values: readonly T[], at: number): T {
    const value = values[this.byte(at)];
    if (value === undefined)
      throw new PolicyFault('abi', 'The policy returned a value of an enumeration that it does not have.');
    return value;
  }

  private bool(at: number): boolean {
    const byte = this.byte(at);
    if (byte > 1) throw new PolicyFault('abi', `A truth value is 0 or 1, but the policy returned ${byte}.`);
    return byte === 1;
  }

  private string(at: number): string {
    const length = this.word(at + 4);
    const address = this.range(this.word(at), length, BYTE);
    try {
      return this.text.decode(this.refresh().subarray(address, address + length));
    } catch (error) {
      throw new PolicyFault('abi', 'The policy returned a string that is not UTF-8.', { cause: error });
    }
  }
}
