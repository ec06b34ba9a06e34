import { Command, Option } from 'commander';

/** The exit status of a command that refuses a package, a trust policy or a store. */
export const REFUSED_STATUS = 1;

/** What the commands about packages end with. */
export const PACKAGE_STATUS_HELP =
  '\nExit status: 0; 1 when a package, a trust policy or a store is refused, with the reason and its code; 125 when Postern itself fails.';

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
  return new Command(name)
    .argument('<class>', 'the device class')
    .addOption(storeOption())
    .addOption(whyOption())
    .addOption(jsonOption())
    .addHelpText('after', PACKAGE_STATUS_HELP);
}

/** `--json`, shared by all. */
export function jsonOption(): Option {
  return new Option('--json', 'print the result as JSON, a refusal too');
}
