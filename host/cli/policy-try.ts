import { Command, InvalidArgumentError } from 'commander';
import { jsonOption } from './policy-options.js';
import { refusing } from './refusal.js';
import { statusHelp } from './status.js';

/** What the commands below were asked for. */
export interface TryOptions {
  json?: boolean;
  calls?: number;
  seed?: number;
  coverage?: boolean;
  threshold?: number;
}

/** How a command names a module. */
export const MODULE =
  'a class of Postern’s, a folder with the sources of one, a package, or a file NAME.component.wasm with its manifest beside it';

/** `postern policy test`: a module's vectors, and generated hostile calls. */
export function policyTestCommand(): Command {
  return withGenerator(
    new Command('test')
      .summary('run a module’s test vectors, and hostile calls')
      .description(
        'Have a module answer its test vectors, and try it with generated calls: every command and unknown ones, heads that are short, ' +
          'noise or nearly right, pointers at every edge. The isolation rules that these are held against are those of `postern audit check`.',
      )
      .argument('<module>', MODULE)
      .option('--coverage', 'tell what of the module no vector shows: commands, refusals, reasons')
      .option('--threshold <percent>', 'as --coverage, and fail when the vectors show less', percentOf),
  )
    .addHelpText(
      'after',
      '\nExamples:\n  postern policy test lamp\n  postern policy test lamp-0.1.0.postern --calls 100000 --seed 7\n' +
        '  postern policy test lamp --threshold 100\n' +
        statusHelp('0: every vector is answered as it says, and no rule is broken', '1: something fails'),
    )
    .action(async (module: string, options: TryOptions) => {
      const { showPolicyTest } = await import('./show-policy-test.js');
      await refusing(options.json, () => showPolicyTest(module, options));
    });
}

/** `postern policy bench`: what a module's decisions cost. */
export function policyBenchCommand(): Command {
  return new Command('bench')
    .summary('time a module’s decisions by command')
    .description(
      'Time a module’s decisions by command, on the calls of its test vectors: the median and the 99th percentile in nanoseconds, ' +
        'of batches of 16 decisions by a warm instance. What an operation costs besides its decision, `npm run bench` tells.',
    )
    .argument('<module>', MODULE)
    .addOption(jsonOption())
    .addHelpText('after', statusHelp('0: done'))
    .action(async (module: string, options: TryOptions) => {
      const { showPolicyBench } = await import('./show-policy-bench.js');
      await refusing(options.json, () => showPolicyBench(module, options));
    });
}

/** `postern policy diff`: what one module permits and another doesn't. */
export function policyDiffCommand(): Command {
  return withGenerator(
    new Command('diff')
      .summary('what a module permits that another does not')
      .description(
        'Compare two modules: their envelopes and tables, and their judgement of the vectors of both, of calls near these and of generated ' +
          'calls. Each difference of judgement is shown with a call that both have judged.',
      )
      .argument('<before>', MODULE)
      .argument('<after>', MODULE),
  )
    .addHelpText(
      'after',
      '\nExample, a review gate that lets through what permits nothing new:\n' +
        '  postern policy diff v4l2 v4l2-0.2.0.postern; test $? -le 1\n' +
        statusHelp(
          '0: no difference was found',
          '1: they differ, but the second permits nothing that the first does not',
          '2: the second permits more',
        ),
    )
    .action(async (before: string, after: string, options: TryOptions) => {
      const { showPolicyDiff } = await import('./show-policy-diff.js');
      await refusing(options.json, () => showPolicyDiff(before, after, options));
    });
}

/** `postern policy judge`: what does a module say of this call? */
export function policyJudgeCommand(): Command {
  return new Command('judge')
    .summary('ask a module about a call')
    .description(
      'Have a module judge a call, or several, and print its verdict: what it allows the driver to touch, or why not. A call is a test vector ' +
        'without its expectation (schemas/vectors.schema.json); the witnesses of `postern policy diff --json` are such calls. With an outcome ' +
        'of the driver in it, the module says what follows from that.',
    )
    .argument('<module>', MODULE)
    .argument('[calls]', 'a file with a call or an array of them, as JSON; - is standard input', '-')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `\nExamples:\n  echo '{"operation":"ioctl","command":"TIOCSTI"}' | postern policy judge pty\n` +
        '  postern policy diff old.postern new.postern --json | jq .differences[0].witness | postern policy judge new.postern\n' +
        statusHelp('0: every call is allowed', '1: a call is denied, or the module has no answer'),
    )
    .action(async (module: string, calls: string, { json }: TryOptions) => {
      const { showJudge } = await import('./show-judge.js');
      await refusing(json, () => showJudge(module, calls, json));
    });
}

function percentOf(text: string): number {
  const value = Number(text);
  if (!/^\d+$/.test(text) || value > 100)
    throw new InvalidArgumentError('expected a whole number from 0 to 100.');
  return value;
}

/** Adds the options of commands that generate calls. */
export function withGenerator(command: Command): Command {
  return command
    .option('--calls <number>', 'generated calls', positive)
    .option(
      '--seed <number>',
      'what the calls are generated from (1); the same seed gives the same calls',
      positive,
    )
    .addOption(jsonOption());
}

function positive(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1 || value > 10_000_000)
    throw new InvalidArgumentError('expected a whole number from 1 to 10000000.');
  return value;
}
