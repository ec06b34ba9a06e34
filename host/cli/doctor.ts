import { Command } from 'commander';
import { allOk, type Check, examineMachine } from './doctor-checks.js';
import { renderTable } from './table.js';

interface DoctorOptions {
  json?: boolean;
}

/** `postern doctor`: what this machine can and cannot do. Exits with 1 when guests cannot run. */
export function doctorCommand(): Command {
  return new Command('doctor')
    .summary('tell what this machine can and cannot do')
    .description('Examine this machine and say what is missing and how to get it.')
    .option('--json', 'print the findings as JSON')
    .addHelpText('after', '\nThe exit status is 1 when guests cannot run here, and 0 otherwise.')
    .action((options: DoctorOptions) => {
      const checks = examineMachine();
      process.stdout.write(options.json ? renderJson(checks) : renderText(checks));
      process.exitCode = allOk(checks, 'required') ? 0 : 1;
    });
}

function renderJson(checks: readonly Check[]): string {
  return `${JSON.stringify({ ...abilitiesOf(checks), checks }, null, 2)}\n`;
}

function abilitiesOf(checks: readonly Check[]): { guests: boolean; driverVm: boolean } {
  const guests = allOk(checks, 'required');
  return { guests, driverVm: guests && allOk(checks, 'driver-vm') };
}

function renderText(checks: readonly Check[]): string {
  const rows = checks.map(({ ok, need, name, found }) => [ok ? 'ok' : `missing (${need})`, name, found]);
  const { guests, driverVm } = abilitiesOf(checks);
  const advice = checks
    .filter((check) => check.advice !== '')
    .map((check) => `${check.name}: ${check.advice}`);
  const verdicts = [
    `Guests can${guests ? '' : 'not'} run here.`,
    driverVm
      ? 'Drivers can live in a driver VM.'
      : 'Drivers cannot live in a driver VM; the local kernel serves them.',
  ];
  return `${renderTable(['', 'check', 'found'], rows)}\n${[...advice, ...verdicts].join('\n')}\n`;
}
