import type {
  Call,
  ClassInfo,
  Operation,
  Settlement,
  Verdict,
} from './__generated__/postern-device-types.js';
import { GUEST_MEMORY } from './check-core.js';
import { PolicyFault } from './fault.js';
import { Lifter } from './lift.js';
import type { Manifest } from './manifest.js';
import { FUEL_EXPORT, REFUEL_EXPORT } from './meter.js';

export type * from './__generated__/postern-device-types.js';
export { PolicyFault, type PolicyFaultCode } from './fault.js';
export { accessBits } from './lift.js';

/**
 * Copies `length` bytes of the calling guest's memory at `address` to `memory[at…]`, from the operation's snapshot.
 * Returns 0, or the errno that the policy is to see.
 */
export type GuestReader = (address: bigint, length: number, memory: Uint8Array, at: number) => number;

const BYTES = { bytes: 1, align: 1 };
/** result<list<u8>, u32>: a discriminant byte, and at 4 the address and length, or the errno. */
const READ_RESULT = { bytes: 12, align: 4 };
/** asm-generic/errno-base.h: what a policy gets that asks for more than its envelope. */
const E2BIG = 7;

/** The contract's enum `operation`, by its discriminants. Compared one by one: a table's key costs more where many tables are looked up. */
function discriminantOf(operation: Operation): number {
  switch (operation) {
    case 'ioctl':
      return 1;
    case 'read':
      return 2;
    case 'write':
      return 3;
    case 'mmap':
      return 4;
    case 'seek':
      return 5;
    case 'open':
      return 0;
  }
}

type Realloc = (old: number, oldBytes: number, align: number, bytes: number) => number;
type Admit = (
  session: number,
  node: number,
  operation: number,
  command: number,
  fileFlags: number,
  argument: bigint,
  length: bigint,
  offset: bigint,
  state: bigint,
  head: number,
  headBytes: number,
) => number;
type Complete = (...parameters: [...Parameters<Admit>, outcome: bigint]) => number;

interface CoreExports {
  memory: WebAssembly.Memory;
  cabi_realloc: Realloc;
  describe: () => number;
  admit: Admit;
  complete: Complete;
  _initialize?: () => void;
  [FUEL_EXPORT]: WebAssembly.Global;
  [REFUEL_EXPORT]: (fuel: number) => void;
}

/** Heads up to this many bytes are copied byte by byte: `set` with a view made for it costs more than most heads are long. */
const SHORT_HEAD_BYTES = 64;

/**
 * One instance of a policy: the mediator's thin glue for the world `device-class`. It lowers the calls and lifts the
 * results by the canonical ABI straight from the core module, and meters each call. A test holds it equal to jco's glue.
 *
 * Every method throws PolicyFault when the policy misbehaves; the instance is of no use then.
 */
export class PolicyInstance {
  // Each export in a field of its own: the exports of each instance are an object of another shape, which V8 would optimize for in vain.
  private readonly callAdmit: Admit;
  private readonly callComplete: Complete;
  private readonly callDescribe: () => number;
  private readonly realloc: Realloc;
  private readonly fuel: WebAssembly.Global;
  private readonly memory: WebAssembly.Memory;
  private readonly lifter: Lifter;
  private readonly refuel: (fuel: number) => void;
  private readonly fuelMax: number;
  private broken = false;

  /**
   * @param module the metered core module (meteredModule in meter.ts)
   * @param manifest whose envelope bounds fuel and lists
   * @param read how the policy sees the calling guest's memory
   */
  constructor(
    module: WebAssembly.Module,
    private readonly manifest: Manifest,
    private readonly read: GuestReader,
  ) {
    const imports = { [GUEST_MEMORY]: { read: this.readGuest.bind(this) } };
    const core = new WebAssembly.Instance(module, imports).exports as unknown as CoreExports;
    this.callAdmit = core.admit;
    this.callComplete = core.complete;
    this.callDescribe = core.describe;
    this.realloc = core.cabi_realloc;
    this.fuel = core[FUEL_EXPORT];
    this.memory = core.memory;
    this.lifter = new Lifter(core.memory, manifest.envelope);
    this.refuel = core[REFUEL_EXPORT];
    this.fuelMax = manifest.envelope.decisionFuelMax;
    this.run(() => core._initialize?.());
  }

  /** How large the module's memory is now. */
  get memoryBytes(): number {
    return this.memory.buffer.byteLength;
  }

  /** The class's command table. */
  describe(): ClassInfo {
    return this.run(() => this.lifter.classInfo(this.callDescribe()));
  }

  /** May this operation happen, and which bytes may it touch? `head` is the snapshot of the argument. */
  admit(call: Call, head: Uint8Array): Verdict {
    return this.run(() => {
      const at = this.lowerHead(head);
      return this.lifter.verdict(
        this.callAdmit(
          call.session,
          call.node,
          discriminantOf(call.operation),
          call.command,
          call.fileFlags,
          call.argument,
          call.length,
          call.offset,
          call.state,
          at,
          head.length,
        ),
      );
    });
  }

  /** The driver answered `outcome` (negative: -errno); `head` is the head as the driver left it. */
  complete(call: Call, head: Uint8Array, outcome: bigint): Settlement {
    return this.run(() => {
      const at = this.lowerHead(head);
      return this.lifter.settlement(
        this.callComplete(
          call.session,
          call.node,
          discriminantOf(call.operation),
          call.command,
          call.fileFlags,
          call.argument,
          call.length,
          call.offset,
          call.state,
          at,
          head.length,
          outcome,
        ),
      );
    });
  }

  /** Gives the policy its fuel for one call, and turns whatever ends the call early into a PolicyFault. */
  private run<T>(call: () => T): T {
    if (this.broken) throw new PolicyFault('trap', 'This instance of the policy has faulted before.');
    this.refuel(this.fuelMax);
    try {
      return call();
    } catch (error) {
      this.broken = true;
      throw asFault(error, (this.fuel.value as number) < 0);
    }
  }

  private lowerHead(head: Uint8Array): number {
    const at = this.allocate(head.length);
    const memory = this.lifter.refresh();
    if (head.length <= SHORT_HEAD_BYTES)
      for (let i = 0; i < head.length; i++) memory[at + i] = head[i] as number;
    else memory.set(head, at);
    return at;
  }

  /** Room in the policy's memory, by its own allocator, whose answer is checked like any other. */
  private allocate(length: number): number {
    const at = this.realloc(0, 0, BYTES.align, length);
    if (typeof at !== 'number')
      throw new PolicyFault('abi', "The policy's cabi_realloc returned no address.");
    return this.lifter.range(at >>> 0, length, BYTES);
  }

  /** The world's import guest-memory.read, called by the policy in the middle of its decision. */
  private readGuest(address: bigint, signedLength: number, result: number): void {
    const length = signedLength >>> 0;
    const place = this.lifter.place(result, READ_RESULT);
    const tooLong = length > this.manifest.envelope.grantBytesMax;
    const at = tooLong ? 0 : this.allocate(length);
    const errno = tooLong ? E2BIG : this.read(BigInt.asUintN(64, address), length, this.lifter.refresh(), at);
    this.lifter.refresh()[place] = errno === 0 ? 0 : 1;
    this.lifter.putWord(place + 4, errno === 0 ? at : errno);
    if (errno === 0) this.lifter.putWord(place + 8, length);
  }
}

/** A host error (in the reader, say) stays itself; what WebAssembly throws is the policy's fault. */
function asFault(error: unknown, outOfFuel: boolean): unknown {
  if (error instanceof PolicyFault) return error;
  if (error instanceof WebAssembly.RuntimeError) {
    if (outOfFuel)
      return new PolicyFault('fuel', 'The policy ran out of its decision fuel.', { cause: error });
    return new PolicyFault('trap', `The policy trapped: ${error.message}.`, { cause: error });
  }
  if (error instanceof RangeError)
    return new PolicyFault('trap', `The policy exhausted its stack: ${error.message}.`, { cause: error });
  return error;
}
