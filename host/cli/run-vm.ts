import { constants } from 'node:os';
import type { ProgramEnd } from '../driver-vm/domain.js';
import { startGuestVm } from '../guest-vm/guest-vm.js';
import { leavePrivileges } from '../privileges.js';
import { DRIVERS_DEFAULT } from './domain-choice.js';
import { closeDomain, everyServedDevice, openDomain } from './driver-domain.js';
import { exitLike } from './exit.js';
import { openLog } from './log.js';
import { policiesInForce } from './policies-in-force.js';
import type { VmOptions } from './vm.js';

/** What ends the guest VM before its program does. */
const ENDING_SIGNALS: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/** Boots a guest VM, runs `argv` in it from this folder, and ends this process as the program ended. */
export async function runInVm(argv: readonly string[], options: VmOptions): Promise<void> {
  const log = openLog(options);
  const policies = await policiesInForce(options);
  const domain = await openDomain(
    { mode: options.driverVm, drivers: options.driver ?? DRIVERS_DEFAULT, modules: options.modules },
    log,
  );
  try {
    const vm = await startGuestVm({
      domain,
      devices: options.device ?? (await everyServedDevice(domain, policies)),
      policies,
      log,
      name: argv[0] ?? 'vm',
      progress: (line) => log.info({ from: 'guest VM' }, line),
      ...(options.memory === undefined ? {} : { memoryMiB: options.memory }),
    });
    leavePrivileges(domain.kind);
    const stopListening = endOnSignals(() => vm.close());
    try {
      exitLike(endingOf(await vm.run(inThisFolder(argv), write, process.stdin)));
    } finally {
      stopListening();
      log.info({ ...(await vm.close()) }, 'the guest VM has ended');
    }
  } finally {
    process.stdin.unref?.();
    await closeDomain(domain);
  }
}

/** The folder may not be there for the VM's user: then the program says so itself. */
function inThisFolder(argv: readonly string[]): string[] {
  return ['sh', '-c', 'cd -- "$0" && exec "$@"', process.cwd(), ...argv];
}

function write(chunk: Buffer, isError: boolean): void {
  (isError ? process.stderr : process.stdout).write(chunk);
}

/** The VM’s signal numbers are Linux’s, and so are this machine’s. */
function endingOf({ code, signal }: ProgramEnd): { exitCode: number | null; signal: NodeJS.Signals | null } {
  const name = Object.entries(constants.signals).find(([, number]) => number === signal)?.[0];
  return { exitCode: code, signal: (name ?? null) as NodeJS.Signals | null };
}

function endOnSignals(end: () => Promise<unknown>): () => void {
  const onSignal = (): void => {
    void end();
  };
  for (const signal of ENDING_SIGNALS) process.once(signal, onSignal);
  return () => {
    for (const signal of ENDING_SIGNALS) process.off(signal, onSignal);
  };
}
