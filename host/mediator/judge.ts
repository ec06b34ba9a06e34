import {
  type Call,
  type ClassInfo,
  type GuestReader,
  PolicyFault,
  PolicyInstance,
  type Settlement,
  type Verdict,
} from '../policy/abi.js';
import type { Manifest } from '../policy/manifest.js';

/** What is told of a fault: the module's name, and why its operation got EIO. */
export type FaultListener = (policy: string, fault: PolicyFault, quarantined: boolean) => void;

/**
 * One class's policy for one guest. A policy can only compute; what it does wrong costs the one operation: the instance is
 * thrown away, and the next operation gets a fresh one. Nothing is lost with it, since sessions and handles are the host's.
 * After `envelope.faultsMax` faults the module is quarantined: it is not run again, and each of its operations fails.
 */
export class Judge {
  readonly info: ClassInfo;
  private instance: PolicyInstance | undefined;
  private faults = 0;

  /** @throws PolicyFault when the module can't even describe itself */
  constructor(
    private readonly module: WebAssembly.Module,
    readonly manifest: Manifest,
    private readonly read: GuestReader,
    private readonly onFault: FaultListener,
  ) {
    this.info = this.fresh().describe();
  }

  /** Undefined: the policy faulted, and the operation fails with EIO. */
  admit(call: Call, head: Uint8Array): Verdict | undefined {
    return this.guarded((instance) => instance.admit(call, head));
  }

  /** Undefined: the policy faulted, and the operation fails with EIO. */
  complete(call: Call, head: Uint8Array, outcome: bigint): Settlement | undefined {
    return this.guarded((instance) => instance.complete(call, head, outcome));
  }

  get isQuarantined(): boolean {
    return this.faults >= this.manifest.envelope.faultsMax;
  }

  private guarded<T>(ask: (instance: PolicyInstance) => T): T | undefined {
    if (this.isQuarantined) return undefined;
    try {
      return ask(this.instance ?? this.fresh());
    } catch (error) {
      if (!(error instanceof PolicyFault)) throw error;
      this.blame(error);
      return undefined;
    }
  }

  /** Counts a fault: of this instance's, or what the native side found wrong with its answer. */
  blame(fault: PolicyFault): void {
    this.instance = undefined;
    this.faults++;
    this.onFault(this.manifest.name, fault, this.isQuarantined);
  }

  private fresh(): PolicyInstance {
    this.instance = new PolicyInstance(this.module, this.manifest, this.read);
    return this.instance;
  }
}
