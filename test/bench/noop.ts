import { execFileSync } from 'node:child_process';
import { closeDomain, openDomain } from '../../host/cli/driver-domain.js';
import { compileGuestProgram } from '../../host/cli/guest-program.js';
import { openLog } from '../../host/cli/log.js';
import { asGuest, numbersAfter } from './programs.js';
import { summarize } from './statistics.js';

/**
 * What one ioctl costs, in microseconds (medians). floor: a bare user-notification supervisor that answers at once; floorCopy: having
 * copied 104 bytes out. transparent: an ioctl without argument through the local driver domain; transparentCopy: one whose 44 bytes go
 * out; vm: VIDIOC_QUERYCAP, 104 bytes out, on vivid in the driver VM.
 */
export interface NoopResult {
  native: number;
  floor: number;
  floorCopy: number;
  transparent: number;
  transparentCopy: number;
  vm: number;
  /** 99th percentiles by the same names. */
  p99: Record<Way, number>;
  /** transparent to floor, and transparentCopy and vm to floorCopy. */
  ratios: { transparent: number; transparentCopy: number; vm: number };
}

type Way = 'native' | 'floor' | 'floorCopy' | 'transparent' | 'transparentCopy' | 'vm';

/** asm-generic/ioctls.h and linux/videodev2.h. */
const TIOCNXCL = '0x540d';
const TCGETS2 = '0x802c542a';
const VIDIOC_QUERYCAP = '0x80685600';
const QUERYCAP_BYTES = '104';
const TERMINAL = { name: 'ptmx', path: '/dev/ptmx' };
const CAMERA = { name: 'video0', path: '/dev/video0' };
const CALLS_A_RUN = 20_000;
const QUICK_CALLS_A_RUN = 5_000;
const ROUNDS = 5;
const NS_PER_US = 1000;

/** Runs all ways in turn, so that whatever else the machine does meets each. */
export async function benchNoop(quick: boolean): Promise<NoopResult> {
  const program = compileGuestProgram('noop', 'bench');
  const floor = compileGuestProgram('floor', 'bench');
  const calls = String(quick ? QUICK_CALLS_A_RUN : CALLS_A_RUN);
  const local = await openDomain({ mode: 'local', drivers: [] }, openLog({}));
  const vm = await openDomain({ mode: 'snapshot', drivers: ['vivid'] }, openLog({}));
  const natively = async (command: string, ...args: string[]) => execFileSync(command, args).toString();
  const ways: Record<Way, () => Promise<string>> = {
    native: () => natively(program, '/dev/ptmx', TIOCNXCL, calls),
    floor: () => natively(floor, '0', calls),
    floorCopy: () => natively(floor, QUERYCAP_BYTES, calls),
    transparent: () => asGuest(local, [TERMINAL], [program, TERMINAL.path, TIOCNXCL, calls]),
    transparentCopy: () => asGuest(local, [TERMINAL], [program, TERMINAL.path, TCGETS2, calls]),
    vm: () => asGuest(vm, [CAMERA], [program, CAMERA.path, VIDIOC_QUERYCAP, calls]),
  };
  const names = Object.keys(ways) as Way[];
  const medians = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<Way, number[]>;
  const tails = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<Way, number[]>;
  try {
    for (let round = 0; round < ROUNDS; round++) {
      for (const name of names) {
        const { median, p99 } = numbersAfter(await ways[name](), ['median', 'p99']);
        medians[name].push(median / NS_PER_US);
        tails[name].push(p99 / NS_PER_US);
      }
    }
  } finally {
    await closeDomain(vm);
    await closeDomain(local);
  }
  const of = (from: Record<Way, number[]>) =>
    Object.fromEntries(names.map((name) => [name, summarize(from[name]).median])) as Record<Way, number>;
  const figures = of(medians);
  return {
    ...figures,
    p99: of(tails),
    ratios: {
      transparent: figures.transparent / figures.floor,
      transparentCopy: figures.transparentCopy / figures.floorCopy,
      vm: figures.vm / figures.floorCopy,
    },
  };
}
