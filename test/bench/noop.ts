import { execFileSync } from 'node:child_process';
import { compileGuestProgram, DYNAMICALLY } from '../../host/cli/guest-program.js';
import type { DriverDomain } from '../../host/driver-vm/domain.js';
import type { GuestVm } from '../../host/guest-vm/guest-vm.js';
import { asGuest, inGuestVm, numbersAfter } from './programs.js';
import { CAMERA, type Stage, TERMINAL } from './stage.js';
import { interleave, summarize } from './statistics.js';

/**
 * What one ioctl costs, in microseconds (medians). floor: a bare user-notification supervisor that answers at once; floorCopy: having
 * copied 104 bytes out. transparent: an ioctl without argument through the local driver domain; transparentCopy: one whose 44 bytes go
 * out; verdict: one that the policy refuses. fastLocal, fastVerdict: the same by the fast frontend. vm: VIDIOC_QUERYCAP, 104 bytes
 * out, on vivid in the driver VM; fastVm: by the fast frontend; guestVm: by a program in a guest VM.
 */
export interface NoopResult extends Record<Way, number> {
  /** 99th percentiles by the same names. */
  p99: Record<Way, number>;
  /** Interquartile range of the rounds' medians, as a share. */
  spread: Record<Way, number>;
  /**
   * transparent to floor, and transparentCopy and vm to floorCopy; transparentDomain: transparent to a floor whose supervisor has another
   * process perform the ioctl; what the fast frontend adds to native, to what being trapped adds.
   */
  ratios: {
    transparent: number;
    transparentCopy: number;
    transparentDomain: number;
    vm: number;
    fastLocal: number;
  };
  /**
   * What a step adds to the floor: polling first, borrowing the descriptor, asking whether the thread waits, reading 104 bytes, having
   * another process perform an ioctl.
   */
  stepsUs: Record<(typeof STEPS)[number], number>;
}

const WAYS = [
  'native',
  'floor',
  'floorCopy',
  'verdict',
  'transparent',
  'transparentCopy',
  'fastVerdict',
  'fastLocal',
  'vm',
  'fastVm',
  'guestVm',
] as const;
export type Way = (typeof WAYS)[number];
const STEPS = ['poll', 'borrow', 'valid', 'read', 'domain'] as const;

/** asm-generic/ioctls.h and linux/videodev2.h. */
const TIOCNXCL = '0x540d';
const TIOCSTI = '0x5412';
const TCGETS2 = '0x802c542a';
const VIDIOC_QUERYCAP = '0x80685600';
const QUERYCAP_BYTES = '104';
/** asm-generic/errno-base.h: what the policy says to TIOCSTI. */
const EPERM = '1';
const CALLS_A_RUN = 20_000;
const QUICK_CALLS_A_RUN = 2_000;
/** An operation of a guest VM takes many times as long as the others. */
const GUEST_VM_SHARE = 20;
const ROUNDS = 5;
const QUICK_ROUNDS = 2;
const NS_PER_US = 1000;

type Run = () => Promise<string>;

/** Runs all ways in turn, so that whatever else the machine does meets each. */
export async function benchNoop(stage: Stage): Promise<NoopResult> {
  const { quick } = stage;
  const [local, vm, guestVm] = [await stage.local(), await stage.vm(), await stage.guestVm()];
  const calls = String(quick ? QUICK_CALLS_A_RUN : CALLS_A_RUN);
  const floor = compileGuestProgram('floor', 'bench');
  const ways = waysOf({ calls, floor, local, vm, guestVm });
  const steps = Object.fromEntries(
    STEPS.map((step) => [step, async () => execFileSync(floor, ['0', calls, step]).toString()]),
  ) as Record<(typeof STEPS)[number], Run>;
  const printed = await interleave({ ...ways, ...steps }, quick ? QUICK_ROUNDS : ROUNDS, stage.budget);
  return resultOf(samplesOf(printed));
}

function waysOf({
  calls,
  floor,
  local,
  vm,
  guestVm,
}: {
  calls: string;
  floor: string;
  local: DriverDomain;
  vm: DriverDomain;
  guestVm: GuestVm;
}): Record<Way, Run> {
  const fixed = compileGuestProgram('noop', 'bench');
  const dynamic = compileGuestProgram('noop', 'bench', DYNAMICALLY);
  const fast = { fast: true };
  const fewer = String(Number(calls) / GUEST_VM_SHARE);
  return {
    native: async () => execFileSync(fixed, ['/dev/ptmx', TIOCNXCL, calls]).toString(),
    floor: async () => execFileSync(floor, ['0', calls]).toString(),
    floorCopy: async () => execFileSync(floor, [QUERYCAP_BYTES, calls]).toString(),
    verdict: () => asGuest(local, [TERMINAL], [fixed, TERMINAL.path, TIOCSTI, calls, EPERM]),
    transparent: () => asGuest(local, [TERMINAL], [fixed, TERMINAL.path, TIOCNXCL, calls]),
    transparentCopy: () => asGuest(local, [TERMINAL], [fixed, TERMINAL.path, TCGETS2, calls]),
    fastVerdict: () => asGuest(local, [TERMINAL], [dynamic, TERMINAL.path, TIOCSTI, calls, EPERM], fast),
    fastLocal: () => asGuest(local, [TERMINAL], [dynamic, TERMINAL.path, TIOCNXCL, calls], fast),
    vm: () => asGuest(vm, [CAMERA], [fixed, CAMERA.path, VIDIOC_QUERYCAP, calls]),
    fastVm: () => asGuest(vm, [CAMERA], [dynamic, CAMERA.path, VIDIOC_QUERYCAP, calls], fast),
    guestVm: () => inGuestVm(guestVm, [fixed, CAMERA.path, VIDIOC_QUERYCAP, fewer]),
  };
}

type Samples = Record<string, { medians: number[]; tails: number[] }>;

function samplesOf(printed: Record<string, string[]>): Samples {
  const of = (lines: string[]): Samples[string] => {
    const numbers = lines.map((line) => numbersAfter(line, ['median', 'p99']));
    return {
      medians: numbers.map(({ median }) => median / NS_PER_US),
      tails: numbers.map(({ p99 }) => p99 / NS_PER_US),
    };
  };
  return Object.fromEntries(Object.entries(printed).map(([way, lines]) => [way, of(lines)]));
}

function resultOf(samples: Samples): NoopResult {
  const each = (of: (sample: Samples[string]) => number) =>
    Object.fromEntries(WAYS.map((name) => [name, of(samples[name] as Samples[string])])) as Record<
      Way,
      number
    >;
  const figures = each(({ medians }) => summarize(medians).median);
  const medianOf = (step: string): number => summarize(samples[step]?.medians ?? []).median;
  return {
    ...figures,
    p99: each(({ tails }) => summarize(tails).median),
    spread: each(({ medians }) => summarize(medians).spread),
    ratios: {
      transparent: figures.transparent / figures.floor,
      transparentCopy: figures.transparentCopy / figures.floorCopy,
      transparentDomain: figures.transparent / medianOf('domain'),
      vm: figures.vm / figures.floorCopy,
      fastLocal: (figures.fastLocal - figures.native) / (figures.transparent - figures.native),
    },
    stepsUs: Object.fromEntries(
      STEPS.map((step) => [step, medianOf(step) - figures.floor]),
    ) as NoopResult['stepsUs'],
  };
}
