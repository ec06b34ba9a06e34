import { Command, InvalidArgumentError, Option } from 'commander';
import { SHARING_MODES, type Sharing } from '../policy/manifest.js';
import { type AuditOptions, withAuditLog } from './audit-log.js';
import type { DeviceChoice } from './device-option.js';
import type { DomainMode } from './domain-choice.js';
import { storeOption, trustOption } from './policy-options.js';
import { deviceOption, driverOption, driverVmOption, modulesOption, socketOption } from './run.js';

/** What `postern serve` was asked for. */
export interface ServeOptions extends AuditOptions {
  device?: DeviceChoice[];
  driverVm: DomainMode;
  driver?: string[];
  modules?: string;
  store?: string;
  trust?: string;
  sharing?: Map<string, Sharing>;
  socket?: string;
  verbose?: boolean;
  log?: string;
}

/** `postern serve`: a live host. */
export function serveCommand(): Command {
  return withAuditLog(new Command('serve'))
    .summary('keep a driver domain warm for guests that come and go')
    .description(
      'Run a host that keeps one driver domain for many guests. While it runs, `postern run` brings its guests to it: the program ' +
        'stays a child of that command, with its terminal, folder and environment. The host ends on SIGTERM or SIGINT, its guests first.',
    )
    .addOption(deviceOption())
    .addOption(driverVmOption())
    .addOption(driverOption())
    .addOption(modulesOption())
    .addOption(storeOption())
    .addOption(trustOption())
    .addOption(sharingOption())
    .addOption(socketOption())
    .option('-v, --verbose', 'tell on standard error what happens')
    .option('--log <file>', 'append what happens to a file, one JSON object a line')
    .addHelpText('after', '\nExample:\n  postern serve & postern run -- v4l2-ctl --all; postern guests')
    .action(async (options: ServeOptions) => {
      const { serveGuests } = await import('./serve-guests.js');
      await serveGuests(options);
    });
}

function sharingOption(): Option {
  return new Option(
    '--sharing <class=mode>',
    `how guests share the devices of a class, in place of what its manifest says: ${SHARING_MODES.join(', ')} (repeatable)`,
  ).argParser((text: string, before: Map<string, Sharing> = new Map()) => {
    const [deviceClass = '', mode = ''] = text.split('=');
    const sharing = SHARING_MODES.find((known) => known === mode);
    if (deviceClass === '' || sharing === undefined)
      throw new InvalidArgumentError(
        `expected CLASS=MODE, such as evdev=foreground; a mode is ${SHARING_MODES.join(', ')}.`,
      );
    return new Map([...before, [deviceClass, sharing]]);
  });
}
