import { closeDomain, openDomain } from '../../host/cli/driver-domain.js';
import { compileGuestProgram } from '../../host/cli/guest-program.js';
import { openLog } from '../../host/cli/log.js';
import { numbersAfter } from './programs.js';
import { WaitingGuest } from './waiting-guest.js';

/** By the number of guests of one host, each with a terminal open: the same number of operations in all, shared among them. */
export interface ScaleResult {
  [guests: number]: ScaleFigures;
  /** One guest by its open files: medians of one operation. */
  sessions: Record<string, { medianUs: number }>;
}

export interface ScaleFigures {
  opsPerSecond: number;
  medianUs: number;
  /** Of the host's memory, for each guest beyond the first. */
  memoryMbPerGuest: number;
  /** What an operation costs, to what it costs with one guest: by the same load in all. */
  costToOne: number;
}

const GUESTS = [1, 4, 16, 64] as const;
const QUICK_GUESTS = [1, 64] as const;
/** So many are started at once. */
const STARTED_AT_ONCE = 8;
const OPERATIONS = 64_000;
const QUICK_OPERATIONS = 6400;
/** The manifest's sessionsMax of terminals is the most that one guest has. */
const FILES = [1, 16, 64] as const;
const TERMINAL = { name: 'ptmx', path: '/dev/ptmx' };
const MB = 1 << 20;
const NS_PER_US = 1000;
const log = openLog({});

export async function benchScale(quick: boolean): Promise<ScaleResult> {
  const program = compileGuestProgram('scale', 'bench');
  const operations = quick ? QUICK_OPERATIONS : OPERATIONS;
  const result: ScaleResult = { sessions: {} };
  for (const files of FILES) {
    const { medianUs } = await withGuests(program, 1, files, (guests) => work(guests, operations));
    result.sessions[files] = { medianUs };
  }
  // One guest first, so that what every host needs once is not counted as a guest's.
  let cost = Number.NaN;
  for (const count of quick ? QUICK_GUESTS : GUESTS) {
    const one = await withGuests(program, count, 1, (guests) => work(guests, operations));
    if (count === 1) cost = one.opsPerSecond;
    result[count] = { ...one, costToOne: cost / one.opsPerSecond };
  }
  return result;
}

interface Work {
  opsPerSecond: number;
  medianUs: number;
  memoryMbPerGuest: number;
}

async function withGuests(
  program: string,
  count: number,
  files: number,
  use: (guests: WaitingGuest[]) => Promise<Omit<Work, 'memoryMbPerGuest'>>,
): Promise<Work> {
  const domain = await openDomain({ mode: 'local', drivers: [] }, log);
  const guests: WaitingGuest[] = [];
  try {
    const start = async (): Promise<void> => {
      const guest = new WaitingGuest({
        ...{ program, args: [TERMINAL.path, String(files)], devices: [TERMINAL], domain },
      });
      guests.push(guest);
      await guest.line();
    };
    await start();
    const before = process.memoryUsage.rss();
    while (guests.length < count)
      await Promise.all(Array.from({ length: Math.min(STARTED_AT_ONCE, count - guests.length) }, start));
    const memoryMbPerGuest = (process.memoryUsage.rss() - before) / Math.max(1, count - 1) / MB;
    return { ...(await use(guests)), memoryMbPerGuest };
  } finally {
    await Promise.allSettled(guests.map((guest) => guest.stop()));
    await closeDomain(domain);
  }
}

/** The same number of operations in all, all guests at once. */
async function work(guests: WaitingGuest[], operations: number): Promise<Omit<Work, 'memoryMbPerGuest'>> {
  const share = Math.floor(operations / guests.length);
  for (const guest of guests) guest.say(`${Math.ceil(share / 10)}`);
  for (const guest of guests) await guest.line(); // Warm.
  const began = performance.now();
  for (const guest of guests) guest.say(`${share}`);
  const medians: number[] = [];
  for (const guest of guests) medians.push(numbersAfter(await guest.line(), ['median']).median);
  const seconds = (performance.now() - began) / 1000;
  medians.sort((a, b) => a - b);
  return {
    opsPerSecond: (share * guests.length) / seconds,
    medianUs: (medians[medians.length >> 1] as number) / NS_PER_US,
  };
}
