import { Command, InvalidArgumentError, Option } from 'commander';
import ora from 'ora';
import { renderTable } from '../../host/cli/table.js';
import { type HostileReport, runHostile } from './attempts.js';
import { runCrashes } from './crashes.js';
import { runVmHostile } from './vm-attempts.js';

/** npm run hostile: guests written to escape, and what stopped each. */
const program = new Command('hostile')
  .description(
    'Runs guests that are written to escape, looks from outside at what they got, and runs the same programs without Postern.',
  )
  .option('--json', 'print JSON')
  .addOption(
    new Option(
      '--guest <kind>',
      'programs of process guests, or the kernel of a guest VM in its frontend’s place',
    )
      .choices(['process', 'vm'])
      .default('process'),
  )
  .option(
    '--crashes <number>',
    'instead, kill the driver VM so often while guests use it, and measure how they fare',
    countOf,
  )
  .action(async ({ json = false, crashes, guest }: Options) => {
    if (crashes !== undefined) return await crash(crashes, json);
    const spinner = ora({ isSilent: !process.stderr.isTTY }).start('starting');
    const run = guest === 'vm' ? runVmHostile : runHostile;
    const report = await run((line) => {
      spinner.text = line;
    }).finally(() => spinner.stop());
    process.stdout.write(json ? `${JSON.stringify(summaryOf(report), undefined, 2)}\n` : tableOf(report));
    if (report.outcomes.some(({ stopped }) => !stopped) || report.blind.length > 0) process.exitCode = 1;
  });

interface Options {
  json?: boolean;
  crashes?: number;
  guest: 'process' | 'vm';
}

async function crash(count: number, json: boolean): Promise<void> {
  const spinner = ora({ isSilent: !process.stderr.isTTY }).start('starting');
  const report = await runCrashes(count, (line) => {
    spinner.text = line;
  }).finally(() => spinner.stop());
  const { crashes, leaks, failures, streams } = report;
  const summary = {
    crashes: crashes.length,
    errnos: [...new Set(crashes.map(({ errno }) => errno))],
    ...{
      lostMs: spread(crashes.map(({ lostMs }) => lostMs)),
      backMs: spread(crashes.map(({ backMs }) => backMs)),
    },
    ...{ streams, leaks, failures },
  };
  process.stdout.write(
    json
      ? `${JSON.stringify(summary, undefined, 2)}\n`
      : renderTable(
          [`${summary.crashes} crashes of the driver VM`, 'median', '99th percentile', 'maximum'],
          [
            ['from the crash to the guest’s errno, ms', ...columns(summary.lostMs)],
            ['from the crash to the next open file, ms', ...columns(summary.backMs)],
            ['errno', summary.errnos.join(', ')],
            ['streams begun by the guest under load', String(streams)],
            ['left behind', leaks.join('; ') || 'nothing'],
            ['guests that ended', failures.join('; ') || 'none'],
          ],
        ),
  );
  const isGood = summary.errnos.join() === 'ENODEV' && leaks.length === 0 && failures.length === 0;
  if (!isGood) process.exitCode = 1;
}

interface Spread {
  median: number;
  p99: number;
  max: number;
}

function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (part: number): number =>
    Math.round(10 * (sorted[Math.ceil(part * sorted.length) - 1] ?? 0)) / 10;
  return { median: at(0.5), p99: at(0.99), max: at(1) };
}

function columns({ median, p99, max }: Spread): string[] {
  return [median, p99, max].map((value) => value.toFixed(1));
}

function countOf(text: string): number {
  const count = Number(text);
  if (!Number.isInteger(count) || count < 1)
    throw new InvalidArgumentError('expected a number of crashes, such as 100.');
  return count;
}

function summaryOf({ outcomes, impossible, blind, ...more }: HostileReport): object {
  const escaped = outcomes.filter(({ stopped }) => !stopped);
  return {
    attempts: outcomes.length,
    stopped: outcomes.length - escaped.length,
    escaped: escaped.map(({ program: of, name, tried, by }) => ({ program: of, name, tried, by })),
    controlsThatSucceed: outcomes.filter(({ control }) => control === 'succeeds').length,
    impossible,
    blind,
    ...more,
    outcomes,
  };
}

function tableOf({ outcomes, impossible, blind }: HostileReport): string {
  const rows = outcomes.map(({ program: of, name, stopped, by, control }) => [
    ...[of, name, stopped ? 'stopped' : 'ESCAPED', by, control],
  ]);
  const escaped = outcomes.filter(({ stopped }) => !stopped).length;
  const lines = [
    renderTable(['program', 'attempt', '', 'by', 'without Postern'], rows),
    `${outcomes.length} attempts, ${outcomes.length - escaped} stopped, ${escaped} escaped; ` +
      `${outcomes.filter(({ control }) => control === 'succeeds').length} succeed without Postern.`,
    ...impossible.map((what) => `Not possible on this machine: ${what}`),
    ...blind.map((what) => `Does not succeed without Postern, so the check may be blind: ${what}`),
  ];
  return `${lines.join('\n')}\n`;
}

await program.parseAsync();
