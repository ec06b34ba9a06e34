/** `npm run bench [-- NAME] [--json] [--quick] [--charts FOLDER] [--record]`: figures as ratios to a baseline of the same run. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Argument, Command } from 'commander';
import { schemaFaults } from '../../host/policy/checked-json.js';
import { withProgress } from '../../host/setup/progress.js';
import { Budget } from './budget.js';
import { charts } from './charts.js';
import { atMoment, describeMachine } from './machine.js';
import { type Figures, record, recordedFigures } from './record.js';
import { renderFigures } from './reports.js';
import { onStage, type Stage } from './stage.js';
import { BENCHMARKS, BUDGETS_S, GROUPS, NAMES, type Name } from './suite.js';

const MS_PER_S = 1000;

interface Options {
  json?: boolean;
  quick?: boolean;
  charts?: string;
  record?: boolean;
}

const program = new Command('npm run bench --')
  .description('Measure Postern against what a program has without it, in the same run.')
  .addArgument(new Argument('[name]', 'one benchmark; all of them by default').choices(NAMES))
  .option('--json', 'print one JSON object (schemas/bench.schema.json)')
  .option('--quick', 'fewer and shorter runs: under a minute on an idle machine')
  .option('--charts <folder>', 'draw the figures there, as SVG')
  .option('--record', 'keep the figures: test/bench/__generated__ and the README’s table and charts')
  .action(run);

async function run(name: Name | undefined, options: Options): Promise<void> {
  if (options.record && options.quick)
    throw new Error('--quick is for a look: figures that are recorded are taken without it.');
  const names = name === undefined ? NAMES : (GROUPS[name] ?? [name]);
  // Looked at before anything is measured: a record that can't be kept on with shall not cost a run.
  const before = options.record && name !== undefined ? recordedFigures(names) : undefined;
  const figures: Figures = { machine: describeMachine(), measured: {} };
  const failures = await onStage(options.quick ?? false, (stage) => measure(figures, names, stage));
  demandSchema(figures);
  if (options.charts !== undefined) draw(figures, options.charts);
  if (options.record) record(figures, before);
  process.stdout.write(options.json ? `${JSON.stringify(figures)}\n` : renderFigures(figures));
  if (failures.length > 0) throw new Error(failures.join('\n'));
}

/** Puts in what each benchmark finds. Returns the failures: one that fails must not cost the figures of the others. */
async function measure(figures: Figures, names: readonly Name[], stage: Stage): Promise<string[]> {
  const failures: string[] = [];
  const one = async <N extends Name>(name: N): Promise<void> => {
    const { result, moment } = await withProgress(name, () => atMoment(() => BENCHMARKS[name](stage)));
    Object.assign(figures, { [name]: result });
    figures.measured[name] = moment;
  };
  const began = performance.now();
  let seconds = 0;
  for (const name of names) {
    seconds += BUDGETS_S[name][stage.quick ? 'quick' : 'full'];
    stage.budget = Budget.ofSeconds(seconds - (performance.now() - began) / MS_PER_S);
    await one(name).catch((error: unknown) => {
      failures.push(`The benchmark ${name} failed: ${error instanceof Error ? error.message : error}`);
    });
  }
  return failures;
}

/** What is printed and recorded keeps to its contract. */
function demandSchema(figures: Figures): void {
  const faults = schemaFaults(figures, 'bench.schema.json');
  if (faults.length > 0)
    throw new Error(['The figures are not as schemas/bench.schema.json has them:', ...faults].join('\n  '));
}

function draw(figures: Figures, folder: string): void {
  mkdirSync(folder, { recursive: true });
  for (const [file, chart] of Object.entries(charts(figures))) writeFileSync(join(folder, file), chart);
}

try {
  await program.parseAsync();
} catch (error) {
  process.stderr.write(`postern: ${error instanceof Error ? error.message : error}\n`);
  process.exitCode = 1;
}
