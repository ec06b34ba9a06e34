import { type ClassInfo, PolicyInstance, type Verdict } from '../policy/abi.js';
import { operationName, rowOf } from '../policy/described.js';
import { meteredModule } from '../policy/meter.js';
import {
  bytesOf,
  callOfVector,
  commandNumber,
  readerOf,
  type TriedPolicy,
  type Vector,
  type VectorFile,
} from '../policy/vectors.js';

/** asm-generic/errno-base.h: a module that only describes itself has no guest. */
const EFAULT = 14;
const PERCENT = 100;
/** The reasons that every class has of the kit (policies/sdk), whether it needs them or not: they are the kit's to show. */
export const KIT_REASONS: readonly string[] = [
  '',
  'the class does not know this command',
  'the arguments are shorter than the command needs',
  'a nested pointer leads outside what may be read of the guest',
  'the command asks for more nested memory than the class allows',
  'the class does not have this file operation',
  'the array is longer than any that a driver takes',
];

/** How much of a module its vectors show. */
export interface VectorCoverage {
  class: string;
  /** What there is to show, and how much of it is shown. */
  total: number;
  shown: number;
  percent: number;
  /** Commands and file operations that the module serves, and no vector is allowed. */
  neverAllowed: string[];
  /** Commands and file operations after which the module is asked what they mean (handles, offsets, what is polled for), and no vector asks. */
  neverSettled: string[];
  /** Commands that the module refuses by name, and no vector is denied. */
  neverRefused: string[];
  /** Reasons for denials that no vector gets. */
  neverGiven: string[];
}

/**
 * What of a module its own test vectors show: each command and file operation that it serves allowed once, and settled once where its
 * success means something, each command that it refuses by name denied once, each reason of its own given once.
 * @throws PolicyFault when the module can't describe itself
 */
export async function vectorCoverage(policy: TriedPolicy, { vectors }: VectorFile): Promise<VectorCoverage> {
  const module = await meteredModule(policy.core);
  const info = new PolicyInstance(module, policy.manifest, () => EFAULT).describe();
  const seen = new Seen(info);
  for (const vector of vectors) seen.add(vector, verdictOn(vector, module, policy, info));
  const operations = policy.manifest.envelope.operations.filter((operation) => operation !== 'ioctl');
  const served = info.commands.filter(({ refused }) => refused === 0).map(({ name }) => name);
  const refused = info.commands.filter((row) => row.refused !== 0).map(({ name }) => name);
  const settled = [
    ...operations.filter((operation) => isSettled(operation, info)),
    ...new Set(info.commands.filter((row) => row.refused === 0 && !row.unsettled).map(({ name }) => name)),
  ];
  const reasons = info.reasons.filter((reason) => !KIT_REASONS.includes(reason));
  const neverAllowed = [...operations, ...new Set(served)].filter((name) => !seen.allowed.has(name));
  const neverRefused = [...new Set(refused)].filter((name) => !seen.denied.has(name));
  const neverGiven = [...new Set(reasons)].filter((reason) => !seen.reasons.has(reason));
  const neverSettled = settled.filter((name) => !seen.settled.has(name));
  const toShow = [operations, settled, [...new Set(served)], [...new Set(refused)], [...new Set(reasons)]];
  const total = toShow.reduce((sum, names) => sum + names.length, 0);
  const shown = total - [neverAllowed, neverRefused, neverGiven, neverSettled].flat().length;
  // Rounded down, so that 100 means all.
  const percent = total === 0 ? PERCENT : Math.floor((shown * PERCENT) / total);
  return { class: info.class, total, shown, percent, neverAllowed, neverRefused, neverGiven, neverSettled };
}

/** An open says what its file is polled for; a transfer may mean something, as the module says. */
function isSettled(operation: string, { unsettledTransfers }: ClassInfo): boolean {
  if (operation === 'read' || operation === 'write') return !unsettledTransfers;
  return operation === 'open';
}

/** What the vectors have shown so far, by name. */
class Seen {
  readonly allowed = new Set<string>();
  readonly denied = new Set<string>();
  readonly settled = new Set<string>();
  readonly reasons = new Set<string>();

  constructor(private readonly info: ClassInfo) {}

  add(vector: Vector, verdict: Verdict | undefined): void {
    const name = this.#nameOf(vector);
    if (vector.outcome !== undefined) this.settled.add(name);
    if (verdict === undefined) return;
    (verdict.tag === 'allow' ? this.allowed : this.denied).add(name);
    // A handle that is required has the reason that its absence gives.
    const given = verdict.tag === 'deny' ? [verdict.val] : verdict.val.requirements;
    for (const { reason } of given) this.reasons.add(this.info.reasons[reason] ?? '');
  }

  #nameOf(vector: Vector): string {
    const command = commandNumber(vector, this.info) ?? 0;
    if (vector.operation !== 'ioctl') return vector.operation;
    return rowOf(this.info, command)?.name ?? operationName(this.info, vector.operation, command);
  }
}

/** Undefined for vectors of what follows an operation, and where the module fails: `policy test` tells of that. */
function verdictOn(
  vector: Vector,
  module: WebAssembly.Module,
  { manifest }: TriedPolicy,
  info: ClassInfo,
): Verdict | undefined {
  const command = commandNumber(vector, info);
  if (vector.outcome !== undefined || command === undefined) return undefined;
  try {
    const instance = new PolicyInstance(module, manifest, readerOf(vector));
    return instance.admit(callOfVector(vector, command), bytesOf(vector.head));
  } catch {
    return undefined;
  }
}
