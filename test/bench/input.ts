import type { ChildProcess } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { compileGuestProgram } from '../../host/cli/guest-program.js';
import type { DriverDomain } from '../../host/driver-vm/domain.js';
import { asGuest, besideDriver, numbersAfter } from './programs.js';
import type { Stage } from './stage.js';
import { interleave, summarize } from './statistics.js';

/**
 * From one program's write on uinput to another one's read on the event device that it has made, in microseconds (medians): as two guests,
 * and as two programs beside the driver.
 */
export interface InputResult {
  guestUs: number;
  directUs: number;
  /** What being a guest adds, which of a person's input is all there is to notice. */
  addedUs: number;
  ratio: number;
  /** How much of it is the writer's call. */
  writeUs: { guest: number; direct: number };
  p99: { guest: number; direct: number };
  spread: number;
}

const EVENTS = 300;
const QUICK_EVENTS = 60;
const INTERVAL_US = '3000';
const ROUNDS = 5;
const QUICK_ROUNDS = 2;
const NS_PER_US = 1000;
/** How often the driver VM is asked for its devices, and how long at most. */
const POLL_MS = 50;
const WAIT_MS_MAX = 60_000;

/** Makes a device, reads of it by the program's other half, and ends the first one. */
const BESIDE = `
cd /dev/shm || exit 1
"$0" make "$1" >written & maker=$!
until event=$(grep -lx latency /sys/class/input/event*/device/name 2>/dev/null | cut -d / -f 5) && [ -c "/dev/input/$event" ]; do sleep 0.05; done
"$0" read "/dev/input/$event" "$2" || exit 1
kill $maker; wait $maker && cat written && rm written
`;

type Run = Record<'median' | 'p99' | 'write', number>;

/** Runs both ways in turn. */
export async function benchInput(stage: Stage): Promise<InputResult> {
  const program = compileGuestProgram('latency', 'bench');
  const domain = await stage.vm();
  const events = String(stage.quick ? QUICK_EVENTS : EVENTS);
  const runs = await interleave(
    {
      guest: () => asGuests(domain, program, events),
      direct: async () =>
        runOf(await besideDriver(domain, ['/bin/sh', '-c', BESIDE, program, INTERVAL_US, events])),
    },
    stage.quick ? QUICK_ROUNDS : ROUNDS,
    stage.budget,
  );
  const of = (way: 'guest' | 'direct', what: keyof Run) =>
    summarize(runs[way].map((run) => run[what] / NS_PER_US));
  const [guest, direct] = [of('guest', 'median'), of('direct', 'median')];
  return {
    guestUs: guest.median,
    directUs: direct.median,
    addedUs: guest.median - direct.median,
    ratio: guest.median / direct.median,
    writeUs: { guest: of('guest', 'write').median, direct: of('direct', 'write').median },
    p99: { guest: of('guest', 'p99').median, direct: of('direct', 'p99').median },
    spread: Math.max(guest.spread, direct.spread),
  };
}

const runOf = (output: string): Run => numbersAfter(output, ['median', 'p99', 'write']);

/** The device is there once the first guest has made it, so the second one is started then. */
async function asGuests(domain: DriverDomain, program: string, events: string): Promise<Run> {
  const before = await eventDevices(domain);
  let launcher: ChildProcess | undefined;
  const maker = asGuest(domain, [{ name: 'uinput', path: '/dev/uinput' }], [program, 'make', INTERVAL_US], {
    onLauncher: (started) => {
      launcher = started;
    },
  });
  // Whoever waits for it below sees it fail.
  maker.catch(() => {});
  try {
    const name = await Promise.race([madeSince(domain, before), maker.then(() => Promise.reject(ENDED))]);
    const path = `/dev/${name}`;
    const read = await asGuest(domain, [{ name, path }], [program, 'read', path, events]);
    launcher?.kill('SIGTERM');
    return runOf(read + (await maker));
  } finally {
    launcher?.kill('SIGKILL');
    await maker.catch(() => {});
  }
}

const ENDED = new Error('The guest that makes an input device has ended before it was used.');

async function madeSince(domain: DriverDomain, before: readonly string[]): Promise<string> {
  for (const end = Date.now() + WAIT_MS_MAX; Date.now() < end; await sleep(POLL_MS)) {
    const [made] = (await eventDevices(domain)).filter((name) => !before.includes(name));
    if (made !== undefined) return made;
  }
  throw new Error(`The guest has made no input device within ${WAIT_MS_MAX / 1000} s.`);
}

async function eventDevices(domain: DriverDomain): Promise<string[]> {
  const devices = await domain.devices();
  return devices.map(({ name }) => name).filter((name) => name.startsWith('input/event'));
}
