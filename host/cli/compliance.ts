import { Argument, Command, CommanderError, Option } from 'commander';
import {
  COMPLIANCE_CLASSES,
  type ComplianceOptions,
  comparePaths,
  GUEST_KINDS,
  type GuestKind,
} from './compliance-run.js';
import { modulesOption } from './run.js';

/** The exit status when the comparison itself fails; 1 says that the two disagree. */
const OWN_FAILURE_STATUS = 2;

const program = new Command('npm run compliance --')
  .description(
    'Run a class’s compliance tool as a guest and, the same binary, beside the driver; each on a driver VM of its own ' +
      'that nobody has used before. Exit status: 0 when both agree, 1 when they disagree, 2 when a run fails.\n' +
      'Buffers and fences by descriptor (dma-buf) are exercised by v4l2 and drm; pty and media have no suite; netmap runs on a stand-in for its ' +
      'module unless --modules has the real one.',
  )
  .addArgument(new Argument('<class>', 'the device class').choices(COMPLIANCE_CLASSES))
  .addOption(
    new Option('--guest <kind>', 'what the guest is')
      .choices(GUEST_KINDS)
      .default('process' satisfies GuestKind),
  )
  .addOption(modulesOption())
  .option('--json', 'print the result as JSON')
  .exitOverride()
  .action(async (className: string, options: ComplianceOptions) => {
    const agree = await comparePaths(className, options);
    process.exitCode = agree ? 0 : 1;
  });

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = statusOf(error);
}

/** Tells what went wrong, unless commander has told it already. */
function statusOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : OWN_FAILURE_STATUS;
  process.stderr.write(`postern: ${error instanceof Error ? error.message : error}\n`);
  return OWN_FAILURE_STATUS;
}
