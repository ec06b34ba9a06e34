import type { DeviceChoice } from '../../host/cli/device-option.js';
import { openLog } from '../../host/cli/log.js';
import type { DriverDomain } from '../../host/driver-vm/domain.js';
import { type GuestVm, startGuestVm } from '../../host/guest-vm/guest-vm.js';
import { type GuestOptions, runGuest } from '../../host/mediator/guest.js';

const log = openLog({});

/** Runs a program as a guest and returns what it printed. */
export async function asGuest(
  domain: DriverDomain,
  devices: DeviceChoice[],
  [program = '', ...args]: readonly string[],
  options: Pick<GuestOptions, 'fast' | 'networkAdministration'> = {},
): Promise<string> {
  const chunks: Buffer[] = [];
  const { exitCode } = await runGuest({
    program,
    args,
    devices,
    domain,
    log,
    name: program,
    ...options,
    stdio: ['ignore', 'pipe', 'inherit'],
    onStart: (launcher) => launcher.stdout?.on('data', (chunk: Buffer) => chunks.push(chunk)),
  });
  if (exitCode !== 0) throw new Error(`${program} ended with ${exitCode} as a guest.`);
  return Buffer.concat(chunks).toString();
}

/** Runs a program in the driver VM, beside the driver, and returns what it printed. */
export async function besideDriver(domain: DriverDomain, command: readonly string[]): Promise<string> {
  const chunks: Buffer[] = [];
  const { code } = await domain.run(command, (chunk) => chunks.push(chunk));
  const output = Buffer.concat(chunks).toString();
  if (code !== 0) throw new Error(`${command[0]} ended with ${code} beside the driver: ${output}`);
  return output;
}

/** A guest VM whose devices a driver VM serves; whoever asks closes it. */
export async function guestVmOf(domain: DriverDomain, devices: DeviceChoice[]): Promise<GuestVm> {
  return await startGuestVm({ domain, devices, log, name: 'guest VM', progress: () => undefined });
}

/** Runs a program in a guest VM and returns what it printed. */
export async function inGuestVm(vm: GuestVm, command: readonly string[]): Promise<string> {
  const chunks: Buffer[] = [];
  const { code } = await vm.run(command, (chunk) => chunks.push(chunk));
  const output = Buffer.concat(chunks).toString();
  if (code !== 0) throw new Error(`${command[0]} ended with ${code} in a guest VM: ${output}`);
  return output;
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
