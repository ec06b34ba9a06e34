import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { closeDomain, openDomain } from '../../host/cli/driver-domain.js';
import { compileGuestProgram } from '../../host/cli/guest-program.js';
import { openLog } from '../../host/cli/log.js';
import type { DriverDomain } from '../../host/driver-vm/domain.js';
import { ROOT } from '../../host/root.js';
import { asGuest, numbersAfter } from './programs.js';
import { summarize } from './statistics.js';

/** What a guest pays that never touches a guarded device: ratios to the same program run natively. */
export interface UntouchedResult {
  /** Reads and writes of 64 KiB, of a pipe and a file together. */
  ioRatio: number;
  /** A compilation, which opens hundreds of files and starts several programs. */
  compileRatio: number;
  /** One open and close of an ordinary file, microseconds: natively, and what a guest pays more for having it trapped. */
  nativeOpenUs: number;
  openUs: number;
  /** A system call that the filter lets through: what it costs more, nanoseconds. */
  callExtraNs: number;
  /** By block size: the ratio, and what one system call costs more, in nanoseconds. */
  blocks: Record<string, { pipeRatio: number; fileRatio: number; pipeNs: number; extraNsPerCall: number }>;
  spread: number;
}

/** What `cat`, `cp` and standard I/O of large files use, and the page that pipes are made of. */
const BLOCKS_BYTES = [65536, 4096] as const;
const BYTES_A_RUN = 1 << 30;
const QUICK_BYTES_A_RUN = 1 << 28;
const ROUNDS = 9;
const QUICK_ROUNDS = 3;
const COMPILE_ROUNDS = 7;
const OPENS_A_RUN = 20_000;
const NS_PER_US = 1000;
const NS_PER_MS = 1e6;
/** A source of the project's own that includes the kernel's and the C library's headers. */
const SOURCE = join(ROOT, 'test', 'bench', 'floor.c');
const TERMINAL = { name: 'ptmx', path: '/dev/ptmx' };
/** The program's loop makes two calls: a write and a read. */
const CALLS_A_ROUND = 2;

/** Runs natively and as a guest in turn. */
export async function benchUntouched(quick: boolean): Promise<UntouchedResult> {
  const program = compileGuestProgram('io', 'bench');
  const domain = await openDomain({ mode: 'local', drivers: [] }, openLog({}));
  try {
    const blocks: UntouchedResult['blocks'] = {};
    let spread = 0;
    let ioRatio = Number.NaN;
    const { compileRatio, ...opens } = await compileAndOpens(domain, quick);
    for (const bytes of BLOCKS_BYTES) {
      const rounds = Math.round((quick ? QUICK_BYTES_A_RUN : BYTES_A_RUN) / bytes / 8);
      const command = [
        program,
        join(tmpdir(), `postern-bench-${process.pid}`),
        String(rounds),
        String(bytes),
      ];
      const samples = { native: [] as IoTimes[], guest: [] as IoTimes[] };
      for (let round = 0; round < (quick ? QUICK_ROUNDS : ROUNDS); round++) {
        samples.native.push(timesOf(execFileSync(program, command.slice(1)).toString()));
        samples.guest.push(timesOf(await asGuest(domain, [TERMINAL], command)));
      }
      const median = (way: IoTimes[], of: keyof IoTimes) => summarize(way.map((times) => times[of]));
      const [nativePipe, guestPipe] = [median(samples.native, 'pipe'), median(samples.guest, 'pipe')];
      const [nativeFile, guestFile] = [median(samples.native, 'file'), median(samples.guest, 'file')];
      spread = Math.max(spread, nativePipe.spread, guestPipe.spread, nativeFile.spread, guestFile.spread);
      blocks[bytes] = {
        pipeRatio: guestPipe.median / nativePipe.median,
        fileRatio: guestFile.median / nativeFile.median,
        pipeNs: nativePipe.median / CALLS_A_ROUND,
        extraNsPerCall: (guestPipe.median - nativePipe.median) / CALLS_A_ROUND,
      };
      if (bytes === BLOCKS_BYTES[0])
        ioRatio = (guestPipe.median + guestFile.median) / (nativePipe.median + nativeFile.median);
    }
    return { ioRatio, compileRatio, ...opens, blocks, spread };
  } finally {
    await closeDomain(domain);
  }
}

type Untrapped = Pick<UntouchedResult, 'compileRatio' | 'nativeOpenUs' | 'openUs' | 'callExtraNs'>;

/** A compiler's run and a program that opens files, natively and as a guest in turn. */
async function compileAndOpens(domain: DriverDomain, quick: boolean): Promise<Untrapped> {
  const opens = [compileGuestProgram('opens', 'bench'), SOURCE, String(OPENS_A_RUN)];
  const object = join(tmpdir(), `postern-bench-${process.pid}.o`);
  const compile = ['/usr/bin/cc', '-O2', '-D_GNU_SOURCE', '-c', SOURCE, '-o', object];
  const native = ([program = '', ...args]: string[]) => execFileSync(program, args).toString();
  const samples = { native: [] as number[], guest: [] as number[] };
  const times = { native: [] as Opens[], guest: [] as Opens[] };
  for (let round = 0; round < (quick ? QUICK_ROUNDS : COMPILE_ROUNDS); round++) {
    samples.native.push(tookMs(native(timed(compile))));
    samples.guest.push(tookMs(await asGuest(domain, [TERMINAL], timed(compile))));
    times.native.push(numbersAfter(native(opens), ['open', 'call']));
    times.guest.push(numbersAfter(await asGuest(domain, [TERMINAL], opens), ['open', 'call']));
  }
  rmSync(object, { force: true });
  const median = (way: Opens[], of: keyof Opens) => summarize(way.map((one) => one[of])).median;
  return {
    compileRatio: summarize(samples.guest).median / summarize(samples.native).median,
    nativeOpenUs: median(times.native, 'open') / NS_PER_US,
    openUs: (median(times.guest, 'open') - median(times.native, 'open')) / NS_PER_US,
    callExtraNs: median(times.guest, 'call') - median(times.native, 'call'),
  };
}

type Opens = Record<'open' | 'call', number>;

/** The shell's own clock says how long the command took, so that a guest's start does not count. */
function timed(command: string[]): string[] {
  const script = 'b=$(date +%s%N); "$@" || exit 1; e=$(date +%s%N); echo "took $((e - b))"';
  return ['/bin/sh', '-c', script, 'sh', ...command];
}

const tookMs = (line: string): number => numbersAfter(line, ['took']).took / NS_PER_MS;

type IoTimes = Record<'pipe' | 'file', number>;

const timesOf = (line: string): IoTimes => numbersAfter(line, ['pipe', 'file']);
