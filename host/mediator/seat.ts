import type { NativeMediator, NativeNode } from '../native.js';
import type { Call, GuestReader } from '../policy/abi.js';
import { PolicyFault } from '../policy/fault.js';
import { matchesNode } from '../policy/manifest.js';
import { type FaultListener, Judge } from './judge.js';
import type { ModuleInput } from './messages.js';
import { nativeClassOf } from './native-class.js';
import { isSameModule } from './same-module.js';
import type { Tape, TapedRead } from './tape.js';

const NO_BYTES = new Uint8Array(0);

/**
 * The place of one class in one guest: who judges there now, who did before, and who has operations that are not finished.
 * An operation is settled by the module that admitted it. Sessions and handles are the host's, and stay when modules change.
 */
export class Seat {
  #judge: Judge;
  #previous: Judge | undefined;
  #generation = 0;
  readonly #unfinished = new Map<number, Judge>();
  /** Names of the handle tables, by the host's numbers: a table keeps its number through all modules that have it. */
  readonly #tables: string[];

  /** @throws PolicyFault when the module can't even describe itself */
  constructor(
    private readonly classIndex: number,
    private readonly nodes: readonly NativeNode[],
    input: ModuleInput,
    private readonly read: GuestReader,
    private readonly onFault: FaultListener,
  ) {
    this.#judge = new Judge(input, this.#readKept, onFault);
    this.#tables = [...this.#judge.info.tables];
  }

  /** Where decisions are recorded, if they are. */
  tape: Tape | undefined;
  readonly #reads: TapedRead[] = [];

  /** Records what the last decision depended on. */
  record(call: Call, head: Uint8Array, outcome?: bigint): void {
    this.tape?.write({ outcome, call, head, reads: this.#reads });
    this.#reads.length = 0;
  }

  /** The reader that modules get: what they read is kept while decisions are recorded. */
  #readKept: GuestReader = (address, length, memory, at) => {
    const errno = this.read(address, length, memory, at);
    if (this.tape !== undefined) {
      const bytes = errno === 0 ? memory.slice(at, at + length) : NO_BYTES;
      this.#reads.push({ address, length, errno, bytes });
    }
    return errno;
  };

  /** The module in force. */
  get judge(): Judge {
    return this.#judge;
  }

  /** Who judges in the place of a module that has misbehaved: what was before it, or what is in force by now; undefined: nobody. */
  standInOf(judge: Judge): Judge | undefined {
    return judge === this.#judge ? this.#previous : this.#judge;
  }

  /** The module that judged an operation of that generation. */
  judgeOf(generation: number): Judge {
    if (generation === this.#generation) return this.#judge;
    return this.#unfinished.get(generation) ?? this.#judge;
  }

  /**
   * Puts another module in force, from the next operation on.
   * @param onTrial whether the one before is put back when this one misbehaves
   * @returns why the guest keeps the module that it has; undefined when it has the new one
   */
  switchTo(input: ModuleInput, onTrial: boolean, mediator: NativeMediator): string | undefined {
    if (isSameModule(input, this.#judge.input)) return undefined;
    const refusal = this.#incompatibility(input, mediator);
    if (refusal !== undefined) return refusal;
    try {
      const judge = new Judge(input, this.#readKept, this.onFault);
      judge.tables = this.#numbersOf(judge.info.tables);
      const before = this.#judge;
      this.#install(judge, onTrial, mediator);
      this.#previous = onTrial ? before : undefined;
      return undefined;
    } catch (error) {
      if (error instanceof PolicyFault) return error.message;
      throw error;
    }
  }

  /** The module in force has misbehaved: the one before it judges again, if there is one. Whether there was. */
  restore(mediator: NativeMediator): boolean {
    if (this.#previous === undefined) return false;
    this.#judge.quarantine();
    this.#install(this.#previous, false, mediator);
    this.#previous = undefined;
    return true;
  }

  /** Forgets modules whose last operation has ended. */
  sweep(mediator: NativeMediator): void {
    for (const generation of this.#unfinished.keys())
      if (!mediator.isInFlight(this.classIndex, generation)) this.#unfinished.delete(generation);
  }

  #install(judge: Judge, onTrial: boolean, mediator: NativeMediator): void {
    this.#unfinished.set(this.#generation, this.#judge);
    this.#generation = mediator.configure(
      this.classIndex,
      nativeClassOf(judge, onTrial),
      this.#kindsOf(judge.input),
    );
    this.#judge = judge;
    this.sweep(mediator);
  }

  #incompatibility({ manifest }: ModuleInput, mediator: NativeMediator): string | undefined {
    const strange = this.nodes.find(
      ({ name, classIndex }) =>
        classIndex === this.classIndex && !manifest.nodes.some((node) => matchesNode(node, name)),
    );
    if (strange !== undefined) return `it does not judge ${strange.name}, which the guest has`;
    const [before = 0, now = 0] = [this.#judge.input.manifest.state, manifest.state];
    if (before === now || mediator.openFiles(this.classIndex) === 0) return undefined;
    return `the guest has files open whose state is of kind ${before}, and the new module's is of kind ${now}`;
  }

  /** By node of the guest, which of the manifest's it is. */
  #kindsOf({ manifest }: ModuleInput): number[] {
    return this.nodes.map(({ name, classIndex }) =>
      classIndex === this.classIndex
        ? Math.max(
            0,
            manifest.nodes.findIndex((node) => matchesNode(node, name)),
          )
        : 0,
    );
  }

  /** The host's numbers of a module's tables, by name; undefined when they are the module's own. */
  #numbersOf(names: readonly string[]): number[] | undefined {
    const numbers = names.map((name) => {
      const known = this.#tables.indexOf(name);
      return known >= 0 ? known : this.#tables.push(name) - 1;
    });
    return numbers.every((number, index) => number === index) ? undefined : numbers;
  }
}
