import { Command } from 'commander';
import type { DeviceChoice } from './device-option.js';
import type { DomainMode } from './domain-choice.js';
import { storeOption, trustOption } from './policy-options.js';
import { deviceOption, driverOption, driverVmOption, modulesOption } from './run.js';

/** What `postern vm run` and `postern vm boot` were asked for. */
export interface VmOptions {
  device?: DeviceChoice[];
  driverVm: DomainMode;
  driver?: string[];
  modules?: string;
  store?: string;
  trust?: string;
  memory?: number;
  verbose?: boolean;
  log?: string;
}

/** `postern vm`: guests that are virtual machines. */
export function vmCommand(): Command {
  return new Command('vm')
    .summary('run a program in a guest that is a virtual machine')
    .enablePositionalOptions()
    .addCommand(
      vmSubcommand('run')
        .summary('boot a guest VM, run a program in it, and end it')
        .description(
          'Boot a VM on Debian’s kernel with this machine’s files, over which it writes into memory of its own, and run a program in ' +
            'it. Device files are there by the frontend module; their drivers are in another VM. Standard input, output and error ' +
            'and the exit status are the program’s own.',
        )
        .usage('[options] -- PROGRAM [ARGUMENTS...]')
        .argument('<program>', 'the program, looked up in the PATH of a login')
        .argument('[arguments...]', 'its arguments')
        .passThroughOptions()
        .addHelpText(
          'after',
          '\nExamples:\n' +
            '  postern vm run -- v4l2-ctl --all\n' +
            '  postern vm run --driver snd-aloop -- aplay -l\n' +
            '\nFiles that only root may read are not there: the VM reads this machine’s files as nobody. ' +
            '\nExit status: the program’s; 125 when Postern itself fails.',
        )
        .action(async (program: string, programArguments: string[], options: VmOptions) => {
          const { runInVm } = await import('./run-vm.js');
          await runInVm([program, ...programArguments], options);
        }),
    )
    .addCommand(
      vmSubcommand('boot')
        .summary('boot a guest VM and keep it up, with a shell on standard input')
        .description(
          'Boot a guest VM as `vm run` does, and read commands for it from standard input until that ends or one is `exit`.',
        )
        .action(async (options: VmOptions) => {
          const { runInVm } = await import('./run-vm.js');
          process.stderr.write('postern: the guest VM boots; its shell reads from here\n');
          await runInVm(['sh', ...(process.stdin.isTTY ? ['-i'] : [])], options);
        }),
    );
}

function vmSubcommand(name: string): Command {
  return new Command(name)
    .addOption(deviceOption())
    .addOption(driverVmOption().choices(['snapshot', 'cold'] satisfies DomainMode[]))
    .addOption(driverOption())
    .addOption(modulesOption())
    .addOption(storeOption())
    .addOption(trustOption())
    .option('--memory <MiB>', 'the guest VM’s memory (default: 512)', (text) => Number(text))
    .option('-v, --verbose', 'tell on standard error what happens')
    .option('--log <file>', 'append what happens to a file, one JSON object a line');
}
