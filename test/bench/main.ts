/** `npm run bench [-- NAME] [--json] [--quick] [--charts FOLDER]`: figures as ratios to a baseline of the same run. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, release } from 'node:os';
import { join } from 'node:path';
import { Argument, Command } from 'commander';
import { withProgress } from '../../host/setup/progress.js';
import { benchDecision } from './decision.js';
import { benchFairness } from './fairness.js';
import { benchNoop } from './noop.js';
import { benchPackets } from './packets.js';
import { benchReload } from './reload.js';
import { charts, type Name, REPORTS, type Results } from './reports.js';
import { benchScale } from './scale.js';
import { benchStart } from './start.js';
import { benchStream } from './stream.js';
import { benchUntouched } from './untouched.js';

const BENCHMARKS: { [N in Name]: (quick: boolean) => Promise<Results[N]> } = {
  noop: benchNoop,
  decision: benchDecision,
  stream: benchStream,
  packets: benchPackets,
  start: benchStart,
  untouched: benchUntouched,
  scale: benchScale,
  reload: benchReload,
  fairness: benchFairness,
};
const NAMES = Object.keys(BENCHMARKS) as Name[];

interface Machine {
  processor: string;
  processors: number;
  kernel: string;
  node: string;
  /** What else it did when the run began: processes that wanted to run, over a minute. */
  load: number;
}

interface Options {
  json?: boolean;
  quick?: boolean;
  charts?: string;
}

const program = new Command('npm run bench --')
  .description('Measure Postern against what a program has without it, in the same run.')
  .addArgument(new Argument('[name]', 'one benchmark; all of them by default').choices(NAMES))
  .option('--json', 'print one JSON object')
  .option('--quick', 'fewer and shorter runs: under a minute')
  .option('--charts <folder>', 'draw the figures there, as SVG')
  .action(run);

async function run(name: Name | undefined, options: Options): Promise<void> {
  const machine = describeMachine();
  const results = await measure(name === undefined ? NAMES : [name], options.quick ?? false);
  if (options.charts !== undefined) draw(results, options.charts);
  process.stdout.write(
    options.json ? `${JSON.stringify({ machine, ...results })}\n` : renderText(machine, results),
  );
}

async function measure(names: readonly Name[], quick: boolean): Promise<Partial<Results>> {
  const results: Partial<Results> = {};
  const one = async <N extends Name>(name: N): Promise<void> => {
    results[name] = await withProgress(name, () => BENCHMARKS[name](quick));
  };
  for (const name of names) await one(name);
  return results;
}

function describeMachine(): Machine {
  const all = cpus();
  return {
    processor: all[0]?.model ?? '',
    processors: all.length,
    kernel: release(),
    node: process.version,
    load: loadavg()[0] ?? 0,
  };
}

function draw(results: Partial<Results>, folder: string): void {
  mkdirSync(folder, { recursive: true });
  for (const [file, chart] of Object.entries(charts(results))) writeFileSync(join(folder, file), chart);
}

function renderText(machine: Machine, results: Partial<Results>): string {
  const { processor, processors, kernel, node, load } = machine;
  const report = <N extends Name>(name: N): string[] => {
    const result = results[name];
    return result === undefined ? [] : [REPORTS[name](result as Results[N])];
  };
  return [
    `${processor}, ${processors} processors, Linux ${kernel}, Node ${node}, load ${load.toFixed(1)}`,
    ...NAMES.flatMap(report),
  ].join('\n');
}

try {
  await program.parseAsync();
} catch (error) {
  process.stderr.write(`postern: ${error instanceof Error ? error.message : error}\n`);
  process.exitCode = 1;
}
