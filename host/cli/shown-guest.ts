import type pino from 'pino';
import type { DriverDomain } from '../driver-vm/domain.js';
import { type GuestReport, runGuest } from '../mediator/guest.js';
import { ROOT } from '../root.js';
import type { DeviceChoice } from './device-option.js';

/** A command to run as a guest before an audience. */
export interface ShownCommand {
  domain: DriverDomain;
  log: pino.Logger;
  devices: DeviceChoice[];
  /** The program and its arguments. */
  command: readonly string[];
}

/**
 * Prints the command, then runs it as a guest in the repository's folder, its output shown.
 * @throws Error when it does not end with status 0
 */
export async function runShown({ domain, log, devices, command }: ShownCommand): Promise<GuestReport> {
  const [program = '', ...args] = command;
  say(`\n$ postern run ${devices.map(({ name }) => `--device ${name} `).join('')}-- ${command.join(' ')}`);
  const report = await runGuest({ program, args, devices, domain, log, name: program, directory: ROOT });
  if (report.exitCode === 0) return report;
  throw new Error(
    `The guest '${program}' ended with ${report.signal ?? `status ${report.exitCode}`}, not with 0.`,
  );
}

/** Prints a line for the audience. */
export function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
