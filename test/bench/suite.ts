import { type AudioResult, benchAudio } from './audio.js';
import { benchDecision, type DecisionResult } from './decision.js';
import { benchFairness, type FairnessResult } from './fairness.js';
import { benchGrowth, type GrowthResult } from './growth.js';
import { benchInput, type InputResult } from './input.js';
import { benchNoop, type NoopResult } from './noop.js';
import { benchPackets, type PacketsResult } from './packets.js';
import { benchReload, type ReloadResult } from './reload.js';
import { benchScale, type ScaleResult } from './scale.js';
import type { Stage } from './stage.js';
import { benchStart, type StartResult } from './start.js';
import { benchStream, type StreamResult } from './stream.js';
import { benchUntouched, type UntouchedResult } from './untouched.js';

/** What all benchmarks found, by their names: the keys of `--json`, whose contract is schemas/bench.schema.json. */
export interface Results {
  noop: NoopResult;
  decision: DecisionResult;
  stream: StreamResult;
  audio: AudioResult;
  input: InputResult;
  packets: PacketsResult;
  start: StartResult;
  untouched: UntouchedResult;
  scale: ScaleResult;
  growth: GrowthResult;
  reload: ReloadResult;
  fairness: FairnessResult;
}
export type Name = keyof Results;

/** In the order in which they run. */
export const BENCHMARKS: { readonly [N in Name]: (stage: Stage) => Promise<Results[N]> } = {
  noop: benchNoop,
  decision: benchDecision,
  stream: benchStream,
  audio: benchAudio,
  input: benchInput,
  packets: benchPackets,
  start: benchStart,
  untouched: benchUntouched,
  scale: benchScale,
  growth: benchGrowth,
  reload: benchReload,
  fairness: benchFairness,
};
/**
 * Seconds of which rounds may begin. What a benchmark does not use is the next one's. They add up to less than is promised: 15 minutes, and one with
 * `--quick`, because each takes one round however slow the machine is, and what was started must end.
 */
export const BUDGETS_S: Readonly<Record<Name, { full: number; quick: number }>> = {
  noop: { full: 50, quick: 9 },
  decision: { full: 5, quick: 1 },
  stream: { full: 180, quick: 5 },
  audio: { full: 40, quick: 4 },
  input: { full: 30, quick: 3 },
  packets: { full: 60, quick: 2 },
  start: { full: 70, quick: 6 },
  untouched: { full: 60, quick: 3 },
  scale: { full: 60, quick: 5 },
  growth: { full: 40, quick: 2 },
  reload: { full: 150, quick: 3 },
  fairness: { full: 35, quick: 2 },
};
export const NAMES = Object.keys(BENCHMARKS) as Name[];

/** Names that stand for several: all that flows, and all that grows. */
export const GROUPS: Readonly<Record<string, readonly Name[]>> = {
  stream: ['stream', 'audio', 'input'],
  scale: ['scale', 'growth'],
};
