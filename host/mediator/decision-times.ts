/** So many of the latest decisions are kept: enough for a 99th percentile, at 512 KiB a guest. */
const SAMPLES_MAX = 65_536;

/** Median and 99th percentile of how long decisions took, in nanoseconds. */
export interface DecisionTimes {
  median: number;
  p99: number;
  count: number;
}

/** Records how long decisions take, without allocating. */
export class DecisionClock {
  private readonly samples = new Float64Array(SAMPLES_MAX);
  private count = 0;

  /** @param elapsedMs what performance.now() says has passed */
  record(elapsedMs: number): void {
    this.samples[this.count++ % SAMPLES_MAX] = elapsedMs * 1e6;
  }

  times(): DecisionTimes {
    const sorted = this.samples.slice(0, Math.min(this.count, SAMPLES_MAX)).sort();
    const at = (share: number): number => sorted[Math.floor(sorted.length * share)] ?? 0;
    return { median: Math.round(at(0.5)), p99: Math.round(at(0.99)), count: this.count };
  }
}
