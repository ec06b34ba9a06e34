import { execFileSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { closeDomain, openDomain } from '../../host/cli/driver-domain.js';
import { compileGuestProgram } from '../../host/cli/guest-program.js';
import { openLog } from '../../host/cli/log.js';
import { asGuest, numbersAfter } from './programs.js';
import { summarize } from './statistics.js';

/** What a guest pays that never touches a guarded device: ratios to the same program run natively. */
export interface UntouchedResult {
  /** Reads and writes of 64 KiB, of a pipe and a file together. */
  ioRatio: number;
  /** By block size: the ratio, and what one system call costs more, in nanoseconds. */
  blocks: Record<string, { pipeRatio: number; fileRatio: number; pipeNs: number; extraNsPerCall: number }>;
  spread: number;
}

/** What `cat`, `cp` and standard I/O of large files use, and the page that pipes are made of. */
const BLOCKS_BYTES = [65536, 4096] as const;
const BYTES_A_RUN = 1 << 30;
const QUICK_BYTES_A_RUN = 1 << 28;
const ROUNDS = 9;
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
    for (const bytes of BLOCKS_BYTES) {
      const rounds = Math.round((quick ? QUICK_BYTES_A_RUN : BYTES_A_RUN) / bytes / 8);
      const command = [
        program,
        join(tmpdir(), `postern-bench-${process.pid}`),
        String(rounds),
        String(bytes),
      ];
      const samples = { native: [] as IoTimes[], guest: [] as IoTimes[] };
      for (let round = 0; round < ROUNDS; round++) {
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
    return { ioRatio, blocks, spread };
  } finally {
    await closeDomain(domain);
  }
}

type IoTimes = Record<'pipe' | 'file', number>;

const timesOf = (line: string): IoTimes => numbersAfter(line, ['pipe', 'file']);
