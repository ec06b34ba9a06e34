import { PARTS, type Trend } from './trend.js';

/** How much a series may grow before that counts as rising. A growth that chance alone explains never counts. */
export interface Bound {
  /** Per hour, in the series' unit; or what the run itself has of changes that are no trend (`jump`). */
  perHour: number | 'as the run';
  reason: string;
}

/** Something that is recorded over the run. */
export interface Series {
  name: string;
  unit: string;
  chart: Chart;
  bound: Bound;
}

/** Charts, by the names of their files. */
export const CHARTS = {
  memory: 'The host’s memory, MiB',
  domains: 'Memory of the driver domains, MiB',
  things: 'Descriptors, threads, processes, mounts',
  medians: 'Median latency, µs',
  tails: '99th percentile of latency, µs',
} as const;
export type Chart = keyof typeof CHARTS;

/** What is whole and looked at while nobody comes or goes has no noise: one more each hour is one more too many. */
const EXACT: Bound = { perHour: 0, reason: 'nothing of it comes and goes by chance' };
/** An hour has some thousand reloads and visitors, and the smallest of what each of them has is a page of 4 KiB. */
const ALLOCATED: Bound = {
  perHour: 2,
  reason: 'a page that each visitor or reload left behind would be more',
};
/** A collector and an allocator keep what they may need again, and give it back when they like: some MiB go up and down. */
const RESIDENT: Bound = {
  perHour: 24,
  reason: 'an instance of a module or a worker’s heap that each visitor or reload left behind would be more',
};
/** One change for good, in the middle of a run, has a line through it that rises by no more than a little above the change. */
const JUMPS_MAX = 2;
/** A guest's times are those of a machine that does something else too: how much they change by that, the run tells. */
const LATENCY: Bound = {
  perHour: 'as the run',
  reason: 'what differs as much from one part of the run to the next has no trend for its cause',
};

/** All series of a run with these guests; a series' name is its place in a sample. */
export function seriesOf(guests: readonly string[]): Series[] {
  const series = (chart: Chart, unit: string, bound: Bound, ...names: string[]): Series[] =>
    names.map((name) => ({ name, unit, chart, bound }));
  return [
    ...series('memory', 'MiB', RESIDENT, 'rss', 'anonymous'),
    ...series('memory', 'MiB', ALLOCATED, 'nativeHeap', 'jsHeap', 'arrayBuffers'),
    ...series('domains', 'MiB', RESIDENT, 'qemuRss', 'qemuAnonymous', 'agentAnonymous'),
    ...series('things', '', EXACT, 'descriptors', 'threads', 'processes', 'mounts', 'sharedMemory'),
    ...guests.flatMap((guest) => series('medians', 'µs', LATENCY, medianName(guest))),
    ...guests.flatMap((guest) => series('tails', 'µs', LATENCY, tailName(guest))),
  ];
}

export const medianName = (guest: string): string => `${guest} median`;
export const tailName = (guest: string): string => `${guest} p99`;

/** Whether a series rises: surely, and by more than its bound. */
export function rises({ bound }: Series, { slope, low, jump, hours }: Trend): boolean {
  if (low <= 0) return false;
  return bound.perHour === 'as the run' ? slope * hours > JUMPS_MAX * jump : slope > bound.perHour;
}

/** A bound in words; of one that the run itself sets, once there is a trend, how much that is. */
export function boundText({ bound, unit }: Series, trend?: Trend): string {
  if (bound.perHour !== 'as the run')
    return bound.perHour === 0 ? 'none' : `${bound.perHour} ${unit} an hour`;
  return trend === undefined ? 'as the run' : `${(JUMPS_MAX * trend.jump).toFixed(1)} ${unit} in all`;
}

/** How the bounds that a run sets itself came to be. */
export const BOUNDS_EXPLAINED =
  'A latency rises if that is sure (by its interval) and more, over the whole run, than ' +
  `${JUMPS_MAX} times what the medians of any two neighbouring parts, of ${PARTS}, differ by: as much changes in this run without a trend.`;
