import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, CommanderError } from 'commander';
import { ROOT } from '../root.js';
import { auditCommand } from './audit.js';
import { completionCommand } from './completion.js';
import { devicesCommand } from './devices.js';
import { doctorCommand } from './doctor.js';
import { messageOf } from './failure.js';
import { foregroundCommand } from './foreground.js';
import { guestsCommand } from './guests.js';
import { policyCommand } from './policy.js';
import { replayCommand } from './replay.js';
import { runCommand } from './run.js';
import { serveCommand } from './serve.js';
import { FAILURE_STATUS } from './status.js';
import { vmCommand } from './vm.js';

/** The command line: every command with its options and help. */
export function program(): Command {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
  const whole = new Command('postern')
    .description('Let programs use device files whose drivers live somewhere safer.')
    .version(version)
    .enablePositionalOptions()
    .addCommand(runCommand())
    .addCommand(vmCommand())
    .addCommand(serveCommand())
    .addCommand(guestsCommand())
    .addCommand(foregroundCommand())
    .addCommand(devicesCommand())
    .addCommand(policyCommand())
    .addCommand(auditCommand())
    .addCommand(replayCommand())
    .addCommand(doctorCommand());
  const [completion, complete] = completionCommand(() => whole);
  whole.addCommand(completion).addCommand(complete, { hidden: true });
  refuseByThrowing(whole);
  return whole;
}

/** Runs one command to its end; process.exitCode tells what came of it. Nothing is thrown. */
export async function runProgram(parameters: readonly string[]): Promise<void> {
  try {
    await program().parseAsync(parameters, { from: 'user' });
  } catch (error) {
    process.exitCode = statusOf(error);
  }
}

/** Usage errors of a command and all below it become exceptions, and say where to look. */
function refuseByThrowing(command: Command, path = command.name()): void {
  command.exitOverride().showHelpAfterError(`(${path} --help tells what is possible)`);
  for (const each of command.commands) refuseByThrowing(each, `${path} ${each.name()}`);
}

/** Tells what went wrong, unless commander has told it already. Help and version, asked for, are no failures. */
function statusOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : FAILURE_STATUS;
  process.stderr.write(`postern: ${messageOf(error)}\n`);
  return FAILURE_STATUS;
}
