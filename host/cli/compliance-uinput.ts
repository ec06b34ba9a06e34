import { setTimeout as sleep } from 'node:timers/promises';
import type { DriverDomain } from '../driver-vm/domain.js';
import type { Totals, Verdicts } from './compliance-totals.js';
import { compileGuestProgram } from './guest-program.js';

/** How often the driver VM is asked for its devices. */
const POLL_MS = 50;
/** Far above what a program takes to make its device, on a busy machine under emulation. */
const WAIT_MS_MAX = 60_000;
/** The line that the program which makes the device ends with. */
const LAST_LINE = 'device: gain 100';

/**
 * A joystick with force feedback that one program makes, and another one that has it play effects, which finds it by the name that the
 * first one gave it.
 */
const BESIDE =
  '"$0" device & until event=$(grep -lx joystick /sys/class/input/event*/device/name 2>/dev/null | cut -d / -f 5) ' +
  '&& [ -c "/dev/input/$event" ]; do :; done; "$0" effect "/dev/input/$event"; wait';

const feedback = (): string => compileGuestProgram('feedback', 'guests-input');

/** Both programs beside the driver. */
export const uinputCommand = (): readonly string[] => ['sh', '-c', BESIDE, feedback()];

/** Runs a command as a guest that is given the devices of these names. */
export type AsGuest = (devices: readonly string[], command: readonly string[]) => Promise<unknown>;

/**
 * The two programs as two guests: the second one is given what the first one has made.
 * @throws Error when the first one makes nothing
 */
export async function uinputAsGuests(domain: DriverDomain, asGuest: AsGuest): Promise<void> {
  const before = await inputDevices(domain);
  let hasEnded = false;
  const maker = asGuest(['uinput'], [feedback(), 'device']).finally(() => {
    hasEnded = true;
  });
  // Whoever waits for it below sees it fail.
  maker.catch(() => {});
  const end = Date.now() + WAIT_MS_MAX;
  for (;;) {
    const [made] = (await inputDevices(domain)).filter((name) => !before.includes(name));
    if (made !== undefined) {
      await asGuest([made], [feedback(), 'effect', `/dev/${made}`]);
      break;
    }
    if (hasEnded || Date.now() > end) break;
    await sleep(POLL_MS);
  }
  if (!hasEnded && Date.now() > end) throw new Error('The program that makes an input device has made none.');
  await maker;
}

async function inputDevices(domain: DriverDomain): Promise<string[]> {
  const devices = await domain.devices();
  return devices.map(({ name }) => name).filter((name) => name.startsWith('input/event'));
}

/** What each of the two programs said, line by line, whichever came first: `device: 3` to `made input5`. What is not theirs is `other`. */
export function uinputVerdicts(output: string): Verdicts {
  const verdicts = new Map<string, string>();
  const counts = new Map<string, number>();
  for (const line of output.split('\n').filter((text) => text !== '')) {
    const [, who = 'other', said = line] = line.match(/^(device|effect): (.*)$/) ?? [];
    const count = (counts.get(who) ?? 0) + 1;
    counts.set(who, count);
    verdicts.set(`${who}: ${count}`, said);
  }
  return verdicts;
}

/**
 * How many lines were said; one of neither program's tells what has failed.
 * @throws Error with the end of `output` when the last line is missing
 */
export function uinputTotals(output: string): Totals {
  if (!output.includes(LAST_LINE))
    throw new Error(
      `The device was not used to its end, as '${LAST_LINE}' would tell. The output ends with:\n${output.slice(-1000)}`,
    );
  const tests = [...uinputVerdicts(output).keys()];
  const failed = tests.filter((test) => test.startsWith('other')).length;
  return { passed: tests.length - failed, failed };
}
