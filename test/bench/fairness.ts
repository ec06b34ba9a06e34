import { closeDomain, openDomain } from '../../host/cli/driver-domain.js';
import { compileGuestProgram } from '../../host/cli/guest-program.js';
import { openLog } from '../../host/cli/log.js';
import type { DriverDomain } from '../../host/driver-vm/domain.js';
import { numbersAfter } from './programs.js';
import { WaitingGuest } from './waiting-guest.js';

/** What a guest notices of another one that floods the same device with calls, by driver domain. */
export type FairnessResult = Record<Place, Record<Pace, FairnessFigures>>;

type Place = 'local' | 'vm';
/** `busy`: the guest makes one call after the other. `paced`: it rests between two calls. */
type Pace = 'busy' | 'paced';

export interface FairnessFigures {
  /** Of one call, in microseconds, while the guest is alone and while another one floods. */
  medianUs: { alone: number; flooded: number };
  p99Us: { alone: number; flooded: number };
  longestUs: { alone: number; flooded: number };
  /** The 99th percentile while another one floods, to the one alone. */
  p99Ratio: number;
  /** Calls a second of the guest that floods. */
  floodPerSecond: number;
}

const CHOICES = {
  local: { device: { name: 'ptmx', path: '/dev/ptmx' }, choice: { mode: 'local', drivers: [] } },
  vm: { device: { name: 'video0', path: '/dev/video0' }, choice: { mode: 'snapshot', drivers: ['vivid'] } },
} as const;
/** Times alone and times of flooding take turns, so that whatever else the machine does meets both. */
const TURNS = 20;
const QUICK_TURNS = 4;
const CALLS_A_TURN: Readonly<Record<Pace, number>> = { busy: 1500, paced: 300 };
const PAUSE_US: Readonly<Record<Pace, number>> = { busy: 0, paced: 500 };
const NS_PER_US = 1000;
const log = openLog({});

export async function benchFairness(quick: boolean): Promise<FairnessResult> {
  return { local: await benchPlace('local', quick), vm: await benchPlace('vm', quick) };
}

/** One driver domain: a guest alone, and beside one that floods. */
export async function benchPlace(place: Place, quick: boolean): Promise<Record<Pace, FairnessFigures>> {
  const { choice, device } = CHOICES[place];
  const domain = await openDomain({ ...choice, drivers: [...choice.drivers] }, log);
  try {
    const turns = quick ? QUICK_TURNS : TURNS;
    return {
      busy: await compare(domain, device, 'busy', turns),
      paced: await compare(domain, device, 'paced', turns),
    };
  } finally {
    await closeDomain(domain);
  }
}

async function compare(
  domain: DriverDomain,
  device: { name: string; path: string },
  pace: Pace,
  turns: number,
): Promise<FairnessFigures> {
  const program = compileGuestProgram('fairness', 'bench');
  const start = (role: string): WaitingGuest =>
    new WaitingGuest({ program, args: [role, device.path], devices: [device], domain });
  const flooding = start('flood');
  const measured = start('measure');
  const measure = async (word: 'alone' | 'flooded'): Promise<void> => {
    measured.say(`${word} ${CALLS_A_TURN[pace]} ${PAUSE_US[pace]}`);
    await measured.line();
  };
  let calls = 0;
  let floodedMs = 0;
  try {
    await Promise.all([flooding.line(), measured.line()]);
    for (let turn = 0; turn < turns; turn++) {
      await measure('alone');
      flooding.say('go');
      await flooding.line();
      const began = performance.now();
      await measure('flooded');
      flooding.say('stop');
      calls += Number(await flooding.line());
      floodedMs += performance.now() - began;
    }
    measured.end();
    return figuresOf(await measured.line(), await measured.line(), (1000 * calls) / floodedMs);
  } finally {
    await Promise.allSettled([flooding.stop(), measured.stop()]);
  }
}

function figuresOf(aloneLine: string, floodedLine: string, floodPerSecond: number): FairnessFigures {
  const alone = numbersAfter(aloneLine, ['median', 'p99', 'longest']);
  const flooded = numbersAfter(floodedLine, ['median', 'p99', 'longest']);
  const both = (name: 'median' | 'p99' | 'longest'): { alone: number; flooded: number } => ({
    alone: alone[name] / NS_PER_US,
    flooded: flooded[name] / NS_PER_US,
  });
  return {
    medianUs: both('median'),
    p99Us: both('p99'),
    longestUs: both('longest'),
    p99Ratio: flooded.p99 / alone.p99,
    floodPerSecond,
  };
}
