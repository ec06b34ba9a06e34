import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { BUILD, NATIVE_TESTS, runToEnd } from './native.js';

/** What the Makefile's FUZZ names; each has seeds in corpus/. */
export const FUZZ_TARGETS = ['plan', 'channel', 'world', 'fast', 'vm'] as const;
export type FuzzTarget = (typeof FUZZ_TARGETS)[number];

/** Longer inputs only repeat what shorter ones do: plans of a hundred entries, a hundred steps of a channel. */
const INPUT_BYTES_MAX = 1024;
/** What a target may take beyond its time: starting with sanitizers on a busy machine. */
const GRACE_MS = 30_000;
/** One input takes microseconds; but libFuzzer looks at the clock, and a busy machine may keep it waiting. */
const INPUT_SECONDS_MAX = 120;
const PROBE =
  'int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n) { return d && n ? 0 : 0; }';

export interface FuzzReport {
  target: FuzzTarget;
  /** How long it was to run. */
  seconds: number;
  executions: number;
  /** Edges of the instrumented code that were reached. */
  edges: number;
  /** Combinations of edges and their counts. */
  features: number;
}

/** Why there can be no fuzzing here, or ''. */
export function fuzzingObstacle(): string {
  mkdirSync(BUILD, { recursive: true });
  const compiler = ['-fsanitize=fuzzer,address,undefined', '-x', 'c', '-', '-o', join(BUILD, 'probe')];
  for (const name of ['clang', 'clang++']) {
    const { error, status, stderr } = spawnSync(name, compiler, { input: PROBE, encoding: 'utf8' });
    if (error) return `${name} is not installed (npm run setup installs it)`;
    // clang++ takes C too; an error of its runtime is what is looked for.
    if (status !== 0 && /clang_rt|cannot find/.test(stderr))
      return `${name} has no libFuzzer or sanitizer runtime (Debian: libclang-rt-14-dev)`;
  }
  return '';
}

/**
 * Runs one target on its seeds and what it makes of them, which it keeps in the build folder for the next run.
 * @throws Error with the target's words and the input, when it finds something
 */
export async function fuzz(target: FuzzTarget, seconds: number): Promise<FuzzReport> {
  const grown = join(BUILD, 'corpus', target);
  const artifacts = join(BUILD, `found-${target}-`);
  mkdirSync(grown, { recursive: true });
  const program = join(BUILD, 'fuzz', `fuzz-${target}`);
  const options = [
    `-max_total_time=${seconds}`,
    `-max_len=${INPUT_BYTES_MAX}`,
    `-artifact_prefix=${artifacts}`,
    '-print_final_stats=1',
    `-timeout=${INPUT_SECONDS_MAX}`,
    grown,
    join(NATIVE_TESTS, 'corpus', target),
  ];
  const { status, errors } = await runToEnd(program, options, seconds * 1000 + GRACE_MS);
  if (status !== 0) {
    const words = errors.split('\n').filter((line) => !/^#\d+|^\s*$|# Uses:/.test(line));
    const input = /Test unit written to (\S+)/.exec(errors)?.[1];
    throw new Error(
      `fuzz-${target} found something (status ${status}):\n${words.slice(-60).join('\n')}\nRun it again by: ${program} ${input ?? grown}`,
    );
  }
  return { target, seconds, ...reportOf(errors) };
}

function reportOf(words: string): Omit<FuzzReport, 'target' | 'seconds'> {
  const executions = Number(/stat::number_of_executed_units:\s*(\d+)/.exec(words)?.[1] ?? 0);
  const last = [...words.matchAll(/cov: (\d+) ft: (\d+)/g)].at(-1);
  return { executions, edges: Number(last?.[1] ?? 0), features: Number(last?.[2] ?? 0) };
}
