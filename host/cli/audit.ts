import { Command } from 'commander';
import { type TryOptions, withGenerator } from './policy-try.js';

/** `postern audit`: what modules are allowed, and what they did. */
export function auditCommand(): Command {
  return new Command('audit')
    .summary('check policy modules, and what was decided')
    .description('Check policy modules against isolation rules, and what was decided against its log.')
    .addCommand(checkCommand());
}

function checkCommand(): Command {
  return withGenerator(
    new Command('check')
      .summary('run the battery of isolation rules against a module')
      .description(
        'Run a battery of isolation rules against a module, ours or a stranger’s: no grant outside the arguments, single fetch, no ' +
          'handle of another guest, deny by default, bounded plans, termination, and more. The module runs as in a host: metered, ' +
          'with the contract’s only import, on the memory of a pretended guest.',
      )
      .argument('<module>', 'a class, a package, or a file NAME.component.wasm with its manifest beside it'),
  )
    .addHelpText('after', '\nExit status: 0, 1 when a rule is broken, 125 when Postern itself fails.')
    .action(async (module: string, options: TryOptions) => {
      const { showCheck } = await import('./show-check.js');
      await showCheck(module, options);
    });
}
