import { rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { compileGuestProgram } from '../../host/cli/guest-program.js';
import { meteredPath } from '../../host/policy/meter.js';
import { loadPolicies, type PolicyPackage } from '../../host/policy/store.js';
import { loadVectors } from '../../host/policy/vectors.js';
import type { TestedPolicy } from '../../host/serve/prepare.js';
import { variant } from '../serve/variants.js';
import type { Budget } from './budget.js';
import { numbersAfter } from './programs.js';
import { ReloadedHost } from './reload-host.js';
import type { Stage } from './stage.js';
import { slope } from './statistics.js';

/** What guests at work notice of modules that are exchanged under them, and what a host keeps of them. */
export interface ReloadResult {
  guests: number;
  swaps: number;
  /** Of all guests, from their start to their end. */
  operations: number;
  failed: number;
  /** 99.9th percentile of one call, in times without and with swaps, in milliseconds: medians of the guests'. */
  p999Ms: { quiet: number; swapping: number };
  /** The longest call of any guest, in milliseconds. */
  longestMs: { quiet: number; swapping: number };
  /** The longest call while modules were swapped, to the 99.9th percentile without. */
  longestGapRatio: number;
  /** The same of the times without swaps: what the machine alone makes of it. */
  quietGapRatio: number;
  /** From a new module to the last guest's switch, milliseconds, median. */
  reloadMs: number;
  reloads: number;
  settlingReloads: number;
  /** The host process's memory over `reloads`, after `settlingReloads` that are not looked at, MB a hundred reloads, by least squares. */
  rssSlopeMb: number;
  /** Before the first reload of all, and at the first and the last that are looked at. */
  rssMb: { before: number; first: number; last: number };
}

const GUESTS = 4;
const OPERATIONS = 100_000;
const QUICK_OPERATIONS = 4_000;
const SWAPS = 50;
const QUICK_SWAPS = 5;
const RELOADS = 500;
const QUICK_RELOADS = 30;
/** However slow the machine is: a line through fewer points says nothing. */
const RELOADS_MIN = 10;
/**
 * Those who time their calls rest so long between two: four guests with their mediators and drivers are a dozen threads, and where they never
 * rest, two processors have calls that wait for seconds whether modules are exchanged or not.
 */
const NOTICED_RESTS_US = '100';
/** Those of whom the memory is looked at: guests that take all processors would leave none to what makes modules ready, which gives way. */
const RESTS_US = '1000';
/** Of the budget, for what guests notice; the rest is for the memory. */
const NOTICED_SHARE = 2;
/** Versions that differ, in turn: each reload compiles and instantiates anew. */
const VERSIONS = 50;
/**
 * Before memory is looked at: the heaps of V8 and of the allocator grow with what is alive between two collections, for some 350 reloads.
 */
const SETTLING_RELOADS = 500;
const QUICK_SETTLING_RELOADS = 6;
const MB = 1 << 20;
/** Between two swaps, so that they are spread over the guests' work. */
const PAUSE_MS = 50;
/** Times of swaps and quiet times of the same length take turns, so that whatever else the machine does meets both. */
const SWAPS_A_PERIOD = 5;
const NS_PER_MS = 1e6;
/** What test/bench/reload.c prints. */
const COUNTED = ['operations', 'failed', 'quiet', 'quietLongest', 'swapping', 'swappingLongest'] as const;

/**
 * A host with guests at work on terminals of the local driver domain. What is installed comes with its test vectors, and is new to the
 * machine when guests' calls are timed: it is metered, tried and compiled then, as whatever an operator installs.
 */
export async function benchReload({ quick, budget }: Stage): Promise<ReloadResult> {
  const pty = loadPolicies().find(({ manifest }) => manifest.name === 'pty') as PolicyPackage;
  const swapsMax = quick ? QUICK_SWAPS : SWAPS;
  const reloads = quick ? QUICK_RELOADS : RELOADS;
  const calls = (quick ? QUICK_OPERATIONS : OPERATIONS) / GUESTS;
  const versions = Array.from({ length: Math.min(VERSIONS, swapsMax) }, (_, number) =>
    newVersion(pty, number),
  );
  const host = await ReloadedHost.start();
  try {
    const times: number[] = [];
    const noticed = budget.share(NOTICED_SHARE);
    const load = await underLoad(host, [String(calls), NOTICED_RESTS_US], async (say) => {
      for (let swap = 0; swap < swapsMax && (swap === 0 || noticed.allows(0)); ) {
        say('s');
        const began = performance.now();
        for (const end = swap + SWAPS_A_PERIOD; swap < end; swap++) {
          times.push(await installed(host, at(versions, swap)));
          await sleep(PAUSE_MS);
        }
        say('q');
        await sleep(performance.now() - began);
      }
    });
    const settling = quick ? QUICK_SETTLING_RELOADS : SETTLING_RELOADS;
    const memory = await memoryOver(host, versions, settling, settling + reloads, budget);
    return {
      guests: GUESTS,
      swaps: times.length,
      ...load,
      longestGapRatio: load.longestMs.swapping / load.p999Ms.quiet,
      quietGapRatio: load.longestMs.quiet / load.p999Ms.quiet,
      reloadMs: median(times),
      ...memory,
    };
  } finally {
    await host.close();
  }
}

/** A version as if this machine had not seen it before. */
function newVersion(pty: PolicyPackage, number: number): TestedPolicy {
  const version = { ...variant(pty, number), vectors: loadVectors('pty') };
  rmSync(meteredPath(version.core), { force: true });
  return version;
}

/** Installs a version, and returns how long that took, in milliseconds. */
async function installed(host: ReloadedHost, version: TestedPolicy): Promise<number> {
  const began = performance.now();
  const done = await host.install(version);
  if (done === undefined || done.failure !== null || done.kept.length > 0)
    throw new Error(`A module was not put into force: ${JSON.stringify(done)}`);
  return performance.now() - began;
}

type Load = Pick<ReloadResult, 'operations' | 'failed' | 'p999Ms' | 'longestMs'>;

/** What guests count that work until `during` has ended, by the arguments of reload.c; `say` tells them which period begins. */
async function underLoad(
  host: ReloadedHost,
  args: readonly string[],
  during: (say: (period: 'q' | 's') => void) => Promise<void>,
): Promise<Load> {
  const program = compileGuestProgram('reload', 'bench');
  const guests = Array.from({ length: GUESTS }, () => host.guest(program, ...args));
  for (const guest of guests) await guest.printed('ready');
  await during((period) => {
    for (const guest of guests) guest.write(period);
  });
  const ends = await Promise.all(guests.map((guest) => guest.end()));
  const numbers = ends.map((out) => numbersAfter(out, COUNTED));
  const all = (name: (typeof COUNTED)[number]): number[] => numbers.map((one) => one[name]);
  return {
    operations: all('operations').reduce((sum, one) => sum + one, 0),
    failed: all('failed').reduce((sum, one) => sum + one, 0),
    p999Ms: { quiet: median(all('quiet')) / NS_PER_MS, swapping: median(all('swapping')) / NS_PER_MS },
    longestMs: {
      quiet: Math.max(...all('quietLongest')) / NS_PER_MS,
      swapping: Math.max(...all('swappingLongest')) / NS_PER_MS,
    },
  };
}

async function memoryOver(
  host: ReloadedHost,
  versions: readonly TestedPolicy[],
  settling: number,
  reloadsMax: number,
  budget: Budget,
): Promise<Pick<ReloadResult, 'reloads' | 'settlingReloads' | 'rssSlopeMb' | 'rssMb'>> {
  const all: [reload: number, mb: number][] = [];
  const before = host.rssBytes() / MB;
  await underLoad(host, ['1', RESTS_US], async () => {
    while (all.length < RELOADS_MIN || (all.length < reloadsMax && budget.allows(0))) {
      await installed(host, at(versions, all.length));
      all.push([all.length, host.rssBytes() / MB]);
    }
  });
  // A machine that is too slow for all of them leaves half of those that there were.
  const settlingReloads = Math.min(settling, Math.floor(all.length / 2));
  const samples = all.slice(settlingReloads);
  const [first, last] = [samples[0], samples.at(-1)] as [[number, number], [number, number]];
  return {
    ...{ reloads: samples.length, settlingReloads },
    rssSlopeMb: 100 * slope(samples),
    rssMb: { before, first: first[1], last: last[1] },
  };
}

function at(versions: readonly TestedPolicy[], number: number): TestedPolicy {
  return versions[number % versions.length] as TestedPolicy;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}
