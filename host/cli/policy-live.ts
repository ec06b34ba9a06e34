import { Command } from 'commander';
import type { PromoteChoice } from './change-candidate.js';
import { classChangeCommand, resultOption } from './policy-options.js';
import { socketOption } from './run.js';
import { plainStatusHelp } from './status.js';

/** What a command about the running host was asked for. */
export interface LiveOptions {
  socket?: string;
  json?: boolean;
}

/** The commands about candidates, and about what a running host has in force. */
export function liveCommands(): Command[] {
  return [promoteCommand(), withdrawCommand(), shadowReportCommand(), statusCommand()];
}

function promoteCommand(): Command {
  return classChangeCommand('promote')
    .summary('put the candidate of a class in force')
    .description(
      'Put the version that judges in shadow in force. A running host that uses the store switches to it at once, and this command tells what came of that.',
    )
    .action(async (deviceClass: string, options: PromoteChoice) => {
      const { promote } = await import('./change-candidate.js');
      await promote(deviceClass, options);
    });
}

function withdrawCommand(): Command {
  return classChangeCommand('withdraw')
    .summary('take the candidate of a class away')
    .description('Take the version that judges in shadow away. What is in force stays.')
    .action(async (deviceClass: string, options: PromoteChoice) => {
      const { withdraw } = await import('./change-candidate.js');
      await withdraw(deviceClass, options);
    });
}

function shadowReportCommand(): Command {
  return new Command('shadow-report')
    .summary('tell where candidates differ from what is in force')
    .description(
      'Tell what the candidates of the running host found: where each would have judged otherwise than the module in force.',
    )
    .addOption(socketOption())
    .addOption(resultOption())
    .addHelpText('after', plainStatusHelp('0: done'))
    .action(async (options: LiveOptions) => {
      const { showShadow } = await import('./show-live.js');
      await showShadow(options);
    });
}

function statusCommand(): Command {
  return new Command('status')
    .summary('tell what the running host has in force')
    .description(
      'Tell for each class which module the running host has in force, which one it would fall back to if that misbehaved, which judges in ' +
        'shadow, and which is quarantined. What a rollback would put in force, `postern policy list` tells.',
    )
    .addOption(socketOption())
    .addOption(resultOption())
    .addHelpText('after', plainStatusHelp('0: done'))
    .action(async (options: LiveOptions) => {
      const { showStatus } = await import('./show-live.js');
      await showStatus(options);
    });
}
