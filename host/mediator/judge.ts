import {
  type Call,
  type ClassInfo,
  type GuestReader,
  PolicyFault,
  PolicyInstance,
  type Settlement,
  type Verdict,
} from '../policy/abi.js';
import { envelopeFaults } from '../policy/command-envelope.js';
import type { ModuleInput } from './messages.js';

/** What is told of a fault: the module, why its operation got EIO or was judged by another, and whether it is not run again. */
export type FaultListener = (judge: Judge, fault: PolicyFault) => void;

/**
 * One class's policy for one guest. A policy can only compute; what it does wrong costs the one operation: the instance is
 * thrown away, and the next operation gets a fresh one. Nothing is lost with it, since sessions and handles are the host's.
 * After `envelope.faultsMax` faults the module is quarantined: it is not run again, and each of its operations fails.
 */
export class Judge {
  readonly info: ClassInfo;
  /** The module's handle tables by the host's numbers, where they are not its own; see Seat. */
  tables: readonly number[] | undefined;
  private instance: PolicyInstance | undefined;
  private faults = 0;

  /** @throws PolicyFault when the module can't even describe itself, or describes more than its manifest's envelope */
  constructor(
    readonly input: ModuleInput,
    private readonly read: GuestReader,
    private readonly onFault: FaultListener,
  ) {
    this.info = this.fresh().describe();
    const faults = envelopeFaults(this.info, input.manifest);
    if (faults.length > 0) throw new PolicyFault('limit', `Beyond its envelope: ${faults.join(' ')}`);
  }

  /** Undefined: the policy faulted. */
  admit(call: Call, head: Uint8Array): Verdict | undefined {
    const verdict = this.guarded((instance) => instance.admit(call, head));
    if (this.tables === undefined || verdict?.tag !== 'allow') return verdict;
    const { requirements, forget } = verdict.val;
    for (const named of [...requirements, ...forget]) named.table = hostTable(this.tables, named.table);
    return verdict;
  }

  /** Undefined: the policy faulted. */
  complete(call: Call, head: Uint8Array, outcome: bigint): Settlement | undefined {
    const settlement = this.guarded((instance) => instance.complete(call, head, outcome));
    if (this.tables === undefined || settlement === undefined) return settlement;
    for (const lesson of settlement.learn) lesson.table = hostTable(this.tables, lesson.table);
    return settlement;
  }

  get isQuarantined(): boolean {
    return this.faults >= this.input.manifest.envelope.faultsMax;
  }

  /** Whether the module has just misbehaved for the first time in this guest. */
  get isNewlyFaulty(): boolean {
    return this.faults === 1;
  }

  /** Never runs the module again. */
  quarantine(): void {
    this.faults = Number.POSITIVE_INFINITY;
    this.instance = undefined;
  }

  /** Counts a fault: of this instance's, or what the native side found wrong with its answer. */
  blame(fault: PolicyFault): void {
    this.instance = undefined;
    this.faults++;
    this.onFault(this, fault);
  }

  private guarded<T>(ask: (instance: PolicyInstance) => T): T | undefined {
    if (this.isQuarantined) {
      this.onFault(
        this,
        new PolicyFault('quarantined', 'The module misbehaved before, and is not run any more.'),
      );
      return undefined;
    }
    try {
      return ask(this.instance ?? this.fresh());
    } catch (error) {
      if (!(error instanceof PolicyFault)) throw error;
      this.blame(error);
      return undefined;
    }
  }

  private fresh(): PolicyInstance {
    this.instance = new PolicyInstance(this.input.module, this.input.manifest, this.read);
    return this.instance;
  }
}

/** A table that the module has not described stays one that nobody fills. */
const UNDESCRIBED_TABLES = 0x8000_0000;

function hostTable(tables: readonly number[], table: number): number {
  return tables[table] ?? (table | UNDESCRIBED_TABLES) >>> 0;
}
