import { setTimeout as sleep } from 'node:timers/promises';
import { medianName, rises, type Series, seriesOf, tailName } from './series.js';
import { GUEST_NAMES, Stand } from './stand.js';
import { type Point, type Trend, trendOf } from './trend.js';

/** Reloads, visitors and a sample, in this time; a crash takes longer. */
const CYCLE_MS = 3000;
/** A new VM has a new history: between two crashes there is time for one. */
const CYCLES_A_CRASH = 10;
/** V8, the allocators and the VM take what they need at first. */
const WARM_UP_SHARE = 0.2;
const MS_PER_HOUR = 3_600_000;

/** What a soak was asked for. */
export interface SoakOptions {
  minutes: number;
  /** Told what happens. */
  tell(line: string): void;
  /** For tests: called once a cycle. */
  onCycle?: () => void;
  cyclesACrash?: number;
  /** So many cycles at least, however long they take. */
  cyclesMin?: number;
}

/** What a series came to. */
export interface SeriesResult {
  series: Series;
  points: Point[];
  /** After the warm-up; undefined where there are too few points. */
  trend: Trend | undefined;
  rises: boolean;
}

/** What a soak found. */
export interface SoakResult {
  minutes: number;
  cycles: number;
  warmUpMinutes: number;
  operations: Record<string, number>;
  /** How often each guest's device went. */
  lost: Record<string, number>;
  /** How often each guest's driver said that it, or the guest, was late: what a machine that is too busy looks like from there. */
  late: Record<string, number>;
  failed: number;
  reloads: number;
  crashes: number;
  visitors: number;
  refusedVisitors: number;
  /** What went wrong otherwise than it may. */
  failures: string[];
  /** What the hosts logged as errors, with how often. */
  errors: Record<string, number>;
  series: SeriesResult[];
}

/** Has guests of all kinds at work for so long, while modules are exchanged, programs come and go and driver VMs crash. */
export async function runSoak(options: SoakOptions): Promise<SoakResult> {
  const recording = new Recording();
  const stand = await Stand.open();
  const began = performance.now();
  let cycles = 0;
  try {
    while (performance.now() - began < options.minutes * 60_000 || cycles < (options.cyclesMin ?? 0)) {
      const cycleBegan = performance.now();
      const crashes = cycles % (options.cyclesACrash ?? CYCLES_A_CRASH) === 1;
      await Promise.all([stand.reload(), stand.visit(), ...(crashes ? [stand.crash()] : [])]);
      options.onCycle?.();
      await sleep(Math.max(0, CYCLE_MS - (performance.now() - cycleBegan)));
      await recording.take(stand, (performance.now() - began) / MS_PER_HOUR);
      cycles += 1;
      options.tell(`${cycles} cycles, ${recording.total} operations, ${stand.failures.size} failures`);
    }
  } finally {
    await stand.close();
  }
  const minutes = (performance.now() - began) / 60_000;
  return recording.result(stand, minutes, cycles);
}

/** The samples of a run. */
class Recording {
  total = 0;
  readonly #points = new Map<string, Point[]>();
  readonly #operations = new Map<string, number>();
  readonly #lost = new Map<string, number>();
  readonly #late = new Map<string, number>();
  #failed = 0;

  async take(stand: Stand, hours: number): Promise<void> {
    for (const [name, { operations, failed, lost, late, median, p99 }] of await stand.reports()) {
      this.total += operations;
      this.#failed += failed;
      add(this.#operations, name, operations);
      add(this.#lost, name, lost);
      add(this.#late, name, late);
      // A guest whose device was away has nothing to tell.
      if (lost > 0 || median === 0) continue;
      this.#note(medianName(name), hours, median);
      this.#note(tailName(name), hours, p99);
    }
    for (const [name, value] of Object.entries(await stand.look()))
      if (!Number.isNaN(value)) this.#note(name, hours, value);
  }

  result(stand: Stand, minutes: number, cycles: number): SoakResult {
    const warmUpMinutes = minutes * WARM_UP_SHARE;
    const { reloads, crashes, visitors, refusedVisitors, failures, errors } = stand;
    return {
      ...{ minutes, cycles, warmUpMinutes, reloads, crashes, visitors, refusedVisitors },
      operations: Object.fromEntries(this.#operations),
      lost: Object.fromEntries(this.#lost),
      late: Object.fromEntries(this.#late),
      failed: this.#failed,
      failures: [...failures],
      errors: Object.fromEntries(errors),
      series: seriesOf(GUEST_NAMES).map((series) => this.#resultOf(series, warmUpMinutes / 60)),
    };
  }

  #resultOf(series: Series, from: number): SeriesResult {
    const points = this.#points.get(series.name) ?? [];
    const trend = trendOf(points.filter(([hours]) => hours >= from));
    return { series, points, trend, rises: trend !== undefined && rises(series, trend) };
  }

  #note(name: string, hours: number, value: number): void {
    const points = this.#points.get(name);
    if (points === undefined) this.#points.set(name, [[hours, value]]);
    else points.push([hours, value]);
  }
}

function add(to: Map<string, number>, name: string, count: number): void {
  to.set(name, (to.get(name) ?? 0) + count);
}
