import { Command } from 'commander';
import type { DeviceChoice } from './device-option.js';
import type { DomainMode } from './domain-choice.js';
import { deviceOption, driverOption, driverVmOption, modulesOption, socketOption } from './run.js';

/** What `postern serve` was asked for. */
export interface ServeOptions {
  device?: DeviceChoice[];
  driverVm: DomainMode;
  driver?: string[];
  modules?: string;
  store?: string;
  socket?: string;
  verbose?: boolean;
  log?: string;
}

/** `postern serve`: a live host. */
export function serveCommand(): Command {
  return new Command('serve')
    .summary('keep a driver domain warm for guests that come and go')
    .description(
      'Run a host that keeps one driver domain for many guests. While it runs, `postern run` brings its guests to it: the program ' +
        'stays a child of that command, with its terminal, folder and environment. The host ends on SIGTERM or SIGINT, its guests first.',
    )
    .addOption(deviceOption())
    .addOption(driverVmOption())
    .addOption(driverOption())
    .addOption(modulesOption())
    .option(
      '--store <folder>',
      'the policy store: what is installed there takes effect at once (default: the modules that are built)',
    )
    .addOption(socketOption())
    .option('-v, --verbose', 'tell on standard error what happens')
    .option('--log <file>', 'append what happens to a file, one JSON object a line')
    .addHelpText('after', '\nExample:\n  postern serve & postern run -- v4l2-ctl --all; postern guests')
    .action(async (options: ServeOptions) => {
      const { serveGuests } = await import('./serve-guests.js');
      await serveGuests(options);
    });
}
