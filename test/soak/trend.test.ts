import { closeSync, openSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { measure } from './measure.js';
import { rises, type Series, seriesOf } from './series.js';
import { POINTS_MIN, type Point, type Trend, trendOf } from './trend.js';

/** The same numbers at every run: a linear congruential generator (Knuth, MMIX), from 0 to 1. */
function numbers(seed: bigint): () => number {
  let state = seed;
  return () => {
    state = (state * 6364136223846793005n + 1442695040888963407n) & 0xffff_ffff_ffff_ffffn;
    return Number(state >> 11n) / 2 ** 53;
  };
}

/** Half an hour of samples. */
function points(count: number, value: (index: number, random: () => number) => number, seed = 1n): Point[] {
  const random = numbers(seed);
  return Array.from({ length: count }, (_, index) => [(0.5 * index) / count, value(index, random)]);
}

const trend = (of: Point[]): Trend => trendOf(of) as Trend;
const series = (name: string): Series => seriesOf(['camera']).find((one) => one.name === name) as Series;
const noisy =
  (slope: number) =>
  (index: number, random: () => number): number =>
    100 + (slope * 0.5 * index) / 600 + 10 * (random() - 0.5);

describe('the trend of a series', () => {
  it('is the slope of a line, whatever a fifth of wild points says', () => {
    const line = points(100, (index) => 7 + 0.03 * index + (index % 5 === 0 ? 1000 * (index % 2) : 0));
    expect(trend(line).slope).toBeCloseTo(0.03 * 200, 1);
  });

  it('is not told of too few points', () => {
    expect(trendOf(points(POINTS_MIN - 1, (index) => index))).toBeUndefined();
  });

  it('has an interval that a true slope is in, 99 times of a hundred', () => {
    const missed = Array.from({ length: 300 }, (_, run) => {
      const { low, high } = trend(points(600, noisy(40), BigInt(run)));
      return low > 40 || high < 40;
    }).filter((isMissed) => isMissed).length;
    expect(missed).toBeLessThanOrEqual(9);
  });
});

describe('a series rises', () => {
  const judged = (name: string, of: Point[]): boolean => rises(series(name), trend(of));

  it('when it leaks beneath its noise', () => {
    expect(judged('anonymous', points(600, noisy(40)))).toBe(true);
  });

  it('but not by noise, nor by a saw’s teeth, nor by one step', () => {
    expect(judged('anonymous', points(600, noisy(0)))).toBe(false);
    expect(
      judged(
        'qemuAnonymous',
        points(600, (index) => 50 + (index % 60)),
      ),
    ).toBe(false);
    expect(
      judged(
        'descriptors',
        points(600, (index) => (index < 250 ? 100 : 101)),
      ),
    ).toBe(false);
  });

  it('when a descriptor is left behind now and then', () => {
    expect(
      judged(
        'descriptors',
        points(600, (index) => 100 + Math.floor(index / 100)),
      ),
    ).toBe(true);
    expect(
      judged(
        'descriptors',
        points(600, () => 100),
      ),
    ).toBe(false);
  });

  it('when guests wait longer and longer', () => {
    expect(
      judged(
        'camera median',
        points(600, (index) => 50 + index / 20),
      ),
    ).toBe(true);
    expect(judged('camera median', points(600, noisy(40)))).toBe(true);
  });

  it('but not when a machine with something else to do takes longer for a part of the run, or at its end', () => {
    expect(judged('camera median', points(600, noisy(0)))).toBe(false);
    const busyFrom = (first: number, last: number): Point[] =>
      points(600, (index, random) => (index >= first && index < last ? 70 : 50) + 10 * (random() - 0.5));
    expect(judged('camera median', busyFrom(200, 400))).toBe(false);
    expect(judged('camera p99', busyFrom(300, 600))).toBe(false);
    expect(judged('camera p99', busyFrom(500, 600))).toBe(false);
  });
});

describe('what is measured', () => {
  it('has what this process holds', () => {
    const look = (): ReturnType<typeof measure> => measure({ qemu: undefined, agent: undefined });
    const before = look();
    const opened = Array.from({ length: 10 }, () => openSync('/dev/null', 'r'));
    const after = look();
    opened.forEach(closeSync);
    expect(after.descriptors - before.descriptors).toBe(10);
    for (const name of ['rss', 'anonymous', 'jsHeap', 'nativeHeap', 'threads', 'mounts'] as const)
      expect({ name, there: after[name] > 0 }).toEqual({ name, there: true });
  });
});
