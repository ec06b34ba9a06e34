import { type ClassInfo, PolicyFault, PolicyInstance } from '../policy/abi.js';
import { type DescribedPlan, type DescribedVerdict, describeVerdict, rowOf } from '../policy/described.js';
import { meteredModule } from '../policy/meter.js';
import {
  bytesOf,
  callOfVector,
  readerOf,
  type SparseBytes,
  type TriedPolicy,
  type Vector,
} from '../policy/vectors.js';
import { verdictDifferences, verdictText } from './diff.js';
import type { Direction } from './diff-tables.js';

/** A line of a log, as far as a replay reads it. */
export interface LoggedDecision {
  kind: string;
  line: number;
  time: string;
  guest: string;
  program?: string;
  process: number;
  class: string;
  module: { name: string; version: string; digest: string };
  operation: Vector['operation'];
  command?: string;
  commandNumber?: string;
  word?: string;
  session: number;
  node: number;
  fileFlags: number;
  argument: string;
  length: string;
  offset: string;
  state: string;
  headBytes: number;
  verdict: 'allow' | 'deny';
  allow?: DescribedPlan;
  deny?: { errno: string; reason: string; field?: number; fieldName?: string };
  outcome: string | number | null;
  arguments?: { redacted: true } | { head: SparseBytes; memory: { address: string; content: SparseBytes }[] };
}

/** A recorded decision that the other module would have made otherwise. */
export interface ReplayChange {
  line: number;
  time: string;
  guest: string;
  program?: string;
  command: string;
  direction: Direction;
  aspect: string;
  recorded: string;
  replayed: string;
}

/** What came of a replay. */
export interface ReplayReport {
  class: string;
  /** Decisions of the class in the log. */
  decisions: number;
  /** Those that were judged with what the module saw then. */
  judged: number;
  /** Those without their argument bytes, of which only the command could be looked up. */
  byCommandOnly: number;
  changes: ReplayChange[];
}

/** asm-generic/errno-base.h: a replay has no guest. */
const EFAULT = 14;

/**
 * Judges recorded operations by another module. Where the log has the bytes that were seen (`--audit-arguments`), or the command has
 * none, the module judges as it would have then; otherwise only its table is asked whether it serves the command at all.
 * @param lines the log's lines, parsed
 */
export async function replay(lines: Iterable<LoggedDecision>, policy: TriedPolicy): Promise<ReplayReport> {
  const module = await meteredModule(policy.core);
  const info = new PolicyInstance(module, policy.manifest, () => EFAULT).describe();
  const report: ReplayReport = { class: info.class, decisions: 0, judged: 0, byCommandOnly: 0, changes: [] };
  for (const line of lines) {
    if (line.kind !== 'decision' || line.class !== info.class) continue;
    report.decisions++;
    const replayed = judge(line, module, policy, info);
    report[replayed.complete ? 'judged' : 'byCommandOnly']++;
    if (replayed.verdict !== undefined) report.changes.push(...changesOf(line, replayed.verdict));
  }
  return report;
}

function judge(
  line: LoggedDecision,
  module: WebAssembly.Module,
  policy: TriedPolicy,
  info: ClassInfo,
): { complete: boolean; verdict?: DescribedVerdict } {
  const command = Number(line.commandNumber ?? line.word ?? 0);
  const seen = line.arguments !== undefined && 'head' in line.arguments ? line.arguments : undefined;
  if (seen === undefined && line.headBytes > 0) return byCommand(line, command, info);
  const vector = { ...line, name: '', memory: seen?.memory ?? [], expect: { settle: {} } } as Vector;
  const head = bytesOf(seen?.head);
  if (!policy.manifest.envelope.operations.includes(line.operation))
    return {
      complete: true,
      verdict: { deny: { errno: 'EINVAL', reason: 'the operation is not in the envelope' } },
    };
  // A text that the argument itself leads to was read without a head: it isn't there to be read again.
  const needsMemory =
    seen === undefined && rowOf(info, command)?.nested === true && line.operation === 'ioctl';
  if (needsMemory) return byCommand(line, command, info);
  try {
    const instance = new PolicyInstance(module, policy.manifest, readerOf(vector));
    return {
      complete: true,
      verdict: describeVerdict(instance.admit(callOfVector(vector, command), head), info),
    };
  } catch (error) {
    if (!(error instanceof PolicyFault)) throw error;
    return {
      complete: true,
      verdict: { deny: { errno: 'EIO', reason: `the module faults: ${error.message}` } },
    };
  }
}

/** Without its arguments, a call that was allowed is still denied where the table does not serve its command. */
function byCommand(
  line: LoggedDecision,
  command: number,
  info: ClassInfo,
): { complete: boolean; verdict?: DescribedVerdict } {
  if (line.verdict === 'deny' || line.operation !== 'ioctl') return { complete: false };
  const row = rowOf(info, command);
  if (row === undefined)
    return {
      complete: false,
      verdict: { deny: { errno: 'ENOTTY', reason: 'the table does not have the command' } },
    };
  if (row.refused === 0) return { complete: false };
  return { complete: false, verdict: { deny: { errno: '', reason: info.reasons[row.refused] ?? '' } } };
}

function changesOf(line: LoggedDecision, replayed: DescribedVerdict): ReplayChange[] {
  const recorded: DescribedVerdict =
    line.allow === undefined ? { deny: line.deny ?? { errno: '', reason: '' } } : { allow: line.allow };
  const { time, guest, program } = line;
  return verdictDifferences(recorded, replayed).map(({ aspect, direction }) => ({
    ...{ line: line.line, time, guest, ...(program === undefined ? {} : { program }) },
    ...{ command: line.command ?? line.operation, direction, aspect },
    recorded: verdictText(recorded),
    replayed: verdictText(replayed),
  }));
}
