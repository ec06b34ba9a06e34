import { Command } from 'commander';
import type { DomainMode } from './domain-choice.js';
import { storeOption, trustOption } from './policy-options.js';
import { driverOption, driverVmOption, modulesOption } from './run.js';

/** What `postern devices` was asked for. */
export interface DevicesOptions {
  driverVm: DomainMode;
  driver?: string[];
  modules?: string;
  store?: string;
  trust?: string;
  json?: boolean;
}

/** `postern devices`: what a driver domain offers, and which policy judges each. */
export function devicesCommand(): Command {
  return new Command('devices')
    .summary('list the devices of a driver domain and their policies')
    .description(
      'List the character devices that a driver domain offers, the policy module that judges each, and whether guests get it.',
    )
    .addOption(driverVmOption())
    .addOption(driverOption())
    .addOption(modulesOption())
    .addOption(storeOption())
    .addOption(trustOption())
    .option('--json', 'print the list as JSON')
    .addHelpText(
      'after',
      '\nA device without a policy is not given to guests; one that is given on request must be named by --device.',
    )
    .action(async (options: DevicesOptions) => {
      const { listDevices } = await import('./list-devices.js');
      await listDevices(options);
    });
}
