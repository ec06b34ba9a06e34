import type { ChildProcess } from 'node:child_process';
import type { DeviceChoice } from '../../host/cli/device-option.js';
import { openLog } from '../../host/cli/log.js';
import type { DriverDomain } from '../../host/driver-vm/domain.js';
import { type GuestVm, startGuestVm } from '../../host/guest-vm/guest-vm.js';
import { type GuestOptions, type GuestReport, runGuest } from '../../host/mediator/guest.js';

const log = openLog({});

/** Told each line that a program prints, as it comes. */
export type OnLine = (line: string) => void;

/** What a program prints, also line by line. */
class Output {
  readonly #chunks: Buffer[] = [];
  readonly #onLine: OnLine | undefined;
  #rest = '';

  constructor(onLine?: OnLine) {
    this.#onLine = onLine;
  }

  readonly take = (chunk: Buffer): void => {
    this.#chunks.push(chunk);
    if (this.#onLine === undefined) return;
    const lines = (this.#rest + chunk).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) this.#onLine(line);
  };

  /** All of it, if the program went well. */
  ofProgram(program: string | undefined, code: number | null, where: string): string {
    const text = Buffer.concat(this.#chunks).toString();
    if (code !== 0) throw new Error(`${program} ended with ${code} ${where}: ${text}`);
    return text;
  }
}

/** How a program is run as a guest. */
export type AsGuestOptions = Pick<GuestOptions, 'fast' | 'networkAdministration' | 'policies'> & {
  onLine?: OnLine;
  /** Told of the launcher, which passes signals on. */
  onLauncher?: (launcher: ChildProcess) => void;
  /** Told what the mediator has counted, at the end. */
  onReport?: (report: GuestReport) => void;
};

/** Runs a program as a guest and returns what it printed. */
export async function asGuest(
  domain: DriverDomain,
  devices: DeviceChoice[],
  [program = '', ...args]: readonly string[],
  { onLine, onLauncher, onReport, ...options }: AsGuestOptions = {},
): Promise<string> {
  const output = new Output(onLine);
  const report = await runGuest({
    program,
    args,
    devices,
    domain,
    log,
    name: program,
    ...options,
    stdio: ['ignore', 'pipe', 'inherit'],
    onStart: (launcher) => {
      launcher.stdout?.on('data', output.take);
      onLauncher?.(launcher);
    },
  });
  onReport?.(report);
  return output.ofProgram(program, report.exitCode, 'as a guest');
}

/** Runs a program in the driver VM, beside the driver, and returns what it printed. */
export async function besideDriver(
  domain: DriverDomain,
  command: readonly string[],
  onLine?: OnLine,
): Promise<string> {
  const output = new Output(onLine);
  const { code } = await domain.run(command, output.take);
  return output.ofProgram(command[0], code, 'beside the driver');
}

/** A guest VM whose devices a driver VM serves; whoever asks closes it. */
export async function guestVmOf(domain: DriverDomain, devices: DeviceChoice[]): Promise<GuestVm> {
  return await startGuestVm({ domain, devices, log, name: 'guest VM', progress: () => undefined });
}

/** Runs a program in a guest VM and returns what it printed. */
export async function inGuestVm(vm: GuestVm, command: readonly string[], onLine?: OnLine): Promise<string> {
  const output = new Output(onLine);
  const { code } = await vm.run(command, output.take);
  return output.ofProgram(command[0], code, 'in a guest VM');
}

/** The numbers after the given words of a program's line. */
export function numbersAfter<Name extends string>(
  line: string,
  names: readonly Name[],
): Record<Name, number> {
  const entries = names.map((name) => {
    const value = Number(new RegExp(`\\b${name} (-?[\\d.]+)`).exec(line)?.[1]);
    if (Number.isNaN(value)) throw new Error(`There is no number after '${name}' in: ${line}`);
    return [name, value];
  });
  return Object.fromEntries(entries) as Record<Name, number>;
}
