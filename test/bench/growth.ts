import { compileGuestProgram } from '../../host/cli/guest-program.js';
import type { GuestOptions } from '../../host/mediator/guest.js';
import type { Envelope } from '../../host/policy/manifest.js';
import { loadPolicies, type PolicyPackage } from '../../host/policy/store.js';
import { manifested } from '../serve/variants.js';
import type { Budget } from './budget.js';
import type { Stage } from './stage.js';
import { growthExponent, interleave, summarize } from './statistics.js';
import { type Times, WaitingGuest } from './waiting-guest.js';

/** What one operation of a guest costs by how much the guest has: the host must find the one that it means. */
export interface GrowthResult {
  /** By its open files, of TUN in the local driver domain. */
  sessions: Record<string, GrowthFigures>;
  /** By the handles of a file: buffers of vgem in the driver VM. */
  handles: Record<string, GrowthFigures>;
  /** By which power of their number the median grows: 0 not at all, 1 in proportion. */
  exponents: { sessions: number; handles: number };
}

export interface GrowthFigures {
  medianUs: number;
  p99Us: number;
  /** The median to that with one of them. */
  ratioToOne: number;
  spread: number;
}

const COUNTS = [1, 64, 512, 4096] as const;
const QUICK_COUNTS = [1, 4096] as const;
const OPERATIONS = 20_000;
const QUICK_OPERATIONS = 2000;
const ROUNDS = 5;
const QUICK_ROUNDS = 2;
const NS_PER_US = 1000;
const TUNNEL = { name: 'net/tun', path: '/dev/net/tun' };
const CARD = { name: 'dri/card0', path: '/dev/dri/card0' };
/** linux/if_tun.h: TUNGETFEATURES, which a file answers that has no interface. */
const TUNGETFEATURES = '0x800454cf';
/** The classes' own envelopes allow fewer; this is the least that lets the largest count through: an offset is a handle too. */
const MANY = 2 * 4096;

/** Guests with so many each, all there at once, work in turn. */
export async function benchGrowth(stage: Stage): Promise<GrowthResult> {
  const scale = compileGuestProgram('scale', 'bench');
  const buffers = compileGuestProgram('handles', 'bench');
  const tunnel = {
    devices: [TUNNEL],
    domain: await stage.local(),
    policies: policiesWith('tun', { sessionsMax: MANY }),
  };
  const card = {
    devices: [CARD],
    domain: await stage.vm(),
    policies: policiesWith('drm', { handlesMax: MANY }),
  };
  const sessions = await measure(stage, stage.budget.share(2), (count) => ({
    ...tunnel,
    program: scale,
    args: [TUNNEL.path, String(count), TUNGETFEATURES],
  }));
  const handles = await measure(stage, stage.budget, (count) => ({
    ...card,
    program: buffers,
    args: [CARD.path, String(count)],
  }));
  return { sessions, handles, exponents: { sessions: exponentOf(sessions), handles: exponentOf(handles) } };
}

/** The modules that are built, one of them with another envelope. */
function policiesWith(name: string, limits: Partial<Envelope>): PolicyPackage[] {
  return loadPolicies().map((one) =>
    one.manifest.name === name ? manifested(one, { envelope: { ...one.manifest.envelope, ...limits } }) : one,
  );
}

type GuestChoice = Pick<GuestOptions, 'program' | 'args' | 'devices' | 'domain' | 'policies'>;

async function measure(
  { quick }: Stage,
  budget: Budget,
  guestOf: (count: number) => GuestChoice,
): Promise<Record<string, GrowthFigures>> {
  const guests = new Map<number, WaitingGuest>();
  const operations = quick ? QUICK_OPERATIONS : OPERATIONS;
  try {
    for (const count of quick ? QUICK_COUNTS : COUNTS)
      guests.set(count, await WaitingGuest.start(guestOf(count)));
    for (const guest of guests.values()) await guest.work(operations); // Warm.
    const ways = [...guests].map(([count, guest]) => [count, () => guest.work(operations)] as const);
    const times = await interleave(
      Object.fromEntries(ways) as Record<string, () => Promise<Times>>,
      quick ? QUICK_ROUNDS : ROUNDS,
      budget,
    );
    return figuresOf(times);
  } finally {
    await Promise.allSettled([...guests.values()].map((guest) => guest.stop()));
  }
}

function figuresOf(times: Record<string, Times[]>): Record<string, GrowthFigures> {
  const of = (count: string, what: keyof Times) =>
    summarize((times[count] ?? []).map((one) => one[what] / NS_PER_US));
  const one = of('1', 'median').median;
  const figures = Object.keys(times).map((count): [string, GrowthFigures] => {
    const { median, spread } = of(count, 'median');
    return [count, { medianUs: median, p99Us: of(count, 'p99').median, ratioToOne: median / one, spread }];
  });
  return Object.fromEntries(figures);
}

function exponentOf(figures: Record<string, GrowthFigures>): number {
  return growthExponent(Object.entries(figures).map(([count, { medianUs }]) => [Number(count), medianUs]));
}
