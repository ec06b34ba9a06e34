import { Command, InvalidArgumentError } from 'commander';

/** What the commands below were asked for. */
export interface TryOptions {
  json?: boolean;
  calls?: number;
  seed?: number;
}

const MODULE = 'a class, a package, or a file NAME.component.wasm with its manifest beside it';

/** `postern policy test`: a module's vectors, and generated hostile calls. */
export function policyTestCommand(): Command {
  return withGenerator(
    new Command('test')
      .summary('run a module’s test vectors, and hostile calls')
      .description(
        'Have a module answer its test vectors, and try it with generated calls: every command and unknown ones, heads that are short, ' +
          'noise or nearly right, pointers at every edge. The isolation rules that these are held against are those of `postern audit check`.',
      )
      .argument('<module>', MODULE),
  )
    .addHelpText('after', '\nExit status: 0, 1 when something fails, 125 when Postern itself fails.')
    .action(async (module: string, options: TryOptions) => {
      const { showPolicyTest } = await import('./show-policy-test.js');
      await showPolicyTest(module, options);
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
    .option('--json', 'print the result as JSON')
    .action(async (module: string, options: TryOptions) => {
      const { showPolicyBench } = await import('./show-policy-bench.js');
      await showPolicyBench(module, options);
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
      '\nExit status, for a review gate: 0 when no difference was found, 1 when the second permits nothing that the first does not, ' +
        '2 when it permits more, 125 when Postern itself fails.',
    )
    .action(async (before: string, after: string, options: TryOptions) => {
      const { showPolicyDiff } = await import('./show-policy-diff.js');
      await showPolicyDiff(before, after, options);
    });
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
    .option('--json', 'print the result as JSON');
}

function positive(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1 || value > 10_000_000)
    throw new InvalidArgumentError('expected a whole number from 1 to 10000000.');
  return value;
}
