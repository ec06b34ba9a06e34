import { compileGuestProgram } from '../../host/cli/guest-program.js';
import type { Budget } from './budget.js';
import { processorSeconds } from './process-tree.js';
import { asGuest, besideDriver, inGuestVm, numbersAfter, type OnLine } from './programs.js';
import { CAMERA, type Stage } from './stage.js';
import { interleave, summarize } from './statistics.js';

/** Frames a second of a camera's mmap stream, as a guest, in a guest VM and beside the driver, by size. */
export type StreamResult = Record<string, StreamFigures>;

export interface StreamFigures {
  guestFps: number;
  directFps: number;
  ratio: number;
  guestVmFps: number;
  guestVmRatio: number;
  spread: number;
  /** Frames that the driver made and the program never saw. */
  guestLost: number;
  directLost: number;
  guestVmLost: number;
  /** From frame to frame, milliseconds. */
  p99GapMs: Record<Way, number>;
  /** Processor time for one frame, microseconds, of everything: the program, Postern, and QEMU with the driver in it. */
  guestCpuUs: number;
  directCpuUs: number;
  guestVmCpuUs: number;
}

type Way = 'guest' | 'direct' | 'guestVm';

interface Mode {
  width: number;
  height: number;
  framesPerSecond: number;
}

/** vivid's webcam sizes; the rates are what the emulated processor can draw. */
const MODES: readonly Mode[] = [
  { width: 640, height: 360, framesPerSecond: 30 },
  { width: 640, height: 480, framesPerSecond: 15 },
  { width: 1280, height: 720, framesPerSecond: 10 },
  { width: 1920, height: 1080, framesPerSecond: 5 },
];
const QUICK_MODES = MODES.slice(1, 2);
const SECONDS_A_RUN = 2;
const QUICK_SECONDS_A_RUN = 1;
const ROUNDS = 5;
const QUICK_ROUNDS = 2;
const US_PER_S = 1e6;

/** Runs all ways in turn on one driver VM. */
export async function benchStream(stage: Stage): Promise<StreamResult> {
  const result: StreamResult = {};
  const modes = stage.quick ? QUICK_MODES : MODES;
  for (const [index, mode] of modes.entries())
    result[`${mode.width}x${mode.height}`] = await compare(
      stage,
      mode,
      stage.budget.share(modes.length - index),
    );
  return result;
}

interface Run {
  fps: number;
  lost: number;
  gap99: number;
  cpuUs: number;
}

async function compare(
  stage: Stage,
  { width, height, framesPerSecond }: Mode,
  budget: Budget,
): Promise<StreamFigures> {
  const program = compileGuestProgram('stream', 'bench');
  const [domain, guestVm] = [await stage.vm(), await stage.guestVm()];
  const frames = framesPerSecond * (stage.quick ? QUICK_SECONDS_A_RUN : SECONDS_A_RUN);
  const command = [program, CAMERA.path, ...[width, height, framesPerSecond, frames].map(String)];
  const runs = await interleave(
    {
      guest: () => timed(frames, (onLine) => asGuest(domain, [CAMERA], command, { onLine })),
      guestVm: () => timed(frames, (onLine) => inGuestVm(guestVm, command, onLine)),
      direct: () => timed(frames, (onLine) => besideDriver(domain, command, onLine)),
    },
    stage.quick ? QUICK_ROUNDS : ROUNDS,
    budget,
  );
  return figuresOf(runs);
}

/** Runs a stream, and counts the processor's time from its first frame to its last. */
async function timed(frames: number, run: (onLine: OnLine) => Promise<string>): Promise<Run> {
  const seconds: number[] = [];
  const output = await run(() => seconds.push(processorSeconds()));
  const [began = Number.NaN, ended = Number.NaN] = seconds;
  return {
    ...numbersAfter(output, ['fps', 'lost', 'gap99']),
    cpuUs: ((ended - began) * US_PER_S) / frames,
  };
}

function figuresOf(runs: Record<Way, Run[]>): StreamFigures {
  const of = (way: Way, what: keyof Run) => summarize(runs[way].map((run) => run[what]));
  const lost = (way: Way) => runs[way].reduce((sum, run) => sum + run.lost, 0);
  const fps = { guest: of('guest', 'fps'), direct: of('direct', 'fps'), guestVm: of('guestVm', 'fps') };
  return {
    guestFps: fps.guest.median,
    directFps: fps.direct.median,
    ratio: fps.guest.median / fps.direct.median,
    guestVmFps: fps.guestVm.median,
    guestVmRatio: fps.guestVm.median / fps.direct.median,
    spread: Math.max(fps.guest.spread, fps.direct.spread),
    guestLost: lost('guest'),
    directLost: lost('direct'),
    guestVmLost: lost('guestVm'),
    p99GapMs: {
      guest: of('guest', 'gap99').median,
      direct: of('direct', 'gap99').median,
      guestVm: of('guestVm', 'gap99').median,
    },
    guestCpuUs: of('guest', 'cpuUs').median,
    directCpuUs: of('direct', 'cpuUs').median,
    guestVmCpuUs: of('guestVm', 'cpuUs').median,
  };
}
