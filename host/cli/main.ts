#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command } from 'commander';
import { ROOT } from '../root.js';
import { devicesCommand } from './devices.js';
import { doctorCommand } from './doctor.js';
import { runCommand } from './run.js';

/** The exit status of Postern's own failures, as `env` and `docker run` have it: a guest's own status is its own. */
const OWN_FAILURE_STATUS = 125;

const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };

const program = new Command('postern')
  .description('Let programs use device files whose drivers live somewhere safer.')
  .version(version)
  .enablePositionalOptions()
  .showHelpAfterError('(postern --help tells what is possible)')
  .addCommand(runCommand())
  .addCommand(devicesCommand())
  .addCommand(doctorCommand());

try {
  await program.parseAsync();
} catch (error) {
  process.stderr.write(`postern: ${error instanceof Error ? error.message : error}\n`);
  process.exitCode = OWN_FAILURE_STATUS;
}
