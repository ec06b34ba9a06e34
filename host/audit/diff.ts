import { type ClassInfo, PolicyFault, PolicyInstance } from '../policy/abi.js';
import {
  commandName,
  type DescribedPlan,
  type DescribedSettlement,
  type DescribedVerdict,
  describeSettlement,
  describeVerdict,
  operationName,
} from '../policy/described.js';
import { meteredModule } from '../policy/meter.js';
import { differencesOf, type TriedPolicy, type VectorFile, vectorOfCall } from '../policy/vectors.js';
import { type Difference, type Direction, manifestDifferences, tableDifferences } from './diff-tables.js';
import { type GeneratedCall, guestReader, sampleCalls } from './generated-calls.js';

/** Generated calls of one comparison by default; the vectors of both come on top. */
export const DIFF_CALLS_DEFAULT = 4000;

/** A module that takes part in a comparison. */
export type ComparedPolicy = TriedPolicy & { vectors?: VectorFile | undefined };

/** What came of a comparison. */
export interface DiffReport {
  before: { name: string; version: string; sequence: number };
  after: { name: string; version: string; sequence: number };
  /** Calls that both have judged. */
  calls: number;
  wider: number;
  narrower: number;
  other: number;
  differences: Difference[];
}

/**
 * What a guest may do by the second module and not by the first, and the other way round: by their manifests and tables, and by
 * having both judge the vectors of both, calls near these, and generated calls. Each difference of judgement has a call as witness;
 * the witness kept is the one with the fewest bytes.
 */
export async function diffPolicies(
  before: ComparedPolicy,
  after: ComparedPolicy,
  { calls = DIFF_CALLS_DEFAULT, seed = 1 }: { calls?: number; seed?: number } = {},
): Promise<DiffReport> {
  const older = await Contestant.of(before);
  const newer = await Contestant.of(after);
  const vectors = [...(before.vectors?.vectors ?? []), ...(after.vectors?.vectors ?? [])];
  const tried = [older, newer].flatMap(({ info }, index) =>
    sampleCalls(info, vectors, calls / 2, seed + index),
  );
  const found = new Map<string, Difference>();
  for (const generated of tried) compareCall(generated, older, newer, found);
  const differences = [
    ...manifestDifferences(before.manifest, after.manifest),
    ...tableDifferences(older.info, newer.info),
    ...found.values(),
  ];
  const count = (direction: Direction): number =>
    differences.filter((one) => one.direction === direction).length;
  return {
    before: identityOf(before),
    after: identityOf(after),
    calls: tried.length,
    wider: count('wider'),
    narrower: count('narrower'),
    other: count('other'),
    differences,
  };
}

function identityOf({ manifest: { name, version, sequence } }: TriedPolicy): DiffReport['before'] {
  return { name, version, sequence };
}

/** One of the two modules, at work. */
class Contestant {
  private memory: GeneratedCall['memory'] = [];
  reads: { address: bigint; bytes: Uint8Array }[] = [];

  private constructor(
    private readonly module: WebAssembly.Module,
    private readonly policy: TriedPolicy,
    readonly info: ClassInfo,
  ) {}

  /** @throws PolicyFault when the module can't describe itself */
  static async of(policy: TriedPolicy): Promise<Contestant> {
    const module = await meteredModule(policy.core);
    const info = new PolicyInstance(module, policy.manifest, () => 14).describe();
    return new Contestant(module, policy, info);
  }

  /** The verdict in words; a fault is a denial, as it is to a guest. The envelope's operations are the host's to deny. */
  admit({ call, head, memory }: GeneratedCall): DescribedVerdict {
    const { envelope } = this.policy.manifest;
    if (!envelope.operations.includes(call.operation))
      return { deny: { errno: 'EINVAL', reason: 'the operation is not in the envelope' } };
    return this.asked(memory, (instance) => describeVerdict(instance.admit(call, head), this.info)) ?? FAULT;
  }

  settle({ call, head, memory }: GeneratedCall): DescribedSettlement | undefined {
    return this.asked(memory, (instance) => describeSettlement(instance.complete(call, head, 0n), this.info));
  }

  private asked<T>(memory: GeneratedCall['memory'], ask: (instance: PolicyInstance) => T): T | undefined {
    this.memory = memory;
    this.reads = [];
    const read = guestReader(this.memory, (address, bytes) => this.reads.push({ address, bytes }));
    try {
      return ask(new PolicyInstance(this.module, this.policy.manifest, read));
    } catch (error) {
      if (error instanceof PolicyFault) return undefined;
      throw error;
    }
  }
}

const FAULT: DescribedVerdict = { deny: { errno: 'EIO', reason: 'the module faults' } };

function compareCall(
  generated: GeneratedCall,
  older: Contestant,
  newer: Contestant,
  found: Map<string, Difference>,
): void {
  const { call, head } = generated;
  const before = older.admit(generated);
  const { reads } = older;
  const after = newer.admit(generated);
  const witness = vectorOfCall(
    call,
    head,
    unionOf(reads, newer.reads),
    // By a name only where both mean the same by it, so that either can be asked again.
    commandName(older.info, call.command) === commandName(newer.info, call.command) ? newer.info : UNNAMED,
  );
  const what = operationName(newer.info, call.operation, call.command);
  for (const difference of verdictDifferences(before, after))
    keepSmallest(found, { what, ...difference, witness });
  if (!('allow' in before && 'allow' in after)) return;
  for (const difference of settlementDifferences(older.settle(generated), newer.settle(generated)))
    keepSmallest(found, { what, ...difference, witness: { ...witness, outcome: 0 } });
}

const UNNAMED: ClassInfo = {
  class: '',
  commands: [],
  reasons: [],
  tables: [],
  unsettledTransfers: false,
};

/** What either has read: all that the call needs to be judged again by both. */
function unionOf(one: Contestant['reads'], other: Contestant['reads']): Contestant['reads'] {
  const isKnown = ({ address, bytes }: Contestant['reads'][number]): boolean =>
    one.some((read) => read.address === address && read.bytes.length >= bytes.length);
  return [...one, ...other.filter((read) => !isKnown(read))];
}

/** One of each kind, with the smallest witness. */
function keepSmallest(found: Map<string, Difference>, difference: Difference): void {
  const key = [difference.what.replace(/^0x.*/, 'unnamed'), difference.aspect, difference.direction].join(
    '|',
  );
  const known = found.get(key);
  const size = ({ witness }: Difference): number => JSON.stringify(witness).length;
  if (known === undefined || size(difference) < size(known)) found.set(key, difference);
}

type Judged = Omit<Difference, 'what' | 'witness'>;

/** How two verdicts on one call differ, in words. */
export function verdictDifferences(before: DescribedVerdict, after: DescribedVerdict): Judged[] {
  const texts = { before: verdictText(before), after: verdictText(after) };
  if ('deny' in before && 'deny' in after)
    return before.deny.errno === after.deny.errno ? [] : [{ aspect: 'errno', direction: 'other', ...texts }];
  if ('deny' in before) return [{ aspect: 'verdict', direction: 'wider', ...texts }];
  if ('deny' in after) return [{ aspect: 'verdict', direction: 'narrower', ...texts }];
  return planDifferences(before.allow, after.allow);
}

/** A verdict in a few words. */
export function verdictText(verdict: DescribedVerdict): string {
  if ('deny' in verdict) return `denied: ${verdict.deny.errno}, ${verdict.deny.reason}`;
  const { head, grants, requirements } = verdict.allow;
  const bytes = grants.reduce((sum, { length }) => sum + length, 0);
  const nested = grants.length === 0 ? '' : `, ${grants.length} regions of ${bytes} bytes`;
  return `allowed: head ${head}${nested}${requirements.length === 0 ? '' : `, ${requirements.length} handles required`}`;
}

function planDifferences(before: DescribedPlan, after: DescribedPlan): Judged[] {
  const differences: Judged[] = [];
  const words = (text: string): string[] => (text === 'none' ? [] : text.split(' '));
  const grants = ({ grants: list }: DescribedPlan): string[] =>
    list.flatMap(({ address, length, access }) =>
      words(access).map((word) => `${address} ${length} ${word}`),
    );
  const list = (values: readonly object[]): string[] => values.map((value) => JSON.stringify(value));
  const compare = (aspect: string, was: string[], is: string[], moreIs: Direction): void => {
    const added = is.filter((one) => !was.includes(one));
    const removed = was.filter((one) => !is.includes(one));
    const lessIs = moreIs === 'wider' ? 'narrower' : moreIs === 'narrower' ? 'wider' : 'other';
    if (added.length > 0) differences.push(told(aspect, moreIs, was, added));
    if (removed.length > 0) differences.push(told(aspect, lessIs, removed, is));
  };
  compare('access', words(before.head), words(after.head), 'wider');
  compare('grants', grants(before), grants(after), 'wider');
  compare('descriptors', list(before.descriptors), list(after.descriptors), 'wider');
  compare('required handles', list(before.requirements), list(after.requirements), 'narrower');
  // Handles that an operation gives up are of no use afterwards.
  compare('forgotten handles', list(before.forget), list(after.forget), 'narrower');
  // A pointer that is not replaced reaches the driver as the guest wrote it.
  compare('relocated pointers', list(before.relocations), list(after.relocations), 'narrower');
  for (const word of ['blocking', 'alone'] as const)
    if (before[word] !== after[word])
      differences.push(told(word, 'other', [String(before[word])], [String(after[word])]));
  return differences;
}

function settlementDifferences(
  before: DescribedSettlement | undefined,
  after: DescribedSettlement | undefined,
): Judged[] {
  if (before === undefined || after === undefined || differencesOf(before, after).length === 0) return [];
  const differences: Judged[] = [];
  const list = (values: readonly unknown[]): string[] => values.map((value) => JSON.stringify(value));
  const compare = (aspect: string, was: string[], is: string[], moreIs: Direction): void => {
    const added = is.filter((one) => !was.includes(one));
    const removed = was.filter((one) => !is.includes(one));
    if (added.length > 0) differences.push(told(aspect, moreIs, was, added));
    if (removed.length > 0)
      differences.push(told(aspect, moreIs === 'wider' ? 'narrower' : 'wider', removed, is));
  };
  compare('learnt handles', list(before.learn), list(after.learn), 'wider');
  compare('masked answers', list(before.masks), list(after.masks), 'narrower');
  for (const word of ['state', 'watch', 'idle'] as const)
    if (before[word] !== after[word])
      differences.push(told(word, 'other', [String(before[word])], [String(after[word])]));
  return differences;
}

function told(aspect: string, direction: Direction, before: string[], after: string[]): Judged {
  const text = (values: string[]): string => (values.length === 0 ? 'none' : values.join('; '));
  return { aspect, direction, before: text(before), after: text(after) };
}
