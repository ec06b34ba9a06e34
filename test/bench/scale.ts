import { execFileSync } from 'node:child_process';
import { closeDomain, openDomain } from '../../host/cli/driver-domain.js';
import { compileGuestProgram } from '../../host/cli/guest-program.js';
import { openLog } from '../../host/cli/log.js';
import type { DriverDomain } from '../../host/driver-vm/domain.js';
import { type TreeMemory, treeMemory } from './process-tree.js';
import { numbersAfter } from './programs.js';
import { type Stage, TERMINAL } from './stage.js';
import { growthExponent, interleave, type Point, slope, summarize } from './statistics.js';
import { WaitingGuest } from './waiting-guest.js';

/** By the number of guests of one host, each with a terminal open, in the local driver domain. */
export type ScaleResult = Record<string, ScaleFigures>;

export interface ScaleFigures {
  /** The same number of operations in all, shared among so many guests that work at once. */
  opsPerSecond: number;
  medianUs: number;
  p99Us: number;
  /** What an operation costs, to what it costs with one guest at work: by the same load in all. */
  costToOne: number;
  /**
   * The same with bare supervisors, each of which has a process of its own perform the ioctl (crowd.c): what the kernel takes to have so many
   * threes of processes wake each other, and how that grows.
   */
  floorOpsPerSecond: number;
  floorCostToOne: number;
  /** One guest's median while so many are there and the others are idle, to its median alone. */
  idleToAlone: number;
  /**
   * Memory of all processes, for each guest beyond the first, and whose: the host's, the guests' (launchers and programs), the backends'. Of the
   * first guest it is what it and all that a host needs once take.
   */
  memoryMbPerGuest: number;
  memoryMb: { host: number; guests: number; backends: number };
  /** From the start of a guest until its program has its device open, milliseconds, while so many others start. */
  startMs: number;
  spread: number;
}

/** How things grow with the number of guests: powers of it (0 not at all, 1 in proportion), and memory by the nearest line. */
export interface ScaleGrowth {
  opsPerSecond: number;
  medianUs: number;
  /** Of one guest's median while the others are idle. */
  idle: number;
  /** MB a guest. */
  memoryMb: number;
}

/** @param scale of at least two numbers of guests */
export function growthOf(scale: ScaleResult): ScaleGrowth {
  const points = (of: (figures: ScaleFigures, guests: number) => number): Point[] =>
    Object.entries(scale).map(([guests, figures]) => [Number(guests), of(figures, Number(guests))]);
  return {
    opsPerSecond: growthExponent(points(({ opsPerSecond }) => opsPerSecond)),
    medianUs: growthExponent(points(({ medianUs }) => medianUs)),
    idle: growthExponent(points(({ idleToAlone }) => idleToAlone)),
    // Beyond the first guest, whose memory has what a host needs once.
    memoryMb: slope(points(({ memoryMbPerGuest }, guests) => (guests - 1) * memoryMbPerGuest)),
  };
}

const GUESTS = [1, 4, 16, 64] as const;
const QUICK_GUESTS = [1, 8, 64] as const;
/** So many are started at once. */
const STARTED_AT_ONCE = 8;
const OPERATIONS = 64_000;
const QUICK_OPERATIONS = 6400;
const ROUNDS = 5;
const QUICK_ROUNDS = 2;
/** Each guest's mediator has an engine of its own, which compiles what is called often: so many operations of each come beforehand. */
const WARM_UP_OPERATIONS = 4000;
const QUICK_WARM_UP_OPERATIONS = 400;
/** linux/asm-generic/ioctls.h: TIOCNXCL, which has no argument. */
const COMMAND = '0x540d';
const NS_PER_US = 1000;
const MS_PER_S = 1000;

/** Starts more and more guests of one host, then has some and all of them work in turn. */
export async function benchScale({ quick, budget }: Stage): Promise<ScaleResult> {
  const domain = await openDomain({ mode: 'local', drivers: [] }, openLog({}));
  const guests: WaitingGuest[] = [];
  try {
    const counts = quick ? QUICK_GUESTS : GUESTS;
    const operations = quick ? QUICK_OPERATIONS : OPERATIONS;
    const growth = await grow(domain, guests, counts, operations);
    const warmUp = quick ? QUICK_WARM_UP_OPERATIONS : WARM_UP_OPERATIONS;
    await Promise.all(guests.map((guest) => guest.work(warmUp)));
    const ways = counts.map(
      (count) => [count, () => besideFloor(guests.slice(0, count), operations)] as const,
    );
    const works = await interleave(
      Object.fromEntries(ways) as Record<string, () => Promise<Compared>>,
      quick ? QUICK_ROUNDS : ROUNDS,
      budget,
    );
    return resultOf(counts, growth, works);
  } finally {
    await Promise.allSettled(guests.map((guest) => guest.stop()));
    await closeDomain(domain);
  }
}

/** What there was when so many guests were there, all idle. */
interface Stand {
  memory: TreeMemory;
  startMs: number;
  /** One guest's median. */
  oneUs: number;
}

async function grow(
  domain: DriverDomain,
  guests: WaitingGuest[],
  counts: readonly number[],
  operations: number,
): Promise<{ before: TreeMemory; stands: Stand[] }> {
  const program = compileGuestProgram('scale', 'bench');
  const start = async (): Promise<number> => {
    const began = performance.now();
    const args = [TERMINAL.path, '1', COMMAND];
    guests.push(await WaitingGuest.start({ program, args, devices: [TERMINAL], domain }));
    return performance.now() - began;
  };
  const before = treeMemory();
  const stands: Stand[] = [];
  for (const count of counts) {
    const startsMs: number[] = [];
    while (guests.length < count) {
      const missing = Math.min(STARTED_AT_ONCE, count - guests.length);
      startsMs.push(...(await Promise.all(Array.from({ length: missing }, start))));
    }
    const memory = treeMemory();
    await guests[0]?.work(operations);
    const { medianUs } = await workOf(guests.slice(0, 1), operations);
    stands.push({ memory, startMs: summarize(startsMs).median, oneUs: medianUs });
  }
  return { before, stands };
}

type Work = Pick<ScaleFigures, 'opsPerSecond' | 'medianUs' | 'p99Us'>;

/** The same number of operations in all, all guests at once. */
async function workOf(guests: readonly WaitingGuest[], operations: number): Promise<Work> {
  const share = Math.floor(operations / guests.length);
  const began = performance.now();
  const times = await Promise.all(guests.map((guest) => guest.work(share)));
  const seconds = (performance.now() - began) / MS_PER_S;
  return {
    opsPerSecond: (share * guests.length) / seconds,
    medianUs: summarize(times.map(({ median }) => median)).median / NS_PER_US,
    p99Us: summarize(times.map(({ p99 }) => p99)).median / NS_PER_US,
  };
}

type Compared = Work & Pick<ScaleFigures, 'floorOpsPerSecond'>;

/** Guests at work, then as many bare supervisors. */
async function besideFloor(guests: readonly WaitingGuest[], operations: number): Promise<Compared> {
  const work = await workOf(guests, operations);
  const share = Math.floor(operations / guests.length);
  const printed = execFileSync(compileGuestProgram('crowd', 'bench'), [
    `${guests.length}`,
    `${share}`,
    'domain',
  ]);
  return { ...work, floorOpsPerSecond: numbersAfter(printed.toString(), ['perSecond']).perSecond };
}

function resultOf(
  counts: readonly number[],
  { before, stands }: { before: TreeMemory; stands: Stand[] },
  works: Record<string, Compared[]>,
): ScaleResult {
  const of = (count: number, what: keyof Compared) =>
    summarize((works[count] ?? []).map((work) => work[what]));
  const [first] = stands as [Stand, ...Stand[]];
  const [fewest = 1] = counts;
  const figures = stands.map(({ memory, startMs, oneUs }, index): [number, ScaleFigures] => {
    const count = counts[index] as number;
    const [base, guests] = index === 0 ? [before, 1] : [first.memory, count - fewest];
    const more = (of: keyof TreeMemory) => (memory[of] - base[of]) / guests;
    const opsPerSecond = of(count, 'opsPerSecond');
    return [
      count,
      {
        opsPerSecond: opsPerSecond.median,
        medianUs: of(count, 'medianUs').median,
        p99Us: of(count, 'p99Us').median,
        costToOne: of(fewest, 'opsPerSecond').median / opsPerSecond.median,
        floorOpsPerSecond: of(count, 'floorOpsPerSecond').median,
        floorCostToOne: of(fewest, 'floorOpsPerSecond').median / of(count, 'floorOpsPerSecond').median,
        idleToAlone: oneUs / first.oneUs,
        memoryMbPerGuest: more('all'),
        memoryMb: { host: more('host'), guests: more('guests'), backends: more('backends') },
        startMs,
        spread: opsPerSecond.spread,
      },
    ];
  });
  return Object.fromEntries(figures);
}
