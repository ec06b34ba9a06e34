/** So many of the latest samples are kept: enough for a 99th percentile, at 512 KiB a guest. */
const SAMPLES_MAX = 65_536;

/** Median and 99th percentile of how long decisions took, in nanoseconds. */
export interface DecisionTimes {
  median: number;
  p99: number;
  count: number;
}

/** One decision in so many is timed: looking at the clock twice costs as much as a decision. */
const SAMPLING = 8;

/** Records how long decisions take, without allocating. */
export class DecisionClock {
  private readonly samples = new Float64Array(SAMPLES_MAX);
  private decisions = 0;
  private taken = 0;

  /** Counts a decision. Whether it is one to be timed. */
  counts(): boolean {
    return this.decisions++ % SAMPLING === 0;
  }

  /** @param elapsedMs what performance.now() says has passed */
  record(elapsedMs: number): void {
    this.samples[this.taken++ % SAMPLES_MAX] = elapsedMs * 1e6;
  }

  times(): DecisionTimes {
    const sorted = this.samples.slice(0, Math.min(this.taken, SAMPLES_MAX)).sort();
    const at = (share: number): number => sorted[Math.floor(sorted.length * share)] ?? 0;
    return { median: Math.round(at(0.5)), p99: Math.round(at(0.99)), count: this.decisions };
  }
}
