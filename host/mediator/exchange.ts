import { native } from '../native.js';
import {
  accessBits,
  type Call,
  type Operation,
  type Plan,
  type Settlement,
  type Verdict,
} from '../policy/abi.js';
import { DESCRIPTOR_FLOWS, DESCRIPTOR_KINDS, SCOPES } from '../policy/lift.js';

/** The events of native/addon/exchange.h. */
export const EVENT = { admit: 1, complete: 2, control: 3, exit: 4, note: 5, refused: 6, front: 7 } as const;

const OPERATIONS: readonly Operation[] = ['open', 'ioctl', 'read', 'write', 'mmap', 'seek'];
const VERDICT = { allow: 0, deny: 1, fault: 2, again: 3 } as const;

const FIELDS = [
  'classIndex',
  'headBytes',
  'commandRow',
  'note',
  'noteDetail',
  'process',
  'noteErrno',
  'call',
  'outcome',
  'verdict',
  'errnum',
  'reason',
  'field',
  'headAccess',
  'blocking',
  'alone',
  'observed',
  'grants',
  'relocations',
  'requirements',
  'descriptors',
  'state',
  'watch',
  'idle',
  'lessons',
  'forgets',
  'masks',
  'settlementFault',
  'forget',
  'requirement',
  'descriptor',
  'lesson',
  'mask',
  'grant',
  'relocation',
  'head',
  'bytes',
  'grantsMax',
  'relocationsMax',
  'requirementsMax',
  'descriptorsMax',
  'lessonsMax',
  'forgetsMax',
  'masksMax',
] as const;

/** Offsets of the fields, and the capacities of the lists, as the addon that is loaded has them. */
const AT = Object.fromEntries(FIELDS.map((name) => [name, offset(name)])) as Record<
  (typeof FIELDS)[number],
  number
>;

function offset(name: string): number {
  const at = native.exchangeLayout[name];
  if (at === undefined)
    throw new Error(`The native addon does not fit: its exchange has no field '${name}'.`);
  return at;
}

/** Bytes of one entry of each list; the structures are in native/addon/exchange.h. */
const GRANT_BYTES = 16;
const RELOCATION_BYTES = 16;
const REQUIREMENT_BYTES = 28;
const DESCRIPTOR_BYTES = 24;
const FORGETTING_BYTES = 16;
const LESSON_BYTES = 16;
const MASK_BYTES = 24;

/** Views of heads up to this long are kept: fixed structures are shorter, and longer ones vary. */
const KEPT_HEAD_BYTES = 1024;

/** What the native side notes beside its events. */
export interface NativeNote {
  kind: number;
  detail: number;
  errno: number;
  process: number;
  classIndex: number;
  command: number;
}

/** The page that a mediator's JavaScript and C++ share: reads events, writes verdicts and settlements. */
export class Exchange {
  readonly buffer = new ArrayBuffer(AT.bytes);
  // Typed arrays, which V8 compiles to plain loads where 64 bits of a DataView cost a call: every field lies at a whole index.
  private readonly bytes = new Uint8Array(this.buffer);
  private readonly words = new Uint32Array(this.buffer);
  private readonly longs = new BigUint64Array(this.buffer);
  private readonly signedLongs = new BigInt64Array(this.buffer);
  /** Views of the head by its length, so that a steady stream of operations makes none. */
  private readonly heads: (Uint8Array | undefined)[] = [];

  get classIndex(): number {
    return this.u32(AT.classIndex);
  }

  /** Index of the command's row in the class's table. */
  get commandRow(): number {
    return this.u32(AT.commandRow);
  }

  /** Which of the class's modules has judged the operation of a complete, refused or note event. */
  get generation(): number {
    return this.u32(AT.call + 20);
  }

  /** Why a plan was refused: a PlanError of native/addon/plan.h. */
  get noteDetail(): number {
    return this.u32(AT.noteDetail);
  }

  /** The guest process, by its number in the host's view. */
  get process(): number {
    return this.u32(AT.process);
  }

  /** What the driver answered: negative, -errno. */
  get outcome(): bigint {
    return this.signedLongs[AT.outcome >>> 3] as bigint;
  }

  /** The argument's snapshot, or the reply: a view that the next event overwrites. */
  head(): Uint8Array {
    const length = this.u32(AT.headBytes);
    const known = this.heads[length];
    if (known !== undefined) return known;
    const view = this.bytes.subarray(AT.head, AT.head + length);
    if (length <= KEPT_HEAD_BYTES) this.heads[length] = view;
    return view;
  }

  call(): Call {
    const at = AT.call;
    return {
      session: this.u32(at),
      node: this.u32(at + 4),
      operation: OPERATIONS[this.u32(at + 8)] ?? 'ioctl',
      command: this.u32(at + 12),
      fileFlags: this.u32(at + 16),
      argument: this.u64(at + 24),
      length: this.u64(at + 32),
      offset: this.u64(at + 40),
      state: this.u64(at + 48),
    };
  }

  note(): NativeNote {
    return {
      kind: this.u32(AT.note),
      detail: this.u32(AT.noteDetail),
      errno: this.u32(AT.noteErrno),
      process: this.process,
      classIndex: this.classIndex,
      command: this.u32(AT.call + 12),
    };
  }

  /** @param isObserved whether the operation's end is wanted although it is not to be settled */
  writeVerdict(verdict: Verdict, isObserved: boolean): void {
    this.set(AT.observed, isObserved ? 1 : 0);
    if (verdict.tag === 'deny') {
      this.set(AT.verdict, VERDICT.deny);
      this.set(AT.errnum, verdict.val.errno);
      this.set(AT.reason, verdict.val.reason);
      this.set(AT.field, verdict.val.field);
      return;
    }
    this.writePlan(verdict.val);
  }

  /** Another module is in force now: it judges the operation from its beginning. */
  writeAgain(): void {
    this.set(AT.verdict, VERDICT.again);
  }

  /** The policy has faulted: the operation fails with EIO. */
  writeFault(): void {
    this.set(AT.verdict, VERDICT.fault);
    this.set(AT.settlementFault, 1);
  }

  writeSettlement(settlement: Settlement): void {
    const { learn, masks } = settlement;
    this.set(AT.settlementFault, 0);
    this.setLong(AT.state, settlement.state);
    this.set(AT.watch, settlement.watch);
    this.set(AT.idle, settlement.idle);
    // What is beyond the exchange's room is beyond what the native side would take.
    this.set(AT.lessons, Math.min(learn.length, AT.lessonsMax));
    this.set(AT.masks, Math.min(masks.length, AT.masksMax));
    for (let i = 0; i < Math.min(learn.length, AT.lessonsMax); i++) {
      const at = AT.lesson + i * LESSON_BYTES;
      const lesson = learn[i] as Settlement['learn'][number];
      this.set(at, lesson.table);
      this.set(at + 4, lesson.region);
      this.set(at + 8, lesson.offset);
      this.set(at + 12, lesson.width);
    }
    for (let i = 0; i < Math.min(masks.length, AT.masksMax); i++) {
      const at = AT.mask + i * MASK_BYTES;
      const mask = masks[i] as Settlement['masks'][number];
      this.set(at, mask.region);
      this.set(at + 4, mask.offset);
      this.set(at + 8, mask.width);
      this.setLong(at + 16, mask.keep);
    }
  }

  /** Counts go over as they are, so that the native check sees what the policy said; only the room limits what is copied. */
  private writePlan(plan: Plan): void {
    this.set(AT.verdict, VERDICT.allow);
    this.set(AT.headAccess, accessBits(plan.head));
    this.set(AT.blocking, plan.blocking ? 1 : 0);
    this.set(AT.alone, plan.alone ? 1 : 0);
    this.set(AT.grants, plan.grants.length);
    this.set(AT.relocations, plan.relocations.length);
    this.set(AT.requirements, plan.requirements.length);
    this.writeDescriptors(plan.descriptors);
    this.writeForgettings(plan.forget);
    for (let i = 0; i < Math.min(plan.grants.length, AT.grantsMax); i++) {
      const at = AT.grant + i * GRANT_BYTES;
      const grant = plan.grants[i] as Plan['grants'][number];
      this.setLong(at, grant.address);
      this.set(at + 8, grant.length);
      this.set(at + 12, accessBits(grant.access));
    }
    for (let i = 0; i < Math.min(plan.relocations.length, AT.relocationsMax); i++) {
      const at = AT.relocation + i * RELOCATION_BYTES;
      const relocation = plan.relocations[i] as Plan['relocations'][number];
      this.set(at, relocation.region);
      this.set(at + 4, relocation.offset);
      this.set(at + 8, relocation.target);
    }
    for (let i = 0; i < Math.min(plan.requirements.length, AT.requirementsMax); i++) {
      const at = AT.requirement + i * REQUIREMENT_BYTES;
      const requirement = plan.requirements[i] as Plan['requirements'][number];
      this.set(at, requirement.table);
      this.set(at + 4, requirement.source);
      this.set(at + 8, requirement.offset);
      this.set(at + 12, requirement.width);
      this.set(at + 16, requirement.errno);
      this.set(at + 20, requirement.reason);
      this.set(at + 24, SCOPES.indexOf(requirement.within));
    }
  }

  private writeForgettings(forget: Plan['forget']): void {
    this.set(AT.forgets, forget.length);
    for (let i = 0; i < Math.min(forget.length, AT.forgetsMax); i++) {
      const at = AT.forget + i * FORGETTING_BYTES;
      const forgetting = forget[i] as Plan['forget'][number];
      this.set(at, forgetting.table);
      this.set(at + 4, forgetting.source);
      this.set(at + 8, forgetting.offset);
      this.set(at + 12, forgetting.width);
    }
  }

  private writeDescriptors(descriptors: Plan['descriptors']): void {
    this.set(AT.descriptors, descriptors.length);
    for (let i = 0; i < Math.min(descriptors.length, AT.descriptorsMax); i++) {
      const at = AT.descriptor + i * DESCRIPTOR_BYTES;
      const descriptor = descriptors[i] as Plan['descriptors'][number];
      this.set(at, descriptor.region);
      this.set(at + 4, descriptor.offset);
      this.set(at + 8, descriptor.width);
      this.set(at + 12, DESCRIPTOR_KINDS.indexOf(descriptor.kind));
      this.set(at + 16, DESCRIPTOR_FLOWS.indexOf(descriptor.flow));
      this.set(at + 20, descriptor.closeOnExec ? 1 : 0);
    }
  }

  private u32(at: number): number {
    return this.words[at >>> 2] as number;
  }

  private u64(at: number): bigint {
    return this.longs[at >>> 3] as bigint;
  }

  private setLong(at: number, value: bigint): void {
    this.longs[at >>> 3] = value;
  }

  private set(at: number, value: number): void {
    this.words[at >>> 2] = value;
  }
}
