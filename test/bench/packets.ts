import { execFileSync } from 'node:child_process';
import { compileGuestProgram, DYNAMICALLY } from '../../host/cli/guest-program.js';
import type { Budget } from './budget.js';
import { asGuest, numbersAfter } from './programs.js';
import type { Stage } from './stage.js';
import { interleave, summarize } from './statistics.js';

/** By batch size: packets of 1024 bytes, written and read, over the local driver domain. */
export type PacketsResult = Record<string, PacketFigures>;

export interface PacketFigures {
  /** Packets a second: as a guest with the fast frontend, as a trapped guest, and natively. */
  guest: number;
  trapped: number;
  native: number;
  /** guest to native, and trapped to native. */
  ratio: number;
  trappedRatio: number;
  /**
   * The same by two processes that judge nothing (relay.h): what it costs that three parties pass packets on, each in turn on another
   * processor. Packets a second, and to native.
   */
  floor: number;
  floorRatio: number;
  /** guest to floor. */
  toFloor: number;
  /** There: what each party works for a packet, microseconds, what it waits for left out. */
  floorStepsUs: Record<Party, number>;
  /** By these steps: if each party had a processor of its own, the slowest would set the pace. To native; a model, nothing measured. */
  floorRatioByThreeCores: number;
  /** What a packet costs more than natively, by the fast frontend. */
  extraUs: number;
  /** 99th percentiles of a batch that is written and read, microseconds. */
  p99: Record<Way, number>;
  spread: number;
}

type Way = 'guest' | 'trapped' | 'native' | 'floor';
const PARTIES = ['guest', 'middle', 'driver'] as const;
type Party = (typeof PARTIES)[number];

const BATCHES = [1, 8, 32] as const;
const PACKETS_A_RUN = 40_000;
const QUICK_PACKETS_A_RUN = 3_000;
const ROUNDS = 5;
const QUICK_ROUNDS = 2;
const TUNNEL = { name: 'net/tun', path: '/dev/net/tun' };
const US_PER_S = 1e6;
const NS_PER_US = 1000;

interface Run {
  /** Packets a second. */
  rate: number;
  p99: number;
}

type Relayed = Run & Record<Party, number>;

/** Runs natively and as a guest in turn. */
export async function benchPackets(stage: Stage): Promise<PacketsResult> {
  const result: PacketsResult = {};
  for (const [index, batch] of BATCHES.entries())
    result[batch] = await compare(stage, batch, stage.budget.share(BATCHES.length - index));
  return result;
}

async function compare(stage: Stage, batch: number, budget: Budget): Promise<PacketFigures> {
  const program = compileGuestProgram('packets', 'bench', DYNAMICALLY);
  const domain = await stage.local();
  const rounds = Math.round((stage.quick ? QUICK_PACKETS_A_RUN : PACKETS_A_RUN) / batch);
  const command = [program, `pt${process.pid}`, String(batch), String(rounds)];
  const guest = (fast: boolean) => asGuest(domain, [TUNNEL], command, { fast, networkAdministration: true });
  const runs = await interleave(
    {
      native: async () => runOf(execFileSync(program, command.slice(1)).toString()),
      floor: async () => relayedOf(execFileSync(program, [...command.slice(1), 'relayed']).toString()),
      guest: async () => runOf(await guest(true)),
      trapped: async () => runOf(await guest(false)),
    },
    stage.quick ? QUICK_ROUNDS : ROUNDS,
    budget,
  );
  const rate = (way: Way) => summarize(runs[way].map((run) => run.rate));
  const p99 = (way: Way) => summarize(runs[way].map((run) => run.p99 / NS_PER_US)).median;
  const [native, fast, trapped, floor] = [rate('native'), rate('guest'), rate('trapped'), rate('floor')];
  const floorStepsUs = stepsOf(runs.floor as Relayed[]);
  return {
    guest: fast.median,
    trapped: trapped.median,
    native: native.median,
    ratio: fast.median / native.median,
    trappedRatio: trapped.median / native.median,
    floor: floor.median,
    floorRatio: floor.median / native.median,
    toFloor: fast.median / floor.median,
    floorStepsUs,
    floorRatioByThreeCores: US_PER_S / Math.max(...Object.values(floorStepsUs)) / native.median,
    extraUs: US_PER_S / fast.median - US_PER_S / native.median,
    p99: { guest: p99('guest'), trapped: p99('trapped'), native: p99('native'), floor: p99('floor') },
    spread: Math.max(native.spread, fast.spread),
  };
}

function stepsOf(runs: readonly Relayed[]): Record<Party, number> {
  const of = (party: Party): number => summarize(runs.map((run) => run[party] / NS_PER_US)).median;
  return { guest: of('guest'), middle: of('middle'), driver: of('driver') };
}

const relayedOf = (lines: string): Relayed => ({ ...runOf(lines), ...numbersAfter(lines, PARTIES) });

/** Writing and reading take turns, so their rates come together as their times do. */
function runOf(line: string): Run {
  const { write, read, p99 } = numbersAfter(line, ['write', 'read', 'p99']);
  return { rate: 2 / (1 / write + 1 / read), p99 };
}
