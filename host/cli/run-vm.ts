import { constants } from 'node:os';
import type pino from 'pino';
import type { DecisionLog } from '../audit/log.js';
import type { ProgramEnd } from '../driver-vm/domain.js';
import { type GuestVm, startGuestVm } from '../guest-vm/guest-vm.js';
import { DomainKeeper } from '../mediator/domain-keeper.js';
import type { Mediation } from '../mediator/mediation.js';
import { leavePrivileges } from '../privileges.js';
import { DRIVERS_DEFAULT } from './domain-choice.js';
import { closeDomain, everyServedDevice, openDomain } from './driver-domain.js';
import { type Ending, exitLike } from './exit.js';
import { openLog } from './log.js';
import { closeAuditLog, openAuditLog } from './open-audit-log.js';
import { policiesInForce } from './policies-in-force.js';
import type { VmOptions } from './vm.js';

/** Where is told what happens, and what is decided. */
interface Logs {
  log: pino.Logger;
  audit: DecisionLog | undefined;
}

/** What ends the guest VM before its program does. */
const ENDING_SIGNALS: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/** Boots a guest VM, runs `argv` in it from this folder, and ends this process as the program ended. */
export async function runInVm(argv: readonly string[], options: VmOptions): Promise<void> {
  const log = openLog(options);
  const audit = await openAuditLog(options, log);
  const running = runInDomain(argv, options, { log, audit });
  exitLike(await running.finally(() => closeAuditLog(audit, log)));
}

/** Runs the program from the driver VM's start to its end; how it ended. */
async function runInDomain(argv: readonly string[], options: VmOptions, logs: Logs): Promise<Ending> {
  const { log, audit } = logs;
  const policies = await policiesInForce(options);
  const { driverVm: mode, driver: drivers = DRIVERS_DEFAULT, modules } = options;
  let mediation: Mediation | undefined;
  const keeper = new DomainKeeper({
    open: () => openDomain({ mode, drivers, modules }, log),
    close: closeDomain,
    log,
    onLost: async () => mediation?.loseDomain(),
    onReplaced: async (next) => mediation?.replaceDomain(next),
  });
  try {
    const domain = await keeper.current;
    const vm = await startGuestVm({
      domain,
      isThere: () => keeper.isThere(domain),
      onMediation: (made) => {
        mediation = made;
      },
      devices: options.device ?? (await everyServedDevice(domain, policies)),
      policies,
      log,
      audit,
      name: argv[0] ?? 'vm',
      progress: (line) => log.info({ from: 'guest VM' }, line),
      ...(options.memory === undefined ? {} : { memoryMiB: options.memory }),
    });
    leavePrivileges(domain.kind);
    return await runProgram(argv, vm, log);
  } finally {
    process.stdin.unref?.();
    await keeper.close();
  }
}

/** Runs the program, and ends the VM with it. */
async function runProgram(argv: readonly string[], vm: GuestVm, log: pino.Logger): Promise<Ending> {
  const interruption = interruptions(() => vm.close());
  try {
    const run = vm.run(inThisFolder(argv), write, process.stdin).then(endingOf);
    return await run.catch((error: Error) => interruption.ending() ?? Promise.reject(error));
  } finally {
    log.info({ ...(await vm.close()) }, 'the guest VM has ended');
    interruption.stop();
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
function endingOf({ code, signal }: ProgramEnd): Ending {
  const name = Object.entries(constants.signals).find(([, number]) => number === signal)?.[0];
  return { exitCode: code, signal: (name ?? null) as NodeJS.Signals | null };
}

/**
 * Calls `end` when this process is told to end, or nobody reads what the program writes any more: it then ends as by that signal, as if it were
 * the program itself.
 */
function interruptions(end: () => Promise<unknown>): { ending(): Ending | undefined; stop(): void } {
  let signal: NodeJS.Signals | undefined;
  const onSignal = (received: NodeJS.Signals): void => {
    signal ??= received;
    void end();
  };
  const onBroken = (error: NodeJS.ErrnoException): void =>
    onSignal(error.code === 'EPIPE' ? 'SIGPIPE' : 'SIGTERM');
  for (const name of ENDING_SIGNALS) process.on(name, onSignal);
  for (const stream of [process.stdout, process.stderr]) stream.on('error', onBroken);
  return {
    ending: () => (signal === undefined ? undefined : { exitCode: null, signal }),
    // A stream that is broken stays so, and must not become an exception.
    stop: () => {
      for (const name of ENDING_SIGNALS) process.off(name, onSignal);
    },
  };
}
