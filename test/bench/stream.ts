import { closeDomain, openDomain } from '../../host/cli/driver-domain.js';
import { compileGuestProgram } from '../../host/cli/guest-program.js';
import { openLog } from '../../host/cli/log.js';
import type { DriverDomain } from '../../host/driver-vm/domain.js';
import type { GuestVm } from '../../host/guest-vm/guest-vm.js';
import { asGuest, besideDriver, guestVmOf, inGuestVm, numbersAfter } from './programs.js';
import { type Summary, summarize } from './statistics.js';

/** Frames a second of a camera's mmap stream, as a guest, in a guest VM and beside the driver, by size. */
export type StreamResult = Record<
  string,
  {
    guestFps: number;
    directFps: number;
    ratio: number;
    guestVmFps: number;
    guestVmRatio: number;
    spread: number;
    guestLost: number;
    directLost: number;
    guestVmLost: number;
    /** Processor time of the program for one frame, microseconds: what it spends in its calls. */
    guestCpuUs: number;
    directCpuUs: number;
  }
>;

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
const QUICK_MODES = MODES.slice(0, 1);
const SECONDS_A_RUN = 2;
const ROUNDS = 5;
const QUICK_ROUNDS = 3;
const CAMERA = { name: 'video0', path: '/dev/video0' };

/** Runs both ways in turn on one driver VM, so that whatever else the machine does meets both. */
export async function benchStream(quick: boolean): Promise<StreamResult> {
  const program = compileGuestProgram('stream', 'bench');
  const domain = await openDomain({ mode: 'cold', drivers: ['vivid'], shareRoot: true }, openLog({}));
  const guestVm = await guestVmOf(domain, [CAMERA]);
  try {
    const result: StreamResult = {};
    for (const mode of quick ? QUICK_MODES : MODES)
      result[`${mode.width}x${mode.height}`] = await compare(
        { domain, guestVm },
        program,
        mode,
        quick ? QUICK_ROUNDS : ROUNDS,
      );
    return result;
  } finally {
    await guestVm.close();
    await closeDomain(domain);
  }
}

async function compare(
  { domain, guestVm }: { domain: DriverDomain; guestVm: GuestVm },
  program: string,
  { width, height, framesPerSecond }: Mode,
  rounds: number,
): Promise<StreamResult[string]> {
  const frames = framesPerSecond * SECONDS_A_RUN;
  const command = [program, CAMERA.path, ...[width, height, framesPerSecond, frames].map(String)];
  const guest = { fps: [] as number[], cpu: [] as number[], lost: 0 };
  const direct = { fps: [] as number[], cpu: [] as number[], lost: 0 };
  const inVm = { fps: [] as number[], cpu: [] as number[], lost: 0 };
  for (let round = 0; round < rounds; round++) {
    const ways = [
      { into: guest, run: () => asGuest(domain, [CAMERA], command) },
      { into: inVm, run: () => inGuestVm(guestVm, command) },
      { into: direct, run: () => besideDriver(domain, command) },
    ];
    for (const { into, run } of round % 2 === 0 ? ways : ways.reverse()) {
      const { fps, lost, cpu } = numbersAfter(await run(), ['fps', 'lost', 'cpu']);
      into.fps.push(fps);
      into.cpu.push(cpu);
      into.lost += lost;
    }
  }
  const [guestFps, directFps, guestVmFps] = [guest, direct, inVm].map(({ fps }) => summarize(fps)) as [
    Summary,
    Summary,
    Summary,
  ];
  return {
    guestFps: guestFps.median,
    directFps: directFps.median,
    ratio: guestFps.median / directFps.median,
    guestVmFps: guestVmFps.median,
    guestVmRatio: guestVmFps.median / directFps.median,
    spread: Math.max(guestFps.spread, directFps.spread),
    guestLost: guest.lost,
    directLost: direct.lost,
    guestVmLost: inVm.lost,
    guestCpuUs: summarize(guest.cpu).median,
    directCpuUs: summarize(direct.cpu).median,
  };
}
