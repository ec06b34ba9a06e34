import { Command, InvalidArgumentError, Option } from 'commander';
import { socketOption } from './run.js';
import { NOT_TAKEN_STATUS, statusHelp } from './status.js';

/** What the commands about packages end with. */
export const PACKAGE_STATUS_HELP = statusHelp('0: done');

/** What the commands that change the store end with. */
export const CHANGE_STATUS_HELP = statusHelp(
  '0: done; the running host has taken it over, or there is none that uses the store',
  `${NOT_TAKEN_STATUS}: the store is changed, but the running host goes on with what it had, or has not answered`,
);

/** Preparing a module may take a host a minute; then it says that the module is not fit. */
const WAIT_SECONDS = 90;
const WAIT_SECONDS_MAX = 3600;

/** Adds the options of commands after which a running host has something to do. */
export function withHost(command: Command): Command {
  return command
    .addOption(socketOption())
    .option(
      '--wait <seconds>',
      `how long to wait for the running host to take it over`,
      secondsOf,
      WAIT_SECONDS,
    )
    .option('--no-wait', 'do not ask the running host: it takes it over by itself');
}

function secondsOf(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !(value > 0 && value <= WAIT_SECONDS_MAX))
    throw new InvalidArgumentError(`expected seconds, more than 0 and at most ${WAIT_SECONDS_MAX}.`);
  return value;
}

/** `--store`, shared by the commands that use the policy store. */
export function storeOption(): Option {
  return new Option(
    '--store <folder>',
    'the policy store (default: root’s is /var/lib/postern/policies, others’ postern/policies in XDG_STATE_HOME)',
  );
}

/** `--trust`, shared by the commands that verify packages. */
export function trustOption(): Option {
  return new Option(
    '--trust <file>',
    'the trust policy: whose packages are taken (default: root’s is /etc/postern/trust.json, others’ postern/trust.json in XDG_CONFIG_HOME)',
  );
}

/** `--why`, shared by the commands that change the policy store. */
export function whyOption(): Option {
  return new Option('--why <text>', 'a reason, for the store’s history');
}

/** A command that changes which module of one class is in force. */
export function classChangeCommand(name: string): Command {
  return withHost(new Command(name))
    .argument('<class>', 'the device class')
    .addOption(storeOption())
    .addOption(whyOption())
    .addOption(jsonOption())
    .addHelpText('after', `\nExample:\n  postern policy ${name} lamp\n${CHANGE_STATUS_HELP}`);
}

/** `--json` of commands that refuse nothing. */
export function resultOption(): Option {
  return new Option('--json', 'print the result as JSON');
}

/** `--json`, shared by the commands that may refuse something. */
export function jsonOption(): Option {
  return new Option('--json', 'print the result as JSON, a refusal too');
}
