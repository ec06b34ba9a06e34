import { execFileSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compileGuestProgram } from '../../host/cli/guest-program.js';
import type { DriverDomain } from '../../host/driver-vm/domain.js';
import type { GuestReport } from '../../host/mediator/guest.js';
import { ROOT } from '../../host/root.js';
import type { Budget } from './budget.js';
import { asGuest, numbersAfter } from './programs.js';
import { type Stage, TERMINAL } from './stage.js';
import { interleave, type Summary, summarize } from './statistics.js';

/** What a guest pays that never touches a guarded device: ratios to the same program run natively. */
export interface UntouchedResult {
  /** Reads and writes of 64 KiB, of a pipe and a file together. */
  ioRatio: number;
  /** A compilation, which opens hundreds of files and starts several programs. */
  compileRatio: number;
  /** How many files a compilation opens, and what that ratio would be if nothing but these opens cost more. */
  compileOpens: number;
  compileRatioByOpens: number;
  /** A script that makes, copies, searches and removes hundreds of small files, with a program for each step. */
  scriptRatio: number;
  /** One open and close of an ordinary file, microseconds: natively, and what a guest pays more for having it trapped. */
  nativeOpenUs: number;
  openUs: number;
  /** A system call that does next to nothing: the ratio, and what the filter, which lets it through, costs, nanoseconds. */
  callRatio: number;
  callExtraNs: number;
  /** By block size: the ratio, and what one system call costs more, in nanoseconds. */
  blocks: Record<string, Block>;
  /** 99th percentile of one open and close, microseconds. */
  p99: { nativeOpenUs: number; guestOpenUs: number };
  spread: Record<'io' | 'compile' | 'script' | 'open', number>;
}

interface Block {
  pipeRatio: number;
  fileRatio: number;
  pipeNs: number;
  extraNsPerCall: number;
}

/** What `cat`, `cp` and standard I/O of large files use, and the page that pipes are made of. */
const BLOCKS_BYTES = [65536, 4096] as const;
const BYTES_A_RUN = 1 << 30;
const QUICK_BYTES_A_RUN = 1 << 28;
const ROUNDS = 9;
const QUICK_ROUNDS = 3;
const COMPILE_ROUNDS = 7;
const OPENS_A_RUN = 20_000;
const QUICK_OPENS_A_RUN = 5_000;
const NS_PER_US = 1000;
/** A source of the project's own that includes the kernel's and the C library's headers. */
const SOURCE = join(ROOT, 'test', 'bench', 'floor.c');
/** The program's loop makes two calls: a write and a read. */
const CALLS_A_ROUND = 2;
const FILES_SCRIPT = `
folder=$(mktemp -d -p /dev/shm) && cd "$folder" || exit 1
trap 'rm -r "$folder"' EXIT
mkdir made && for i in $(seq 300); do echo "a line of $i" >"made/$i"; done
cp -r made copied && cat copied/* | sort | tail -n 1 && grep -rlc 'of 29' copied | wc -l && find . -type f | xargs cksum | wc -l
`;

const TOOK = ['took'] as const;
const OPENS = ['open', 'open99', 'call'] as const;
const IO = ['pipe', 'file'] as const;

interface Both<T> {
  native: T[];
  /** `opens`: how many were trapped, and left to the kernel. */
  guest: (T & { opens: number })[];
}

/** Runs natively and as a guest in turn, over the local driver domain. */
export async function benchUntouched(stage: Stage): Promise<UntouchedResult> {
  const { quick, budget } = stage;
  const domain = await stage.local();
  const rounds = quick ? QUICK_ROUNDS : COMPILE_ROUNDS;
  const object = join(tmpdir(), `postern-bench-${process.pid}.o`);
  const compile = ['/usr/bin/cc', '-O2', '-D_GNU_SOURCE', '-c', SOURCE, '-o', object];
  const compilations = await both(domain, timed(compile), TOOK, rounds, budget.share(4));
  const compiled = summaries(compilations).took;
  rmSync(object, { force: true });
  const script = summaries(
    await both(domain, timed(['/bin/sh', '-c', FILES_SCRIPT]), TOOK, rounds, budget.share(3)),
  ).took;
  const opens = [
    compileGuestProgram('opens', 'bench'),
    SOURCE,
    String(quick ? QUICK_OPENS_A_RUN : OPENS_A_RUN),
  ];
  const { open, call, open99 } = summaries(await both(domain, opens, OPENS, rounds, budget.share(2)));
  const { ioRatio, blocks, spread } = await blocksOf(domain, quick, budget);
  const compileOpens = summarize(compilations.guest.map(({ opens }) => opens)).median;
  return {
    ioRatio,
    compileRatio: ratio(compiled),
    compileOpens,
    compileRatioByOpens:
      1 + (compileOpens * (open.guest.median - open.native.median)) / compiled.native.median,
    scriptRatio: ratio(script),
    nativeOpenUs: open.native.median / NS_PER_US,
    openUs: (open.guest.median - open.native.median) / NS_PER_US,
    callRatio: ratio(call),
    callExtraNs: call.guest.median - call.native.median,
    blocks,
    p99: { nativeOpenUs: open99.native.median / NS_PER_US, guestOpenUs: open99.guest.median / NS_PER_US },
    spread: { io: spread, compile: spreadOf(compiled), script: spreadOf(script), open: spreadOf(open) },
  };
}

/** Runs a command natively and as a guest in turn, and takes the numbers from what it prints. */
async function both<Name extends string>(
  domain: DriverDomain,
  command: readonly string[],
  names: readonly Name[],
  rounds: number,
  budget: Budget,
): Promise<Both<Record<Name, number>>> {
  const [program = '', ...args] = command;
  const native = () => numbersAfter(execFileSync(program, args).toString(), names);
  const guest = async () => {
    let opens = 0;
    const onReport = ({ counters }: GuestReport): void => {
      opens = counters.opensNative;
    };
    return { ...numbersAfter(await asGuest(domain, [TERMINAL], command, { onReport }), names), opens };
  };
  const runs = await interleave<'native' | 'guest', Record<Name, number> & { opens?: number }>(
    { native, guest },
    rounds,
    budget,
  );
  return runs as Both<Record<Name, number>>;
}

interface Compared {
  native: Summary;
  guest: Summary;
}

function summaries<Name extends string>(samples: Both<Record<Name, number>>): Record<Name, Compared> {
  const names = Object.keys(samples.native[0] ?? {}) as Name[];
  const of = (way: keyof Compared, name: Name): Summary => summarize(samples[way].map((run) => run[name]));
  return Object.fromEntries(
    names.map((name) => [name, { native: of('native', name), guest: of('guest', name) }]),
  ) as Record<Name, Compared>;
}

const ratio = ({ native, guest }: Compared): number => guest.median / native.median;
const spreadOf = ({ native, guest }: Compared): number => Math.max(native.spread, guest.spread);

async function blocksOf(
  domain: DriverDomain,
  quick: boolean,
  budget: Budget,
): Promise<Pick<UntouchedResult, 'ioRatio' | 'blocks'> & { spread: number }> {
  const program = compileGuestProgram('io', 'bench');
  const blocks: UntouchedResult['blocks'] = {};
  let [ioRatio, spread] = [Number.NaN, 0];
  for (const [index, bytes] of BLOCKS_BYTES.entries()) {
    const calls = Math.round((quick ? QUICK_BYTES_A_RUN : BYTES_A_RUN) / bytes / 8);
    const file = join(tmpdir(), `postern-bench-${process.pid}`);
    const command = [program, file, String(calls), String(bytes)];
    const part = budget.share(BLOCKS_BYTES.length - index);
    const times = await both(domain, command, IO, quick ? QUICK_ROUNDS : ROUNDS, part);
    const { pipe, file: inFile } = summaries(times);
    spread = Math.max(spread, spreadOf(pipe), spreadOf(inFile));
    blocks[bytes] = {
      pipeRatio: ratio(pipe),
      fileRatio: ratio(inFile),
      pipeNs: pipe.native.median / CALLS_A_ROUND,
      extraNsPerCall: (pipe.guest.median - pipe.native.median) / CALLS_A_ROUND,
    };
    if (bytes === BLOCKS_BYTES[0])
      ioRatio = (pipe.guest.median + inFile.guest.median) / (pipe.native.median + inFile.native.median);
  }
  return { ioRatio, blocks, spread };
}

/** The shell's own clock says how long the command took, so that a guest's start does not count. */
function timed(command: readonly string[]): string[] {
  const script = 'b=$(date +%s%N); "$@" || exit 1; e=$(date +%s%N); echo "took $((e - b))"';
  return ['/bin/sh', '-c', script, 'sh', ...command];
}
