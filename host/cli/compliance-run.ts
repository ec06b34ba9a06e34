import { basename } from 'node:path';
import type { DriverDomain } from '../driver-vm/domain.js';
import { type DriverVm, isDriverVm } from '../driver-vm/driver-vm.js';
import type { Progress } from '../driver-vm/kernel.js';
import { startGuestVm } from '../guest-vm/guest-vm.js';
import { runGuest } from '../mediator/guest.js';
import { withProgress } from '../setup/progress.js';
import { ALSA_COMMAND, alsaTotals, alsaVerdicts } from './compliance-alsa.js';
import { INPUT_COMMAND, injectInput, inputTotals, inputVerdicts } from './compliance-input.js';
import {
  netmapCommand,
  netmapTotals,
  netmapVerdicts,
  STAND_IN,
  standInModules,
} from './compliance-netmap.js';
import {
  type Difference,
  differencesOf,
  drmTotals,
  failTheSame,
  linesAsVerdicts,
  pumpTotals,
  pumpVerdicts,
  type Totals,
  type Verdicts,
  v4l2Totals,
  v4l2Verdicts,
} from './compliance-totals.js';
import {
  type AsGuest,
  uinputAsGuests,
  uinputCommand,
  uinputTotals,
  uinputVerdicts,
} from './compliance-uinput.js';
import type { DeviceChoice } from './device-option.js';
import { DRIVERS_DEFAULT } from './domain-choice.js';
import { closeDomain, everyServedDevice, openDomain } from './driver-domain.js';
import { compileGuestProgram, RENDER_LIBRARIES } from './guest-program.js';
import { openLog } from './log.js';
import { renderTable } from './table.js';

/** A guest is a program of this machine's, or one in a virtual machine. */
export const GUEST_KINDS = ['process', 'vm'] as const;
export type GuestKind = (typeof GUEST_KINDS)[number];

/** What a comparison was asked for. */
export interface ComplianceOptions {
  guest: GuestKind;
  json?: boolean;
  /** A folder of modules that the driver VMs use in place of their kernel's own. */
  modules?: string;
}

/** A class with a compliance tool of its own. */
interface Suite {
  drivers: readonly string[];
  command(): readonly string[];
  /** What the command is called, where it is long. */
  tool?: string;
  totals(output: string): Totals;
  verdicts(output: string): Verdicts;
  /** Whether runs that differ so agree. */
  agree(differences: readonly Difference[]): boolean;
  /** What makes the modules that the kernel does not have, where no folder of modules is given. */
  standIn?: { modules(progress: Progress): Promise<string>; note: string };
  /** The tool as several guests, where a program must be given what another one has made. */
  asGuests?(domain: DriverDomain, asGuest: AsGuest): Promise<void>;
  /** What happens to the driver VM while the tool runs. */
  during?(vm: DriverVm, output: () => string, hasEnded: () => boolean): Promise<void>;
}

/**
 * What there is, its properties once more by the atomic interface, which cards libdrm finds, a commit of 13 properties, and pictures that
 * Mesa draws by virgl: off screen, with a sum of all pixels of each, and a cube on the screen, by page flips and by commits with fences. It
 * would end with its standard input, which therefore never ends; its times and addresses are its own.
 */
const CUBE = 'stdbuf -oL kmscube -c 20';
const GRAPHICS = [
  'export MESA_SHADER_CACHE_DISABLE=true',
  'modetest -M virtio_gpu',
  'modetest -M virtio_gpu -a',
  'drmdevice',
  'echo | modetest -M virtio_gpu -s 34:1024x768',
  'echo | modetest -M virtio_gpu -a -s 34:1024x768 -P 31@33:1024x768',
  'proptest -M virtio_gpu',
  '"$0" /dev/dri/renderD128 24',
  'in=/dev/shm/postern-cube-$$; mkfifo "$in"',
  ...['', ' -A'].map((option) => `${CUBE}${option} 2>&1 0<>"$in" | sed 's/ in .*//; s/0x[0-9a-f]*//'`),
  'rm "$in"',
].join(' 2>&1; ');

const SUITES: ReadonlyMap<string, Suite> = new Map<string, Suite>([
  [
    'v4l2',
    {
      drivers: DRIVERS_DEFAULT,
      // Ordinary tests, then streaming (-s) with every memory type that the device claims; of buffers by descriptor (-e), the output's.
      command: () => ['v4l2-compliance', '-d', '/dev/video0', '-e', '/dev/video1', '-s'],
      totals: v4l2Totals,
      verdicts: v4l2Verdicts,
      agree: failTheSame,
    },
  ],
  [
    'evdev',
    {
      drivers: ['virtio-input'],
      command: () => INPUT_COMMAND,
      tool: 'evtest',
      totals: inputTotals,
      verdicts: inputVerdicts,
      agree: (differences) => differences.length === 0,
      during: injectInput,
    },
  ],
  [
    'drm',
    {
      drivers: ['virtio-gpu-gl'],
      command: () => ['sh', '-c', GRAPHICS, compileGuestProgram('render', 'guests', RENDER_LIBRARIES)],
      tool: 'modetest, drmdevice, proptest, kmscube, an EGL program',
      totals: drmTotals,
      verdicts: linesAsVerdicts,
      agree: (differences) => differences.length === 0,
    },
  ],
  [
    'tun',
    {
      drivers: ['tun'],
      // Two TAP interfaces, and as many packets as make every length and a few seconds of work.
      command: () => [compileGuestProgram('packet_pump'), 'both', '500'],
      totals: pumpTotals,
      verdicts: pumpVerdicts,
      agree: failTheSame,
    },
  ],
  [
    'uinput',
    {
      drivers: ['uinput'],
      command: uinputCommand,
      tool: 'a force-feedback device and its user',
      totals: uinputTotals,
      verdicts: uinputVerdicts,
      agree: (differences) => differences.length === 0,
      asGuests: uinputAsGuests,
    },
  ],
  [
    'netmap',
    {
      drivers: ['netmap'],
      command: netmapCommand,
      totals: netmapTotals,
      verdicts: netmapVerdicts,
      agree: (differences) => differences.length === 0,
      standIn: { modules: standInModules, note: STAND_IN },
    },
  ],
  [
    'alsa',
    {
      drivers: ['snd-aloop'],
      command: () => ALSA_COMMAND,
      totals: alsaTotals,
      verdicts: alsaVerdicts,
      agree: (differences) => differences.length === 0,
      tool: 'aplay, arecord, amixer, speaker-test',
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
export async function comparePaths(
  className: string,
  { guest: kind, json, modules }: ComplianceOptions,
): Promise<boolean> {
  const suite = SUITES.get(className) as Suite;
  const [program = '', ...rest] = suite.command();
  const tool = suite.tool ?? [basename(program), ...rest].join(' ');
  const standIn = modules === undefined ? suite.standIn : undefined;
  const run: Run = {
    suite,
    modules: standIn ? await withProgress('the driver’s stand-in', standIn.modules) : modules,
  };
  const where = kind === 'vm' ? 'in a guest VM' : 'as a guest';
  const guestOutput = await withProgress(`${tool} ${where}`, () => outputAsGuest(run, GUESTS[kind]));
  const directOutput = await withProgress(`${tool} beside the driver`, () => outputBeside(run));
  const [guest, direct] = [suite.totals(guestOutput), suite.totals(directOutput)];
  const differences = differencesOf(suite.verdicts(guestOutput), suite.verdicts(directOutput));
  const agree = guest.passed === direct.passed && guest.failed === direct.failed && suite.agree(differences);
  const result = {
    class: className,
    guest,
    direct,
    agree,
    differences,
    ...(standIn && { note: standIn.note }),
  };
  process.stdout.write(json ? `${JSON.stringify(result, null, 2)}\n` : renderText(result));
  return agree;
}

/** What both ways have in common. */
interface Run {
  suite: Suite;
  modules: string | undefined;
}

/** A run leaves its device changed, so each has a driver VM that nobody has used. */
async function withFreshVm(
  { suite, modules }: Run,
  shareRoot: boolean,
  work: (domain: DriverDomain) => Promise<string>,
): Promise<string> {
  const domain = await openDomain({ mode: 'snapshot', drivers: suite.drivers, modules, shareRoot }, log);
  return await work(domain).finally(() => closeDomain(domain));
}

/** Runs the tool by `start`, which tells what it prints, and meanwhile does to the driver VM what the suite says. */
async function watched(
  domain: DriverDomain,
  suite: Suite,
  start: (onOutput: (chunk: Buffer) => void) => Promise<unknown>,
): Promise<string> {
  const chunks: Buffer[] = [];
  const output = (): string => Buffer.concat(chunks).toString('utf8');
  let hasEnded = false;
  const running = start((chunk) => chunks.push(chunk)).finally(() => {
    hasEnded = true;
  });
  const happening = isDriverVm(domain) ? suite.during?.(domain, output, () => hasEnded) : undefined;
  await Promise.all([running, happening]);
  return output();
}

/** Runs a command as a guest of one kind, which is given these devices, and tells what it prints. */
type Guest = (
  domain: DriverDomain,
  devices: DeviceChoice[],
  command: readonly string[],
  onOutput: (chunk: Buffer) => void,
) => Promise<unknown>;

const GUESTS: Readonly<Record<GuestKind, Guest>> = {
  process: (domain, devices, [program = '', ...args], onOutput) =>
    runGuest({
      program,
      args,
      devices,
      domain,
      log,
      name: program,
      stdio: ['ignore', 'pipe', 'pipe'],
      onStart: (launcher) => {
        for (const stream of [launcher.stdout, launcher.stderr]) stream?.on('data', onOutput);
      },
    }),
  vm: async (domain, devices, command, onOutput) => {
    const vm = await startGuestVm({ domain, devices, log, name: 'vm', progress: () => undefined });
    return await vm.run(command, onOutput).finally(() => vm.close());
  },
};

async function outputAsGuest(run: Run, guest: Guest): Promise<string> {
  const { suite } = run;
  return await withFreshVm(run, false, async (domain) => {
    const devices = await everyServedDevice(domain);
    return await watched(domain, suite, async (onOutput) => {
      if (suite.asGuests === undefined) return await guest(domain, devices, suite.command(), onOutput);
      return await suite.asGuests(domain, (names, command) =>
        guest(
          domain,
          names.map((name) => ({ name, path: `/dev/${name}` })),
          command,
          onOutput,
        ),
      );
    });
  });
}

async function outputBeside(run: Run): Promise<string> {
  return await withFreshVm(run, true, (domain) =>
    watched(domain, run.suite, (onOutput) => domain.run(run.suite.command(), onOutput)),
  );
}

interface Result {
  guest: Totals;
  direct: Totals;
  agree: boolean;
  differences: Difference[];
  /** What a reader must know of the driver. */
  note?: string;
}

function renderText({ guest, direct, agree, differences, note }: Result): string {
  const row = (name: string, { passed, failed }: Totals): string[] => [name, String(passed), String(failed)];
  const totals = renderTable(
    ['', 'passed', 'failed'],
    [row('as a guest', guest), row('beside the driver', direct)],
  );
  const rows = differences.map((difference) => [difference.test, difference.guest, difference.direct]);
  const details = rows.length === 0 ? '' : renderTable(['test', 'as a guest', 'beside the driver'], rows);
  const notes = note === undefined ? '' : `${note}\n`;
  return [totals, details, `${notes}${agree ? 'They agree.' : 'They disagree.'}\n`].join('\n');
}
