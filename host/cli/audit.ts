import { Command } from 'commander';
import { jsonOption, trustOption } from './policy-options.js';
import { MODULE, type TryOptions, withGenerator } from './policy-try.js';
import { refusing } from './refusal.js';
import { plainStatusHelp, statusHelp } from './status.js';

/** `postern audit`: what modules are allowed, and what they did. */
export function auditCommand(): Command {
  return new Command('audit')
    .summary('check policy modules, and what was decided')
    .description('Check policy modules against isolation rules, and what was decided against its log.')
    .addCommand(checkCommand())
    .addCommand(verifyCommand())
    .addCommand(reportCommand());
}

function checkCommand(): Command {
  return withGenerator(
    new Command('check')
      .summary('run the battery of isolation rules against a module')
      .description(
        'Run a battery of isolation rules against a module, ours or a stranger’s: no grant outside the arguments, single fetch, no ' +
          'handle of another guest, deny by default, bounded plans, termination, and more. The module runs as in a host: metered, ' +
          'with the contract’s only import, on the memory of a pretended guest.',
      )
      .argument('<module>', MODULE),
  )
    .addHelpText(
      'after',
      `\nExample:\n  postern audit check stranger-1.0.0.postern --calls 100000\n${statusHelp('0: every rule is kept', '1: a rule is broken')}`,
    )
    .action(async (module: string, options: TryOptions) => {
      const { showCheck } = await import('./show-check.js');
      await refusing(options.json, () => showCheck(module, options));
    });
}

/** What `postern audit verify` was asked for. */
export interface VerifyOptions {
  expectHead?: string;
  json?: boolean;
}

function verifyCommand(): Command {
  return new Command('verify')
    .summary('verify a decision log')
    .description(
      'Verify that no line of a decision log was removed, changed or put elsewhere. The end of a log can be cut off without a trace in ' +
        'it: --expect-head tells the end that it must have, which the log’s writer keeps in LOG.head and tells when it ends. Keep it elsewhere.',
    )
    .argument('<log...>', 'the log’s files (segments in any order)')
    .option('--expect-head <hash|file>', 'the hash of the last line, or a LOG.head that was copied away')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `\nExample:\n  postern audit verify decisions.log --expect-head decisions.log.head\n${plainStatusHelp('0: the log is what was written', '1: it is not')}`,
    )
    .action(async (logs: string[], options: VerifyOptions) => {
      const { showVerify } = await import('./show-verify.js');
      showVerify(logs, options);
    });
}

/** What `postern audit report` was asked for. */
export interface ReportOptions {
  html?: string;
  json?: boolean;
  log?: string[];
  trust?: string;
}

function reportCommand(): Command {
  return new Command('report')
    .summary('write an isolation report')
    .description(
      'Write an isolation report of policy modules: what each command may touch, what is refused and why, which handles are isolated and ' +
        'by which test, the coverage of the kernel’s headers, digests and signers, and what was seen in a log.',
    )
    .argument('[module...]', 'classes or packages; default: every class of this repository')
    .option('--html <file>', 'write one self-contained HTML page')
    .addOption(jsonOption())
    .option('--log <file...>', 'a decision log, whose chain must hold')
    .addOption(trustOption())
    .addHelpText(
      'after',
      `\nExample:\n  postern audit report v4l2 lamp-0.1.0.postern --html report.html --log decisions.log\n${statusHelp(
        '0: done; no isolation rule is broken',
        '1: a module breaks a rule',
      )}`,
    )
    .action(async (modules: string[], options: ReportOptions) => {
      const { showReport } = await import('./show-report.js');
      await refusing(options.json, () => showReport(modules, options));
    });
}
