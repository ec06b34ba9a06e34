import { Command, InvalidArgumentError, Option } from 'commander';
import { KEY_KINDS, type KeyKind } from '../package/keys.js';
import { jsonOption, PACKAGE_STATUS_HELP, resultOption, trustOption } from './policy-options.js';
import { plainStatusHelp } from './status.js';

/** The commands of whoever writes, signs or looks at packages. */
export function authorCommands(): Command[] {
  return [
    newCommand(),
    buildCommand(),
    keygenCommand(),
    signCommand(),
    trustCommand(),
    verifyCommand(),
    inspectCommand(),
  ];
}

function newCommand(): Command {
  return new Command('new')
    .summary('make the beginning of a policy module')
    .description(
      'Make a class that works: a policy with three commands, its manifest and its test vectors, in a new folder of that name.',
    )
    .argument('<name>', 'the class: lower-case letters, digits and hyphens')
    .option('--in-repository', 'put it beside Postern’s own classes, with a test')
    .addHelpText(
      'after',
      `\nExample:\n  postern policy new lamp && postern policy test lamp && postern policy build lamp\n${plainStatusHelp('0: done')}`,
    )
    .addOption(resultOption())
    .action(async (name: string, options: { inRepository?: boolean; json?: boolean }) => {
      const { newPolicy } = await import('./new-policy.js');
      newPolicy(name, options);
    });
}

function buildCommand(): Command {
  return new Command('build')
    .summary('compile a class and pack it')
    .description(
      'Compile a class, run its test vectors, and pack module, manifest, vectors and the digests of its sources into one file. ' +
        'The envelope’s list of commands is derived from the module. The same sources give the same bytes.',
    )
    .argument('<class>', 'a folder with a class of its name, or one of Postern’s own classes')
    .option('-o, --output <file>', 'the package (default: NAME-VERSION.postern)')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `\nExamples:\n  postern policy build lamp\n  postern policy build v4l2 -o v4l2.postern\n${PACKAGE_STATUS_HELP}`,
    )
    .action(async (which: string, options: { output?: string; json?: boolean }) => {
      const { buildPackage } = await import('./build-package.js');
      await buildPackage(which, options);
    });
}

function keygenCommand(): Command {
  return new Command('keygen')
    .summary('make a key for signing packages')
    .description(
      'Make a key pair: the private key in FILE, readable by its owner only, and the public key in FILE.pub, both PEM.',
    )
    .argument('<file>', 'where the private key goes')
    .addOption(
      new Option('--type <kind>', 'what kind of key').choices(KEY_KINDS).default('ed25519' satisfies KeyKind),
    )
    .addOption(resultOption())
    .addHelpText(
      'after',
      `\nKeys of OpenSSL will do as well:\n  openssl genpkey -algorithm ed25519 -out FILE && openssl pkey -in FILE -pubout -out FILE.pub\n${plainStatusHelp('0: done')}`,
    )
    .action(async (file: string, options: { type: KeyKind; json?: boolean }) => {
      const { makeKey } = await import('./sign-package.js');
      makeKey(file, options.type, options.json);
    });
}

function signCommand(): Command {
  return new Command('sign')
    .summary('add a signature to a package')
    .description(
      'Add the signature of a key to a package. Several people sign one after the other; signing again replaces one’s signature.',
    )
    .argument('<package>', 'the package')
    .requiredOption('--key <file>', 'the private key: Ed25519 or ECDSA P-256, PEM')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `\nExample:\n  postern policy sign lamp-0.1.0.postern --key alice.key\n${PACKAGE_STATUS_HELP}`,
    )
    .action(async (file: string, options: { key: string; json?: boolean }) => {
      const { signPackage } = await import('./sign-package.js');
      await signPackage(file, options);
    });
}

function trustCommand(): Command {
  return new Command('trust')
    .summary('let a key sign the packages of a class')
    .description(
      'Add a public key to the trust policy, which is made if it is not there, and let it sign the packages of a class.',
    )
    .argument('<name>', 'whose key it is')
    .argument('<key>', 'the public key: Ed25519 or ECDSA P-256, PEM')
    .requiredOption('--class <class>', "the device class; '*' for all that have no rule of their own")
    .option(
      '--threshold <number>',
      'how many keys of the class must have signed (default: as it is, or 1)',
      thresholdOf,
    )
    .option('--not-before <time>', 'from when on its signatures count (RFC 3339)')
    .option('--not-after <time>', 'until when they count')
    .addOption(trustOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `\nExamples:\n  postern policy trust alice alice.key.pub --class lamp\n` +
        `  postern policy trust bob bob.key.pub --class lamp --threshold 2 --not-after 2028-01-01T00:00:00Z\n${PACKAGE_STATUS_HELP}`,
    )
    .action(async (name: string, key: string, options: import('./trust-key.js').TrustOptions) => {
      const { trustKey } = await import('./trust-key.js');
      await trustKey(name, key, options);
    });
}

/** schemas/trust.schema.json. */
const THRESHOLD_MAX = 16;

function thresholdOf(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < 1 || value > THRESHOLD_MAX)
    throw new InvalidArgumentError(`expected a whole number from 1 to ${THRESHOLD_MAX}.`);
  return value;
}

function verifyCommand(): Command {
  return new Command('verify')
    .summary('check a package as an installation would')
    .description(
      'Check everything about a package that an installation checks, but for what a store has seen before.',
    )
    .argument('<package>', 'the package')
    .addOption(trustOption())
    .addOption(jsonOption())
    .addHelpText('after', `\nExample:\n  postern policy verify lamp-0.1.0.postern\n${PACKAGE_STATUS_HELP}`)
    .action(async (file: string, options: { trust?: string; json?: boolean }) => {
      const { verifyPackage } = await import('./verify-package.js');
      await verifyPackage(file, options);
    });
}

function inspectCommand(): Command {
  return new Command('inspect')
    .summary('show what a package permits')
    .description(
      'Show what a package is and what it permits: its signers, its envelope, each command with the memory operations it may ask for, ' +
        'the module’s imports, exports and memory, and all digests. Its signatures need not be good for that: each is shown with what is wrong with it.',
    )
    .argument('<package>', 'the package')
    .addOption(trustOption())
    .addOption(jsonOption())
    .addHelpText('after', `\nExample:\n  postern policy inspect lamp-0.1.0.postern\n${PACKAGE_STATUS_HELP}`)
    .action(async (file: string, options: { trust?: string; json?: boolean }) => {
      const { inspectPackage } = await import('./inspect-package.js');
      await inspectPackage(file, options);
    });
}
