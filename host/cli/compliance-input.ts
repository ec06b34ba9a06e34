import { setTimeout as sleep } from 'node:timers/promises';
import type { DriverVm, InputEvent } from '../driver-vm/driver-vm.js';
import type { Totals, Verdicts } from './compliance-totals.js';

/** What is sent to the emulated keyboard, mouse and tablet, a packet each; the last of each device is its mark of the end. */
const PACKETS: readonly (readonly InputEvent[])[] = [
  press('a'),
  [...press('shift'), ...press('z')],
  [rel('x', 5), rel('y', -7)],
  [rel('x', -300)],
  [button('left', true), abs('x', 0), abs('y', 0)],
  [abs('x', 1000), abs('y', 32767)],
  [button('left', false)],
  press('f12'),
  [rel('y', 77)],
  [abs('y', 12345)],
];
/** By device, what evtest says of its mark of the end. */
const LAST_LINES: ReadonlyMap<string, string> = new Map([
  ['event1', 'KEY_F12), value 0'],
  ['event2', 'REL_Y), value 77'],
  ['event3', 'ABS_Y), value 12345'],
]);
/** How often the output is looked at. */
const POLL_MS = 20;
/** Far above what a program takes to show what it has read, on a busy machine under emulation. */
const WAIT_MS_MAX = 60_000;

/**
 * Runs evtest on all three devices at once. Each one's output is cut off after its mark of the end, and its next event then finds
 * nobody who reads what it prints.
 */
export const INPUT_COMMAND: readonly string[] = [
  'sh',
  '-c',
  `${[...LAST_LINES].map(watching).join('')} wait`,
];

function watching([device, lastLine]: [string, string]): string {
  return `stdbuf -oL evtest /dev/input/${device} 2>&1 | sed -u 's/^/${device}: /; /${lastLine}/q' &`;
}

function press(key: string): InputEvent[] {
  return [true, false].map((down) => ({ type: 'key', data: { down, key: { type: 'qcode', data: key } } }));
}

function rel(axis: 'x' | 'y', value: number): InputEvent {
  return { type: 'rel', data: { axis, value } };
}

function abs(axis: 'x' | 'y', value: number): InputEvent {
  return { type: 'abs', data: { axis, value } };
}

function button(name: 'left', down: boolean): InputEvent {
  return { type: 'btn', data: { down, button: name } };
}

/**
 * Injects the packets once every evtest is listening, and ends them all.
 * @param output what has been printed so far
 * @param hasEnded whether the programs have ended
 * @throws Error with the end of the output when something expected does not come
 */
export async function injectInput(
  vm: DriverVm,
  output: () => string,
  hasEnded: () => boolean,
): Promise<void> {
  await until(() => output().split('Testing ...').length > LAST_LINES.size, output);
  for (const packet of PACKETS) await vm.sendInput(packet);
  await until(() => [...LAST_LINES.values()].every((line) => output().includes(line)), output);
  for (const end = Date.now() + WAIT_MS_MAX; !hasEnded(); await sleep(POLL_MS)) {
    if (Date.now() > end) throw incomplete(output());
    await vm.sendInput([...press('b'), rel('x', 1), abs('x', Date.now() % 1000)]);
  }
}

async function until(condition: () => boolean, output: () => string): Promise<void> {
  for (const end = Date.now() + WAIT_MS_MAX; !condition(); await sleep(POLL_MS))
    if (Date.now() > end) throw incomplete(output());
}

function incomplete(output: string): Error {
  return new Error(`evtest did not show what was injected. Its output ends with:\n${output.slice(-1000)}`);
}

/** Every line of every device, without its time: `event1: 12` to `Event: type 1 (EV_KEY), code 30 (KEY_A), value 1`. */
export function inputVerdicts(output: string): Verdicts {
  const verdicts = new Map<string, string>();
  const counts = new Map<string, number>();
  for (const [, device = '', line = ''] of output.matchAll(/^(event\d+): (.*)$/gm)) {
    const count = (counts.get(device) ?? 0) + 1;
    counts.set(device, count);
    verdicts.set(`${device}: ${count}`, line.replace(/time \d+\.\d+, /, ''));
  }
  return verdicts;
}

/** How many events were shown; evtest has no tests that fail. */
export function inputTotals(output: string): Totals {
  return { passed: [...output.matchAll(/^event\d+: Event: time/gm)].length, failed: 0 };
}
