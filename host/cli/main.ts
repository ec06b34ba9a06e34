#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, CommanderError } from 'commander';
import { ROOT } from '../root.js';
import { auditCommand } from './audit.js';
import { devicesCommand } from './devices.js';
import { doctorCommand } from './doctor.js';
import { messageOf } from './failure.js';
import { foregroundCommand } from './foreground.js';
import { guestsCommand } from './guests.js';
import { policyCommand } from './policy.js';
import { replayCommand } from './replay.js';
import { runCommand } from './run.js';
import { serveCommand } from './serve.js';
import { vmCommand } from './vm.js';

/** The exit status of Postern's own failures, as `env` and `docker run` have it: a guest's own status is its own. */
const OWN_FAILURE_STATUS = 125;

const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };

const program = new Command('postern')
  .description('Let programs use device files whose drivers live somewhere safer.')
  .version(version)
  .enablePositionalOptions()
  .showHelpAfterError('(postern --help tells what is possible)')
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
refuseByThrowing(program);

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = statusOf(error);
}

/** Usage errors of a command and all below it become exceptions. */
function refuseByThrowing(command: Command): void {
  command.exitOverride();
  command.commands.forEach(refuseByThrowing);
}

/** Tells what went wrong, unless commander has told it already. Help and version, asked for, are no failures. */
function statusOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : OWN_FAILURE_STATUS;
  process.stderr.write(`postern: ${messageOf(error)}\n`);
  return OWN_FAILURE_STATUS;
}
