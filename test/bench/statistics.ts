import { Budget } from './budget.js';

/** What repeated measurements of one thing say: the median, and how far the quartiles are apart. */
export interface Summary {
  median: number;
  /** Interquartile range as a share of the median. */
  spread: number;
  /** 99th percentile. */
  p99: number;
}

/** @param samples at least one */
export function summarize(samples: readonly number[]): Summary {
  const sorted = [...samples].sort((a, b) => a - b);
  const median = quantile(sorted, 0.5);
  return {
    median,
    spread: (quantile(sorted, 0.75) - quantile(sorted, 0.25)) / median,
    p99: quantile(sorted, 0.99),
  };
}

/** @param sorted in ascending order, at least one */
function quantile(sorted: readonly number[], share: number): number {
  const at = (sorted.length - 1) * share;
  const below = sorted[Math.floor(at)] ?? Number.NaN;
  const above = sorted[Math.ceil(at)] ?? Number.NaN;
  return below + (above - below) * (at - Math.floor(at));
}

/** A point of a line: how many there are of something, and what was measured then. */
export type Point = readonly [x: number, y: number];

/**
 * The slope of the line nearest to the points, by least squares.
 * @param points of at least two different x
 */
export function slope(points: readonly Point[]): number {
  const mean = (of: 0 | 1): number => points.reduce((sum, point) => sum + point[of], 0) / points.length;
  const [x, y] = [mean(0), mean(1)];
  const covariance = points.reduce((sum, point) => sum + (point[0] - x) * (point[1] - y), 0);
  return covariance / points.reduce((sum, point) => sum + (point[0] - x) ** 2, 0);
}

/**
 * By which power of x the measurement grows: 0 not at all, 1 in proportion.
 * @param points positive, of at least two different x
 */
export function growthExponent(points: readonly Point[]): number {
  return slope(points.map(([x, y]) => [Math.log(x), Math.log(y)]));
}

/**
 * Runs several ways of doing something in turn, round after round, so that whatever else the machine does meets each. What each gave, round
 * by round; every second round in reverse, so that none is always the one after another.
 * @param rounds so many at most, and one at least: no other begins that would not end within the budget, as long as the longest so far took
 */
export async function interleave<Name extends string, T>(
  ways: Readonly<Record<Name, () => T | Promise<T>>>,
  rounds: number,
  budget: Budget = Budget.UNLIMITED,
): Promise<Record<Name, T[]>> {
  const names = Object.keys(ways) as Name[];
  const samples = Object.fromEntries(names.map((name) => [name, [] as T[]])) as Record<Name, T[]>;
  for (let round = 0, longestMs = 0; round < rounds && (round === 0 || budget.allows(longestMs)); round++) {
    const began = performance.now();
    for (const name of round % 2 === 0 ? names : [...names].reverse()) samples[name].push(await ways[name]());
    longestMs = Math.max(longestMs, performance.now() - began);
  }
  return samples;
}
