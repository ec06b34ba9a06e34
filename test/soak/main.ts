/** `npm run soak -- --minutes N [--json] [--charts FOLDER]`: guests of all kinds for a long time; what grows is told. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import ora from 'ora';
import { chartsOf, isSteady, summaryOf, textOf } from './report.js';
import { runSoak } from './run.js';

const MINUTES_DEFAULT = 30;

interface Options {
  minutes: number;
  json?: boolean;
  charts?: string;
}

const program = new Command('npm run soak --')
  .description(
    'Keep guests of all kinds at work while modules are exchanged, programs come and go and driver VMs crash; record what the host ' +
      'holds and how long guests wait, and say whether any of it rises. Exit status 1: something failed or rises.',
  )
  .option('--minutes <number>', 'how long', minutesOf, MINUTES_DEFAULT)
  .option('--json', 'print one JSON object')
  .option('--charts <folder>', 'draw the series there, as SVG')
  .action(run);

async function run({ minutes, json = false, charts }: Options): Promise<void> {
  const spinner = ora({ isSilent: !process.stderr.isTTY }).start('starting');
  const result = await runSoak({
    minutes,
    tell: (line) => {
      spinner.text = line;
    },
  }).finally(() => spinner.stop());
  if (charts !== undefined) {
    mkdirSync(charts, { recursive: true });
    for (const [file, chart] of Object.entries(chartsOf(result))) writeFileSync(join(charts, file), chart);
  }
  process.stdout.write(json ? `${JSON.stringify(summaryOf(result))}\n` : textOf(result));
  if (!isSteady(result)) process.exitCode = 1;
}

function minutesOf(text: string): number {
  const minutes = Number(text);
  if (!Number.isFinite(minutes) || minutes <= 0)
    throw new InvalidArgumentError('expected a number of minutes, such as 30.');
  return minutes;
}

try {
  await program.parseAsync();
} catch (error) {
  process.stderr.write(`postern: ${error instanceof Error ? error.message : error}\n`);
  process.exitCode = 1;
}
