import { Command } from 'commander';
import { plainStatusHelp } from './status.js';

/** What `postern policy coverage` was asked for. */
export interface CoverageOptions {
  json?: boolean;
}

/** `postern policy coverage`: is every command of the kernel's headers known to its class? */
export function policyCoverageCommand(): Command {
  return new Command('coverage')
    .summary('compare a class with the kernel’s headers')
    .description(
      'Compare the table of a policy module with the commands that the installed UAPI headers define: which are supported, ' +
        'which are refused on purpose and why, and which are missing.',
    )
    .argument('[class]', 'the device class; default: all')
    .option('--json', 'print the result as JSON: an object for a class, an array for all')
    .addHelpText(
      'after',
      plainStatusHelp('0: every command of the headers is known', '1: a command is missing'),
    )
    .action(async (className: string | undefined, options: CoverageOptions) => {
      const { showCoverage } = await import('./show-coverage.js');
      await showCoverage(className, options);
    });
}
