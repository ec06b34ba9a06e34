import type { DriverDomain } from '../driver-vm/domain.js';
import { runGuest } from '../mediator/guest.js';
import { withProgress } from '../setup/progress.js';
import { ALSA_COMMAND, alsaTotals, alsaVerdicts } from './compliance-alsa.js';
import {
  type Difference,
  differencesOf,
  failTheSame,
  type Totals,
  type Verdicts,
  v4l2Totals,
  v4l2Verdicts,
} from './compliance-totals.js';
import { DRIVERS_DEFAULT } from './domain-choice.js';
import { closeDomain, everyServedDevice, openDomain } from './driver-domain.js';
import { openLog } from './log.js';
import { renderTable } from './table.js';

/** What a comparison was asked for. */
export interface ComplianceOptions {
  json?: boolean;
}

/** A class with a compliance tool of its own. */
interface Suite {
  drivers: readonly string[];
  command: readonly string[];
  totals(output: string): Totals;
  verdicts(output: string): Verdicts;
  /** Every test must say the same, to the letter. */
  exact?: boolean;
  /** The tool's name where its command is long. */
  title?: string;
}

const SUITES: ReadonlyMap<string, Suite> = new Map([
  [
    'v4l2',
    {
      drivers: DRIVERS_DEFAULT,
      // Ordinary tests, then streaming (-s) with every memory type that the device claims.
      command: ['v4l2-compliance', '-d', '/dev/video0', '-s'],
      totals: v4l2Totals,
      verdicts: v4l2Verdicts,
    },
  ],
  [
    'alsa',
    {
      drivers: ['snd-aloop'],
      command: ALSA_COMMAND,
      totals: alsaTotals,
      verdicts: alsaVerdicts,
      exact: true,
      title: 'aplay, arecord, amixer, speaker-test',
    },
  ],
]);

/** The classes whose two ways can be compared. */
export const COMPLIANCE_CLASSES: readonly string[] = [...SUITES.keys()];

const log = openLog({});

/**
 * Runs the class's tool both ways, prints what each said, and tells whether they agree: on the totals, and on which tests failed.
 * @throws Error when a driver VM does not start or a run does not reach its end
 */
export async function comparePaths(className: string, { json }: ComplianceOptions): Promise<boolean> {
  const suite = SUITES.get(className) as Suite;
  const tool = suite.title ?? suite.command.join(' ');
  const guestOutput = await withProgress(`${tool} as a guest`, () => withFreshVm(suite, false, runAsGuest));
  const directOutput = await withProgress(`${tool} beside the driver`, () =>
    withFreshVm(suite, true, runBeside),
  );
  const [guest, direct] = [suite.totals(guestOutput), suite.totals(directOutput)];
  const differences = differencesOf(suite.verdicts(guestOutput), suite.verdicts(directOutput));
  const sameVerdicts = suite.exact ? differences.length === 0 : failTheSame(differences);
  const agree = guest.passed === direct.passed && guest.failed === direct.failed && sameVerdicts;
  const result = { class: className, guest, direct, agree, differences };
  process.stdout.write(json ? `${JSON.stringify(result, null, 2)}\n` : renderText(result));
  return agree;
}

/** A run leaves its device changed, so each has a driver VM that nobody has used. */
async function withFreshVm(
  suite: Suite,
  shareRoot: boolean,
  work: (domain: DriverDomain, suite: Suite) => Promise<string>,
): Promise<string> {
  const domain = await openDomain({ mode: 'snapshot', drivers: suite.drivers, shareRoot }, log);
  return await work(domain, suite).finally(() => closeDomain(domain));
}

async function runAsGuest(domain: DriverDomain, { command }: Suite): Promise<string> {
  const [program = '', ...args] = command;
  const chunks: Buffer[] = [];
  await runGuest({
    program,
    args,
    devices: await everyServedDevice(domain),
    domain,
    log,
    name: program,
    stdio: ['ignore', 'pipe', 'pipe'],
    onStart: (launcher) => {
      for (const stream of [launcher.stdout, launcher.stderr])
        stream?.on('data', (chunk: Buffer) => chunks.push(chunk));
    },
  });
  return Buffer.concat(chunks).toString('utf8');
}

async function runBeside(domain: DriverDomain, { command }: Suite): Promise<string> {
  const chunks: Buffer[] = [];
  await domain.run(command, (chunk) => chunks.push(chunk));
  return Buffer.concat(chunks).toString('utf8');
}

interface Result {
  guest: Totals;
  direct: Totals;
  agree: boolean;
  differences: Difference[];
}

function renderText({ guest, direct, agree, differences }: Result): string {
  const row = (name: string, { passed, failed }: Totals): string[] => [name, String(passed), String(failed)];
  const totals = renderTable(
    ['', 'passed', 'failed'],
    [row('as a guest', guest), row('beside the driver', direct)],
  );
  const rows = differences.map((difference) => [difference.test, difference.guest, difference.direct]);
  const details = rows.length === 0 ? '' : renderTable(['test', 'as a guest', 'beside the driver'], rows);
  return [
    totals,
    details,
    `${agree ? 'They agree: the same totals, and the same tests fail.' : 'They disagree.'}\n`,
  ].join('\n');
}
