import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { closeDomain, openDomain } from '../../host/cli/driver-domain.js';
import { compileGuestProgram } from '../../host/cli/guest-program.js';
import { openLog } from '../../host/cli/log.js';
import { ROOT } from '../../host/root.js';
import { asGuest } from './programs.js';
import { CAMERA, type Stage } from './stage.js';
import { interleave, summarize } from './statistics.js';

/** Milliseconds, medians. */
export interface StartResult {
  /** From nothing to a guest's first camera frame: a driver VM from its snapshot, and booted. */
  firstFrameSnapshotMs: number;
  firstFrameColdMs: number;
  /** `postern run true` (local driver domain) and `true` itself. */
  runTrueMs: number;
  trueMs: number;
  /** `postern vm run true`, which boots a guest VM (its driver VM comes from the snapshot). */
  vmRunTrueMs: number;
  /** `npm run setup`'s work when there is nothing to do. */
  setupIdleMs: number;
  /** The longest, and the interquartile range as a share, by the names above without `Ms`. */
  longestMs: Record<string, number>;
  spread: Record<string, number>;
}

const CLI = join(ROOT, 'dist', 'host', 'cli', 'main.js');
const SETUP = join(ROOT, 'host', 'setup', 'bootstrap.mjs');
/** One frame of the smallest size at the highest rate of vivid's webcam. */
const FRAME = ['320', '180', '30', '1'];
const ROUNDS = 5;
const QUICK_ROUNDS = 1;

export async function benchStart({ quick, budget }: Stage): Promise<StartResult> {
  const program = compileGuestProgram('stream', 'bench');
  const firstFrame = async (mode: 'snapshot' | 'cold'): Promise<void> => {
    const domain = await openDomain({ mode, drivers: ['vivid'] }, openLog({}));
    try {
      await asGuest(domain, [CAMERA], [program, CAMERA.path, ...FRAME]);
    } finally {
      await closeDomain(domain);
    }
  };
  const postern = (...args: string[]) => run(process.execPath, [CLI, ...args]);
  await firstFrame('snapshot'); // The first start of all takes the snapshot.
  const samples = await interleave(
    {
      firstFrameSnapshot: () => timed(() => firstFrame('snapshot')),
      firstFrameCold: () => timed(() => firstFrame('cold')),
      runTrue: () => timed(() => postern('run', '--driver-vm', 'local', '--device', 'ptmx', '--', 'true')),
      true: () => timed(() => run('true', [])),
      vmRunTrue: () => timed(() => postern('vm', 'run', '--device', 'video0', '--', 'true')),
      setupIdle: () => timed(() => run(process.execPath, [SETUP, 'setup'])),
    },
    quick ? QUICK_ROUNDS : ROUNDS,
    budget,
  );
  const of = (name: keyof typeof samples): number => summarize(samples[name]).median;
  const each = (what: (values: number[]) => number) =>
    Object.fromEntries(Object.entries(samples).map(([name, values]) => [name, what(values)]));
  return {
    firstFrameSnapshotMs: of('firstFrameSnapshot'),
    firstFrameColdMs: of('firstFrameCold'),
    runTrueMs: of('runTrue'),
    trueMs: of('true'),
    vmRunTrueMs: of('vmRunTrue'),
    setupIdleMs: of('setupIdle'),
    longestMs: each((values) => Math.max(...values)),
    spread: each((values) => summarize(values).spread),
  };
}

async function timed(work: () => void | Promise<void>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

function run(command: string, args: string[]): void {
  const { status, stderr } = spawnSync(command, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${status}: ${stderr}`);
}
