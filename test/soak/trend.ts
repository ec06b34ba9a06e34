/** A point of a series: when, in hours, and what. */
export type Point = readonly [hours: number, value: number];

/** How a series goes: by the hour, with the bounds of a confidence interval. */
export interface Trend {
  slope: number;
  low: number;
  high: number;
  /** What the line that fits has at the series' middle. */
  middle: number;
  /** The most that the medians of two neighbouring parts, of PARTS, differ by: what this very run has of changes that are no trend. */
  jump: number;
  hours: number;
}

/** Two-sided 99%: with some forty series, one in three runs would otherwise find a slope where there is none. */
const NORMAL_QUANTILE = 2.576;
/**
 * Neighbours in time resemble each other, which makes an interval too narrow. The medians of so many stretches do so less, and suffice
 * for an interval.
 */
const STRETCHES = 24;
/** In so many parts a run is compared with itself: a steady rise differs by a fifth of itself from one to the next. */
export const PARTS = 6;
/** Of fewer points an interval says nothing. */
export const POINTS_MIN = 12;

/**
 * The median of the slopes between all pairs of points (Theil, Sen), which a quarter of wild points does not move, with Sen's confidence interval from
 * Kendall's statistic (Sen 1968, J. Am. Stat. Assoc. 63). Of long series, the medians of stretches of equal length are taken.
 * @returns undefined for fewer than POINTS_MIN points
 */
export function trendOf(points: readonly Point[]): Trend | undefined {
  if (points.length < POINTS_MIN) return undefined;
  const taken = stretches(points);
  const count = taken.length;
  const slopes = pairSlopes(taken).sort((a, b) => a - b);
  const margin = NORMAL_QUANTILE * Math.sqrt(kendallVariance(taken.map(([, value]) => value)));
  const at = (rank: number): number => slopes[Math.min(slopes.length - 1, Math.max(0, rank))] as number;
  const hours = (taken[count - 1] as Point)[0] - (taken[0] as Point)[0];
  return {
    slope: medianOf(slopes),
    low: at(Math.floor((slopes.length - margin) / 2) - 1),
    high: at(Math.ceil((slopes.length + margin) / 2)),
    middle: medianOf(taken.map(([, value]) => value)),
    jump: jumpOf(points.map(([, value]) => value)),
    hours,
  };
}

/** Medians of equal numbers of neighbours; short series stay as they are. */
function stretches(points: readonly Point[]): readonly Point[] {
  const size = Math.ceil(points.length / STRETCHES);
  if (size <= 1) return points;
  return Array.from({ length: Math.floor(points.length / size) }, (_, index) => {
    const some = points.slice(index * size, (index + 1) * size);
    return [medianOf(some.map(([hours]) => hours)), medianOf(some.map(([, value]) => value))];
  });
}

function jumpOf(values: readonly number[]): number {
  const medians = Array.from({ length: PARTS }, (_, part) =>
    medianOf(
      values.slice(
        Math.floor((part * values.length) / PARTS),
        Math.floor(((part + 1) * values.length) / PARTS),
      ),
    ),
  );
  return Math.max(...medians.slice(1).map((median, index) => Math.abs(median - (medians[index] as number))));
}

function pairSlopes(points: readonly Point[]): number[] {
  return points.flatMap(([x, y], index) =>
    points.slice(index + 1).map(([later, value]) => (value - y) / (later - x)),
  );
}

/** Of Kendall's statistic, with the correction for values that are equal. */
function kendallVariance(values: readonly number[]): number {
  const term = (n: number): number => n * (n - 1) * (2 * n + 5);
  const counts = new Map<number, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  const ties = [...counts.values()].reduce((sum, count) => sum + term(count), 0);
  return (term(values.length) - ties) / 18;
}

/** The middle one, or the mean of the two in the middle. */
export function medianOf(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length / 2;
  const [low, high] = [sorted[Math.ceil(half) - 1] ?? 0, sorted[Math.floor(half)] ?? 0];
  return (low + high) / 2;
}
