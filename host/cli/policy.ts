import { Command } from 'commander';
import { authorCommands } from './policy-author.js';
import { policyCoverageCommand } from './policy-coverage.js';
import { liveCommands } from './policy-live.js';
import { storeCommands } from './policy-store.js';
import {
  policyBenchCommand,
  policyDiffCommand,
  policyJudgeCommand,
  policyTestCommand,
} from './policy-try.js';

/** `postern policy`: what there is to say and do about policy modules. */
export function policyCommand(): Command {
  const policy = new Command('policy')
    .summary('write, try, ship and look at policy modules')
    .description('Write, try, sign, install and look at the policy modules that judge what guests may do.');
  const trying = [
    policyTestCommand(),
    policyJudgeCommand(),
    policyBenchCommand(),
    policyDiffCommand(),
    policyCoverageCommand(),
  ];
  for (const command of [...authorCommands(), ...trying, ...storeCommands(), ...liveCommands()])
    policy.addCommand(command);
  return policy;
}
