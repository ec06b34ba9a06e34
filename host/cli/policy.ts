import { Command } from 'commander';
import { policyCoverageCommand } from './policy-coverage.js';
import { policyBenchCommand, policyDiffCommand, policyTestCommand } from './policy-try.js';

/** `postern policy`: what there is to say and do about policy modules. */
export function policyCommand(): Command {
  return new Command('policy')
    .summary('look at the policy modules')
    .description('Look at the policy modules that judge what guests may do.')
    .addCommand(policyTestCommand())
    .addCommand(policyBenchCommand())
    .addCommand(policyDiffCommand())
    .addCommand(policyCoverageCommand());
}
