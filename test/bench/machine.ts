import { readFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';

/** What figures were taken on. */
export interface Machine {
  processor: string;
  processors: number;
  memoryGb: number;
  kernel: string;
  node: string;
  /** What sets the processors' clocks, such as `performance`; `none visible` in most virtual machines. */
  governor: string;
  /** What QEMU runs the driver VM and guest VMs by: a processor that it emulates, or this one. */
  accelerator: 'tcg' | 'kvm';
}

/** When figures were taken, and what else the machine did then. */
export interface Moment {
  /** RFC 3339. */
  date: string;
  /** Processes that wanted to run when the benchmark began, over a minute. */
  load: number;
  /** How long the benchmark took. */
  seconds: number;
}

const BYTES_PER_GB = 2 ** 30;
const GOVERNOR = '/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor';

/** Describes this machine. */
export function describeMachine(): Machine {
  const all = cpus();
  return {
    processor: all[0]?.model.trim() ?? 'unknown',
    processors: all.length,
    memoryGb: Math.round(totalmem() / BYTES_PER_GB),
    kernel: release(),
    node: process.version,
    governor: contentOf(GOVERNOR) ?? 'none visible',
    // The default of host/driver-vm/driver-vm.ts, which no benchmark changes.
    accelerator: 'tcg',
  };
}

/** Runs a benchmark, and says when that was. */
export async function atMoment<T>(work: () => Promise<T>): Promise<{ result: T; moment: Moment }> {
  const load = loadavg()[0] ?? 0;
  const date = new Date();
  const result = await work();
  const seconds = (Date.now() - date.getTime()) / 1000;
  return { result, moment: { date: date.toISOString(), load, seconds } };
}

function contentOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return undefined;
  }
}
