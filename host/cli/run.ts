import { Command, InvalidArgumentError, Option } from 'commander';
import { type AuditOptions, withAuditLog } from './audit-log.js';
import { type DeviceChoice, parseDevice } from './device-option.js';
import { DOMAIN_MODES, type DomainMode, DRIVERS_DEFAULT } from './domain-choice.js';
import { storeOption, trustOption } from './policy-options.js';

/** What `postern run` was asked for. */
export interface RunOptions extends AuditOptions {
  device?: DeviceChoice[];
  driverVm: DomainMode;
  driver?: string[];
  modules?: string;
  store?: string;
  trust?: string;
  netAdmin?: boolean;
  fast?: boolean;
  /** A running host that must be used. */
  socket?: string;
  /** A driver domain of this command's own, also where a host is running. */
  alone?: boolean;
  verbose?: boolean;
  log?: string;
}

/** Options that say which driver domain is wanted, or that only a domain of one's own can have: a host keeps its own log. */
const DOMAIN_OPTIONS = ['driverVm', 'driver', 'modules', 'store', 'trust', 'auditLog'] as const;

/** `postern run`: a program as a guest. */
export function runCommand(): Command {
  return withAuditLog(new Command('run'))
    .summary('run a program as a guest')
    .description(
      'Run a program as a guest: its device files are there, their drivers are not. Standard input, output and error, ' +
        'signals and the exit status are the program’s own; Postern prints nothing unless it is asked to or fails.',
    )
    .usage('[options] -- PROGRAM [ARGUMENTS...]')
    .argument('<program>', 'the program, looked up in PATH')
    .argument('[arguments...]', 'its arguments')
    .addOption(deviceOption())
    .addOption(driverVmOption())
    .addOption(driverOption())
    .addOption(modulesOption())
    .addOption(storeOption())
    .addOption(trustOption())
    .addOption(socketOption())
    .option('--alone', 'start a driver domain for this guest, also where a host is running')
    .option(
      '--net-admin',
      'keep the right to set up this machine’s network (CAP_NET_ADMIN), for programs that give their tunnel an address; ' +
        'WARNING: the guest may then change every interface, route and packet filter of this machine, not only its own',
    )
    .option(
      '--fast',
      'have dynamically linked programs post their operations in shared memory instead of trapping each (LD_PRELOAD)',
    )
    .option('-v, --verbose', 'tell on standard error what happens')
    .option('--log <file>', 'append what happens to a file, one JSON object a line')
    .passThroughOptions()
    .addHelpText(
      'after',
      '\nExamples:\n' +
        '  postern run -- v4l2-ctl --all\n' +
        '  postern run --driver-vm local --net-admin -- socat TUN:192.0.2.1/24,up STDIO\n' +
        '  postern run --device video0=/dev/video7 -- ffmpeg -i /dev/video7 -frames 1 photo.png\n' +
        '\nWhere a host is running (postern serve), the guest becomes one of its guests, unless this command says which driver domain ' +
        'it wants (--driver-vm, --driver, --modules, --store, --trust, --alone) or logs decisions by itself (--audit-log).\n' +
        '\nExit status: the program’s; 125 when Postern itself fails; a guest that a signal ended ends postern by that signal.',
    )
    .action(async (program: string, programArguments: string[], options: RunOptions, command: Command) => {
      const isChosen = DOMAIN_OPTIONS.some((name) => command.getOptionValueSource(name) === 'cli');
      if (isChosen && options.socket === undefined) options.alone = true;
      // Loaded only now, so that --help and doctor work where nothing is built yet.
      const { runAsGuest } = await import('./run-guest.js');
      await runAsGuest(program, programArguments, options);
    });
}

/** `--device`, shared by the commands that give devices to guests. */
export function deviceOption(): Option {
  return new Option(
    '-d, --device <name[=path]>',
    'a device of the driver domain, and where the guest sees it (repeatable; default: every device that a policy serves)',
  ).argParser(parseDevice);
}

/** `--driver-vm`, shared by the commands that start a driver domain. */
export function driverVmOption(): Option {
  return new Option(
    '--driver-vm <mode>',
    'snapshot: a driver VM from its snapshot; cold: booted anew; local: no VM, this machine’s own devices',
  )
    .choices(DOMAIN_MODES)
    .default('snapshot' satisfies DomainMode);
}

/** `--driver`, shared by the commands that start a driver domain. */
export function driverOption(): Option {
  return new Option(
    '--driver <module>',
    `a kernel module for the driver VM, with its parameters (repeatable; default: ${DRIVERS_DEFAULT.join(', ')})`,
  ).argParser((text: string, before: string[] = []) => {
    if (text.trim() === '')
      throw new InvalidArgumentError("expected a module's name, such as 'vivid n_devs=1'.");
    return [...before, text];
  });
}

/** `--modules`, shared by the commands that start a driver domain. */
export function modulesOption(): Option {
  return new Option(
    '--modules <folder>',
    'kernel modules (NAME.ko) that the driver VM uses in place of its kernel’s own, and perhaps a vmlinux of the same release',
  );
}

/** `--socket`, shared by the commands that speak to a running host. */
export function socketOption(): Option {
  return new Option(
    '--socket <path>',
    'the running host’s socket (default: postern/host.sock in XDG_RUNTIME_DIR; root’s is /run/postern/host.sock)',
  );
}
