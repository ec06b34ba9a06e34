import { compileGuestProgram } from '../../host/cli/guest-program.js';
import type { DriverDomain } from '../../host/driver-vm/domain.js';
import { Budget } from './budget.js';
import { numbersAfter } from './programs.js';
import { CAMERA, type Stage, TERMINAL } from './stage.js';
import { WaitingGuest } from './waiting-guest.js';

/** What a guest notices of another one that floods the same device with calls, by driver domain. */
export type FairnessResult = Record<Place, Record<Pace, FairnessFigures>>;

export type Place = 'local' | 'vm';
/** `busy`: the guest makes one call after the other. `paced`: it rests between two calls. */
type Pace = 'busy' | 'paced';

export interface FairnessFigures {
  /** Of one call, in microseconds, while the guest is alone and while another one floods. */
  medianUs: AloneAndFlooded;
  p99Us: AloneAndFlooded;
  longestUs: AloneAndFlooded;
  /** The 99th percentile while another one floods, to the one alone. */
  p99Ratio: number;
  /** Calls a second of the guest that floods. */
  floodPerSecond: number;
}

interface AloneAndFlooded {
  alone: number;
  flooded: number;
}

/** Times alone and times of flooding take turns, so that whatever else the machine does meets both. */
const TURNS = 20;
const QUICK_TURNS = 2;
const CALLS_A_TURN: Readonly<Record<Pace, number>> = { busy: 1500, paced: 300 };
const PAUSE_US: Readonly<Record<Pace, number>> = { busy: 0, paced: 500 };
const NS_PER_US = 1000;
const STATISTICS = ['median', 'p99', 'longest'] as const;

export async function benchFairness(stage: Stage): Promise<FairnessResult> {
  const turns = stage.quick ? QUICK_TURNS : TURNS;
  return {
    local: await floodedIn(await stage.local(), turns, stage.budget.share(2)),
    vm: await floodedIn(await stage.vm(), turns, stage.budget),
  };
}

/** A guest of a driver domain, alone and beside one that floods. */
export async function floodedIn(
  domain: DriverDomain,
  turns: number,
  budget: Budget = Budget.UNLIMITED,
): Promise<FairnessResult[Place]> {
  return {
    busy: await compare(domain, 'busy', turns, budget.share(2)),
    paced: await compare(domain, 'paced', turns, budget),
  };
}

async function compare(
  domain: DriverDomain,
  pace: Pace,
  turns: number,
  budget: Budget,
): Promise<FairnessFigures> {
  const device = domain.kind === 'vm' ? CAMERA : TERMINAL;
  const program = compileGuestProgram('fairness', 'bench');
  const start = (role: string): Promise<WaitingGuest> =>
    WaitingGuest.start({ program, args: [role, device.path], devices: [device], domain });
  const measured = await start('measure');
  const flooding = await start('flood');
  const measure = (word: keyof AloneAndFlooded): Promise<string> =>
    measured.ask(`${word} ${CALLS_A_TURN[pace]} ${PAUSE_US[pace]}`);
  let calls = 0;
  let floodedMs = 0;
  let times = '';
  try {
    for (let turn = 0; turn < turns && (turn === 0 || budget.allows(0)); turn++) {
      await measure('alone');
      await flooding.ask('go');
      const began = performance.now();
      times = await measure('flooded');
      calls += Number(await flooding.ask('stop'));
      floodedMs += performance.now() - began;
    }
  } finally {
    await Promise.allSettled([flooding.stop(), measured.stop()]);
  }
  const [medianUs, p99Us, longestUs] = STATISTICS.map((name) => aloneAndFlooded(times, name)) as [
    AloneAndFlooded,
    AloneAndFlooded,
    AloneAndFlooded,
  ];
  return {
    ...{ medianUs, p99Us, longestUs, p99Ratio: p99Us.flooded / p99Us.alone },
    floodPerSecond: (1000 * calls) / floodedMs,
  };
}

function aloneAndFlooded(times: string, statistic: (typeof STATISTICS)[number]): AloneAndFlooded {
  const numbers = numbersAfter(times, [`alone-${statistic}`, `flooded-${statistic}`]);
  return {
    alone: (numbers[`alone-${statistic}`] as number) / NS_PER_US,
    flooded: (numbers[`flooded-${statistic}`] as number) / NS_PER_US,
  };
}
