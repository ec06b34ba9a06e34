import { Command, Option } from 'commander';
import type { InstallChoice, RollbackChoice, StoreChoice } from './change-store.js';
import {
  CHANGE_STATUS_HELP,
  classChangeCommand,
  jsonOption,
  PACKAGE_STATUS_HELP,
  storeOption,
  trustOption,
  whyOption,
  withHost,
} from './policy-options.js';

const INSTALL_EXAMPLES = `
Examples:
  postern policy install lamp-0.2.0.postern --why 'the lamp may blink'
  postern policy install --shadow lamp-0.3.0.postern && postern policy shadow-report
`;

/** The commands of whoever runs a host. */
export function storeCommands(): Command[] {
  return [installCommand(), listCommand(), rollbackCommand()];
}

function installCommand(): Command {
  return withHost(new Command('install'))
    .summary('verify a package and put it in force')
    .description(
      'Verify a package, run its test vectors, and put it in force in the policy store, which is made if it is not there. ' +
        'A running host that uses the store switches to it at once, and this command tells what came of that.',
    )
    .argument('<package>', 'the package')
    .addOption(trustOption())
    .addOption(storeOption())
    .option('--allow-unsigned', 'look at no signature (recorded)')
    .option('--allow-downgrade', 'take an older version than this store has seen (recorded)')
    .option('--candidate', 'have it judge beside the version in force, and change nothing')
    .addOption(new Option('--shadow', 'the same as --candidate').implies({ candidate: true }))
    .addOption(whyOption())
    .addOption(jsonOption())
    .addHelpText('after', `${INSTALL_EXAMPLES}${CHANGE_STATUS_HELP}`)
    .action(async (file: string, options: InstallChoice) => {
      const { installPackage } = await import('./change-store.js');
      await installPackage(file, options);
    });
}

function listCommand(): Command {
  return new Command('list')
    .summary('show which modules are in force')
    .description(
      'Show for each class which module is in force, where it came from and who signed it, what was before it, and what is quarantined.',
    )
    .addOption(storeOption())
    .option('--history', 'show what was done to the store, by whom and why')
    .addOption(jsonOption())
    .addHelpText('after', PACKAGE_STATUS_HELP)
    .action(async (options: StoreChoice & { history?: boolean }) => {
      const { listStore } = await import('./list-store.js');
      await listStore(options);
    });
}

function rollbackCommand(): Command {
  return classChangeCommand('rollback')
    .summary('put the version before into force again')
    .description(
      'Put the version before the one in force into force again; after the first, that is the module that came with Postern. Recorded.',
    )
    .action(async (deviceClass: string, options: RollbackChoice) => {
      const { rollBack } = await import('./change-store.js');
      await rollBack(deviceClass, options);
    });
}
