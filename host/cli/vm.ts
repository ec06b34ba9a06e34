import { Command } from 'commander';
import { type AuditOptions, withAuditLog } from './audit-log.js';
import type { DeviceChoice } from './device-option.js';
import type { DomainMode } from './domain-choice.js';
import { storeOption, trustOption } from './policy-options.js';
import { deviceOption, driverOption, driverVmOption, modulesOption } from './run.js';

/** What `postern vm run` and `postern vm boot` were asked for. */
export interface VmOptions extends AuditOptions {
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

/** What `postern vm attach` was asked for. */
export interface AttachOptions extends VmOptions {
  socket?: string;
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
    )
    .addCommand(execCommand())
    .addCommand(attachCommand())
    .addCommand(libvirtCommand());
}

function execCommand(): Command {
  return domainOptions(new Command('exec'))
    .summary('run a QEMU of your own, with the devices in its guest')
    .description(
      'Run a QEMU command line as it is, with a device added that the frontend module (native/frontend-linux) drives in its guest. ' +
        'The guest’s memory becomes a file of the host’s; a machine of more than 2 GiB must be a q35.',
    )
    .usage('[options] -- qemu-system-x86_64 [ARGUMENTS...]')
    .argument('<qemu>', 'QEMU, looked up in PATH')
    .argument('[arguments...]', 'its arguments')
    .passThroughOptions()
    .addHelpText(
      'after',
      '\nExample:\n  postern vm exec --driver vivid -- qemu-system-x86_64 -M q35 -m 1G -nographic -drive file=debian.qcow2\n' +
        '\nExit status: QEMU’s; 125 when Postern itself fails.',
    )
    .action(async (qemu: string, qemuArguments: string[], options: VmOptions) => {
      const { execVm } = await import('./attach-vm.js');
      await execVm([qemu, ...qemuArguments], options);
    });
}

function attachCommand(): Command {
  return domainOptions(new Command('attach'))
    .summary('give the devices to VMs that are started elsewhere, as by libvirt')
    .description(
      'Keep a driver VM, and serve every VM whose QEMU is started through native/build/vm-exec with this socket, which ' +
        '`postern vm libvirt --script` does. Ends on SIGTERM or SIGINT, the VMs that it serves first.',
    )
    .option('--socket <path>', 'where VMs find it (default: vms.sock, beside the socket of `postern serve`)')
    .action(async (options: AttachOptions) => {
      const { attachVms } = await import('./attach-vm.js');
      await attachVms(options);
    });
}

function libvirtCommand(): Command {
  return new Command('libvirt')
    .summary('print a domain for libvirt whose guest has the devices')
    .description('Print the XML of such a domain, or with --script the emulator that it names.')
    .option('--script', 'print the emulator script')
    .option('--socket <path>', 'where `postern vm attach` listens')
    .action(async (options: { socket?: string; script?: boolean }) => {
      const { printLibvirt } = await import('./attach-vm.js');
      printLibvirt(options);
    });
}

function vmSubcommand(name: string): Command {
  return domainOptions(new Command(name)).option(
    '--memory <MiB>',
    'the guest VM’s memory (default: 512)',
    (text) => Number(text),
  );
}

function domainOptions(command: Command): Command {
  return withAuditLog(command)
    .addOption(deviceOption())
    .addOption(driverVmOption().choices(['snapshot', 'cold'] satisfies DomainMode[]))
    .addOption(driverOption())
    .addOption(modulesOption())
    .addOption(storeOption())
    .addOption(trustOption())
    .option('-v, --verbose', 'tell on standard error what happens')
    .option('--log <file>', 'append what happens to a file, one JSON object a line');
}
