import { Command } from 'commander';
import ora from 'ora';
import { renderTable } from '../../host/cli/table.js';
import { type HostileReport, runHostile } from './attempts.js';

/** npm run hostile: guests written to escape, and what stopped each. */
const program = new Command('hostile')
  .description(
    'Runs guests that are written to escape, looks from outside at what they got, and runs the same programs without Postern.',
  )
  .option('--json', 'print JSON')
  .action(async ({ json = false }: { json?: boolean }) => {
    const spinner = ora({ isSilent: !process.stderr.isTTY }).start('starting');
    const report = await runHostile((line) => {
      spinner.text = line;
    }).finally(() => spinner.stop());
    process.stdout.write(json ? `${JSON.stringify(summaryOf(report), undefined, 2)}\n` : tableOf(report));
    if (report.outcomes.some(({ stopped }) => !stopped) || report.blind.length > 0) process.exitCode = 1;
  });

function summaryOf({ outcomes, impossible, blind }: HostileReport): object {
  const escaped = outcomes.filter(({ stopped }) => !stopped);
  return {
    attempts: outcomes.length,
    stopped: outcomes.length - escaped.length,
    escaped: escaped.map(({ program: of, name, tried, by }) => ({ program: of, name, tried, by })),
    controlsThatSucceed: outcomes.filter(({ control }) => control === 'succeeds').length,
    impossible,
    blind,
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
