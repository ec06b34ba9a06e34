import { isDeepStrictEqual } from 'node:util';
import type { ModuleInput } from '../mediator/messages.js';
import { isSameModule } from '../mediator/same-module.js';
import type { TapedDecision, TapedRead } from '../mediator/tape.js';
import {
  type Call,
  type ClassInfo,
  PolicyFault,
  PolicyInstance,
  type Settlement,
  type Verdict,
} from '../policy/abi.js';
import { commandName, describeSettlement, describeVerdict } from '../policy/described.js';

/** Differences of one kind and command that are told apart by what the two answered; more are counted with the last. */
const DIFFERENCES_MAX = 256;
/** asm-generic/errno-base.h: what a module gets that reads what the one in force did not. */
const EFAULT = 14;

/**
 * wider: the candidate allows what is denied. narrower: it denies what is allowed. denial: both deny, in other ways. plan: both allow, in
 * other ways. settlement: both settle, in other ways. reads: the candidate wants to read memory that the module in force does not, so
 * there is no telling. fault: the candidate misbehaves.
 */
export type DifferenceKind = 'wider' | 'narrower' | 'denial' | 'plan' | 'settlement' | 'reads' | 'fault';

/** Where two modules differ, and how often. */
export interface Difference {
  kind: DifferenceKind;
  /** Such as `VIDIOC_S_FMT (0xc0d05605)`, or the file operation. */
  command: string;
  /** What each answered the first time, in words. */
  inForce: unknown;
  candidate: unknown;
  count: number;
  /** The guest that found it first. */
  guest: string;
}

/** A module that judges from a tape: it sees of the guest's memory what was recorded. */
class Replayer {
  readonly info: ClassInfo;
  #instance: PolicyInstance;
  #reads: readonly TapedRead[] = [];
  /** Whether it wanted to read what was not recorded. */
  hasReadElsewhere = false;

  constructor(readonly input: ModuleInput) {
    this.#instance = this.#fresh();
    this.info = this.#instance.describe();
  }

  answer({ outcome, call, head, reads }: TapedDecision): Verdict | Settlement | PolicyFault {
    this.#reads = reads;
    this.hasReadElsewhere = false;
    try {
      return outcome === undefined
        ? this.#instance.admit(call, head)
        : this.#instance.complete(call, head, outcome);
    } catch (error) {
      if (!(error instanceof PolicyFault)) throw error;
      this.#instance = this.#fresh();
      return error;
    }
  }

  #fresh(): PolicyInstance {
    return new PolicyInstance(this.input.module, this.input.manifest, (address, length, memory, at) => {
      const read = this.#reads.find(
        (one) => one.address <= address && address + BigInt(length) <= one.address + BigInt(one.length),
      );
      if (read === undefined) {
        this.hasReadElsewhere = true;
        return EFAULT;
      }
      const from = Number(address - read.address);
      if (read.errno === 0) memory.set(read.bytes.subarray(from, from + length), at);
      return read.errno;
    });
  }
}

/** Has two modules judge the same decisions, and counts where they differ. */
export class Comparison {
  judged = 0;
  readonly differences = new Map<string, Difference>();
  readonly #inForce: Replayer;
  readonly #candidate: Replayer;

  constructor(inForce: ModuleInput, candidate: ModuleInput) {
    this.#inForce = new Replayer(inForce);
    this.#candidate = new Replayer(candidate);
  }

  isOf(inForce: ModuleInput, candidate: ModuleInput): boolean {
    return isSameModule(this.#inForce.input, inForce) && isSameModule(this.#candidate.input, candidate);
  }

  judge(guest: string, decision: TapedDecision): void {
    this.judged++;
    const [inForce, candidate] = [this.#inForce.answer(decision), this.#candidate.answer(decision)];
    const kind = this.#candidate.hasReadElsewhere ? 'reads' : kindOf(inForce, candidate);
    if (kind === undefined) return;
    const [one, other] = [this.#inWords(this.#inForce, inForce), this.#inWords(this.#candidate, candidate)];
    // Numbers of reasons and tables are each module's own: what they mean is compared.
    if (kind !== 'reads' && isDeepStrictEqual(one, other)) return;
    this.#count(kind, commandOf(decision.call, this.#inForce.info), one, other, guest);
  }

  #count(kind: DifferenceKind, command: string, inForce: unknown, candidate: unknown, guest: string): void {
    const told = JSON.stringify([kind, command, verdictOf(inForce), verdictOf(candidate)]);
    const key = this.differences.size < DIFFERENCES_MAX || this.differences.has(told) ? told : 'others';
    const known = this.differences.get(key);
    if (known !== undefined) known.count++;
    else this.differences.set(key, { kind, command, inForce, candidate, count: 1, guest });
  }

  #inWords({ info }: Replayer, answer: Verdict | Settlement | PolicyFault): unknown {
    if (answer instanceof PolicyFault) return { fault: `${answer.code}: ${answer.message}` };
    return 'tag' in answer ? describeVerdict(answer, info) : { settle: describeSettlement(answer, info) };
  }
}

function kindOf(
  inForce: Verdict | Settlement | PolicyFault,
  candidate: Verdict | Settlement | PolicyFault,
): DifferenceKind | undefined {
  if (candidate instanceof PolicyFault) return 'fault';
  if (inForce instanceof PolicyFault || isDeepStrictEqual(inForce, candidate)) return undefined;
  if (!('tag' in inForce) || !('tag' in candidate)) return 'settlement';
  if (inForce.tag === candidate.tag) return inForce.tag === 'deny' ? 'denial' : 'plan';
  return inForce.tag === 'deny' ? 'wider' : 'narrower';
}

function commandOf({ operation, command }: Call, info: ClassInfo): string {
  return operation === 'ioctl' ? commandName(info, command) : operation;
}

/** Of an answer in words what is the same for many calls: a denial, or that it is none. */
function verdictOf(words: unknown): unknown {
  return typeof words === 'object' && words !== null && 'deny' in words ? words : Object.keys(words ?? {});
}
