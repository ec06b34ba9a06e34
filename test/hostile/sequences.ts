import { compileGuestProgram } from '../../host/cli/guest-program.js';
import type { DriverVm } from '../../host/driver-vm/driver-vm.js';
import { Bench, CAMERA } from '../mediator/support.js';
import { policyInstance } from '../policy/support.js';

/** Two cameras: one is done anything to, with all its files; from the other an honest guest wants frames afterwards. */
const DRIVERS = ['vivid n_devs=2'];
const HONEST_DEVICE = 'video4';
const FILES = ['video0', 'video1', 'video2', 'video3', 'vbi0', 'vbi1', 'radio0', 'radio1', 'swradio0'];
/** Of one sequence: enough to begin a stream and to end it. */
const OPERATIONS = 250;
/** What never ends has found something. Far more than a sequence takes on a busy machine. */
const SEQUENCE_LIMIT_MS = 180_000;
/** A kernel's words for what must not happen; lockups and stalls are left out, which a busy machine makes by itself. */
const KERNEL_COMPLAINT =
  /WARNING:|BUG:(?! (?:soft lockup|workqueue lockup))|KASAN|UBSAN|Oops|general protection|refcount_t/;

export interface SequencesReport {
  firstSeed: number;
  sequences: number;
  operations: number;
  /** Of them: those that the driver, or the host, did not refuse. */
  succeeded: number;
  /** What must not be, each with the seed that brings it again. */
  failures: string[];
}

/**
 * Runs sequences of operations as guests of a camera in a driver VM, from `firstSeed` on, until `seconds` have gone, at least one.
 * After each an honest guest must get its frames; at the end the kernel beside the driver must have no complaint.
 */
export async function fuzzCamera(firstSeed: number, seconds: number): Promise<SequencesReport> {
  const commands = (await policyInstance('v4l2'))
    .describe()
    .commands.map(({ number }) => number.toString(16));
  const report: SequencesReport = { firstSeed, sequences: 0, operations: 0, succeeded: 0, failures: [] };
  // Programs run beside the driver only where this machine's root is shared: the kernel's log is read by one.
  const bench = await Bench.vm(DRIVERS, true);
  try {
    const before = (await kernelLog(bench)).length;
    const end = Date.now() + seconds * 1000;
    do await tryOne(bench, commands.join(), report);
    while (Date.now() < end && report.failures.length === 0);
    const complaints = (await kernelLog(bench)).slice(before).filter((line) => KERNEL_COMPLAINT.test(line));
    for (const line of complaints)
      report.failures.push(
        `between seed ${firstSeed} and ${lastSeed(report)} the driver VM's kernel says: ${line}`,
      );
  } finally {
    await bench.close();
  }
  return report;
}

async function tryOne(bench: Bench<DriverVm>, commands: string, report: SequencesReport): Promise<void> {
  const seed = report.firstSeed + report.sequences;
  report.sequences++;
  const there = new Set((await bench.domain.devices()).map(({ name }) => name));
  const devices = FILES.filter((name) => there.has(name)).map((name) => ({ name, path: `/dev/${name}` }));
  const program = compileGuestProgram('sequences', 'hostile');
  const files = devices.map(({ path }) => path);
  const guest = await bench.start([program, String(seed), String(OPERATIONS), commands, ...files], {
    devices,
  });
  guest.launcher.stdin?.end();
  const timer = setTimeout(() => guest.launcher.kill('SIGKILL'), SEQUENCE_LIMIT_MS);
  const { exitCode, signal, out, err } = await guest.end.finally(() => clearTimeout(timer));
  const [, operations, succeeded] = /^operations: (\d+), succeeded: (\d+)\n$/.exec(out) ?? [];
  if (exitCode !== 0 || operations === undefined)
    report.failures.push(`seed ${seed}: the guest ended with ${exitCode ?? signal}: ${out}${err}`);
  report.operations += Number(operations ?? 0);
  report.succeeded += Number(succeeded ?? 0);
  const honest = await bench.guest([program, 'honest'], {
    devices: CAMERA.map(({ path }) => ({ name: HONEST_DEVICE, path })),
  });
  if (honest.out !== 'frames: 4\n')
    report.failures.push(
      `after seed ${seed} an honest guest ended with ${honest.exitCode ?? honest.signal}: ${honest.out}${honest.err}`,
    );
}

async function kernelLog(bench: Bench<DriverVm>): Promise<string[]> {
  return (await bench.beside(['dmesg'])).split('\n');
}

function lastSeed({ firstSeed, sequences }: SequencesReport): number {
  return firstSeed + sequences - 1;
}
