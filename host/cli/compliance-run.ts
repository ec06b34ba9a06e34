import type { DriverDomain } from '../driver-vm/domain.js';
import { runGuest } from '../mediator/guest.js';
import { withProgress } from '../setup/progress.js';
import { type Totals, v4l2Failures, v4l2Totals } from './compliance-totals.js';
import { DRIVERS_DEFAULT } from './domain-choice.js';
import { closeDomain, openDomain } from './driver-domain.js';
import { openLog } from './log.js';
import { renderTable } from './table.js';

/** What a comparison was asked for. */
export interface ComplianceOptions {
  json?: boolean;
}

/** A class with a compliance tool of its own. */
interface Suite {
  drivers: readonly string[];
  device: string;
  command: readonly string[];
  totals(output: string): Totals;
  failures(output: string): string[];
}

const SUITES: ReadonlyMap<string, Suite> = new Map([
  [
    'v4l2',
    {
      drivers: DRIVERS_DEFAULT,
      device: 'video0',
      // Ordinary tests, then streaming (-s) with every memory type that the device claims.
      command: ['v4l2-compliance', '-d', '/dev/video0', '-s'],
      totals: v4l2Totals,
      failures: v4l2Failures,
    },
  ],
]);

/** The classes whose two ways can be compared. */
export const COMPLIANCE_CLASSES: readonly string[] = [...SUITES.keys()];

const log = openLog({});

/**
 * Runs the class's tool both ways, prints what each said, and tells whether they agree: on the totals and on which tests failed.
 * @throws Error when a driver VM does not start or a run does not reach its end
 */
export async function comparePaths(className: string, { json }: ComplianceOptions): Promise<boolean> {
  const suite = SUITES.get(className) as Suite;
  const tool = suite.command.join(' ');
  const guestOutput = await withProgress(`${tool} as a guest`, () => withFreshVm(suite, false, runAsGuest));
  const directOutput = await withProgress(`${tool} beside the driver`, () =>
    withFreshVm(suite, true, runBeside),
  );
  const [guest, direct] = [suite.totals(guestOutput), suite.totals(directOutput)];
  const differing = differences(suite.failures(guestOutput), suite.failures(directOutput));
  const agree = guest.passed === direct.passed && guest.failed === direct.failed && differing.length === 0;
  const result = { class: className, guest, direct, agree, differing };
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

async function runAsGuest(domain: DriverDomain, { device, command }: Suite): Promise<string> {
  const [program = '', ...args] = command;
  const chunks: Buffer[] = [];
  await runGuest({
    program,
    args,
    devices: [{ name: device, path: `/dev/${device}` }],
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

/** The tests that failed in one of the two only, each with where. */
function differences(guest: readonly string[], direct: readonly string[]): string[] {
  return [
    ...guest.filter((name) => !direct.includes(name)).map((name) => `${name}: failed as a guest only`),
    ...direct.filter((name) => !guest.includes(name)).map((name) => `${name}: failed beside the driver only`),
  ];
}

interface Result {
  guest: Totals;
  direct: Totals;
  agree: boolean;
  differing: string[];
}

function renderText({ guest, direct, agree, differing }: Result): string {
  const row = (name: string, { passed, failed }: Totals): string[] => [name, String(passed), String(failed)];
  const table = renderTable(
    ['', 'passed', 'failed'],
    [row('as a guest', guest), row('beside the driver', direct)],
  );
  const verdict = agree ? 'They agree.' : 'They disagree.';
  return [table, ...differing.map((line) => `${line}\n`), verdict, '\n'].join('');
}
