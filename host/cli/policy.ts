import { Command } from 'commander';
import { authorCommands } from './policy-author.js';
import { policyCoverageCommand } from './policy-coverage.js';
import { storeCommands } from './policy-store.js';

/** `postern policy`: what there is to say and do about policy modules. */
export function policyCommand(): Command {
  const policy = new Command('policy')
    .summary('write, ship and look at policy modules')
    .description('Write, sign, install and look at the policy modules that judge what guests may do.')
    .addCommand(policyCoverageCommand());
  for (const command of [...authorCommands(), ...storeCommands()]) policy.addCommand(command);
  return policy;
}
