import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { closeDomain, openDomain } from '../../host/cli/driver-domain.js';
import { compileGuestProgram } from '../../host/cli/guest-program.js';
import { openLog } from '../../host/cli/log.js';
import { ROOT } from '../../host/root.js';
import { asGuest } from './programs.js';
import { summarize } from './statistics.js';

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
  spread: number;
}

const CLI = join(ROOT, 'dist', 'host', 'cli', 'main.js');
const SETUP = join(ROOT, 'host', 'setup', 'bootstrap.mjs');
const CAMERA = { name: 'video0', path: '/dev/video0' };
/** One frame of the smallest size at the highest rate of vivid's webcam. */
const FRAME = ['320', '180', '30', '1'];
const ROUNDS = 5;
const QUICK_ROUNDS = 1;

export async function benchStart(quick: boolean): Promise<StartResult> {
  const program = compileGuestProgram('stream', 'bench');
  const firstFrame = async (mode: 'snapshot' | 'cold'): Promise<void> => {
    const domain = await openDomain({ mode, drivers: ['vivid'] }, openLog({}));
    try {
      await asGuest(domain, [CAMERA], [program, CAMERA.path, ...FRAME]);
    } finally {
      await closeDomain(domain);
    }
  };
  const ways = {
    firstFrameSnapshotMs: () => firstFrame('snapshot'),
    firstFrameColdMs: () => firstFrame('cold'),
    runTrueMs: () =>
      run(process.execPath, [CLI, 'run', '--driver-vm', 'local', '--device', 'ptmx', '--', 'true']),
    trueMs: () => run('true', []),
    vmRunTrueMs: () => run(process.execPath, [CLI, 'vm', 'run', '--device', 'video0', '--', 'true']),
    setupIdleMs: () => run(process.execPath, [SETUP, 'setup']),
  };
  const names = Object.keys(ways) as (keyof typeof ways)[];
  const samples = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<
    keyof typeof ways,
    number[]
  >;
  await firstFrame('snapshot'); // The first start of all takes the snapshot.
  for (let round = 0; round < (quick ? QUICK_ROUNDS : ROUNDS); round++)
    for (const name of names) {
      const began = performance.now();
      await ways[name]();
      samples[name].push(performance.now() - began);
    }
  const medians = Object.fromEntries(names.map((name) => [name, summarize(samples[name]).median])) as Record<
    keyof typeof ways,
    number
  >;
  return { ...medians, spread: summarize(samples.runTrueMs).spread };
}

async function run(command: string, args: string[]): Promise<void> {
  const { status, stderr } = spawnSync(command, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${status}: ${stderr}`);
}
