import type { ChildProcess } from 'node:child_process';
import { basename } from 'node:path';
import type pino from 'pino';
import type { DecisionLog } from '../audit/log.js';
import { DomainKeeper } from '../mediator/domain-keeper.js';
import { type GuestReport, runGuest } from '../mediator/guest.js';
import type { Mediation } from '../mediator/mediation.js';
import { leavePrivileges } from '../privileges.js';
import { connectToHost, runServedGuest } from '../serve/client.js';
import { defaultSocketPath } from '../serve/door.js';
import { DRIVERS_DEFAULT } from './domain-choice.js';
import { closeDomain, everyServedDevice, openDomain } from './driver-domain.js';
import { exitLike } from './exit.js';
import { openLog } from './log.js';
import { closeAuditLog, openAuditLog } from './open-audit-log.js';
import { policiesInForce } from './policies-in-force.js';
import type { RunOptions } from './run.js';
import { forwardSignals } from './signals.js';

/** schemas/serve.schema.json. */
const NAME_CHARACTERS_MAX = 60;

/** Runs `program` as a guest, of the running host or of a driver domain of its own, and ends this process as the guest ended. */
export async function runAsGuest(program: string, args: string[], options: RunOptions): Promise<void> {
  const log = openLog(options);
  const command: GuestCommand = { program, args, options, log };
  if (options.socket !== undefined && options.auditLog !== undefined)
    throw new Error('A guest of a running host is in the log of its host: postern serve --audit-log FILE.');
  const connection = options.alone ? undefined : connectionFor(options.socket);
  const report = connection === undefined ? await runAlone(command) : await runServed(connection, command);
  log.info({ ...report }, 'the guest has ended');
  exitLike(report);
}

interface GuestCommand {
  program: string;
  args: string[];
  options: RunOptions;
  log: pino.Logger;
}

/** The running host, if there is one; one that was asked for by its socket must be there. */
function connectionFor(socket: string | undefined): number | undefined {
  const path = socket ?? usualSocketPath();
  const connection = path === undefined ? undefined : connectToHost(path);
  if (connection === undefined && socket !== undefined)
    throw new Error(`No host listens at ${socket}. Start one: postern serve --socket ${socket}`);
  return connection;
}

function usualSocketPath(): string | undefined {
  try {
    return defaultSocketPath();
  } catch {
    return undefined; // Without a usual place there is no usual host.
  }
}

async function runServed(
  connection: number,
  { program, args, options, log }: GuestCommand,
): Promise<GuestReport> {
  const devices = options.device ?? null;
  const networkAdministration = options.netAdmin ?? false;
  return await withSignals('command', (onStart) =>
    runServedGuest(connection, {
      ...{ program, args, devices, networkAdministration, fast: options.fast ?? false, log, onStart },
      name: basename(program).slice(0, NAME_CHARACTERS_MAX),
    }),
  );
}

async function runAlone(command: GuestCommand): Promise<GuestReport> {
  const audit = await openAuditLog(command.options, command.log);
  try {
    return await runInOwnDomain(command, audit);
  } finally {
    await closeAuditLog(audit, command.log);
  }
}

async function runInOwnDomain(
  { program, args, options, log }: GuestCommand,
  audit: DecisionLog | undefined,
): Promise<GuestReport> {
  const policies = await policiesInForce(options);
  const choice = {
    mode: options.driverVm,
    drivers: options.driver ?? DRIVERS_DEFAULT,
    modules: options.modules,
  };
  let mediation: Mediation | undefined;
  const keeper = new DomainKeeper({
    open: () => openDomain(choice, log),
    close: closeDomain,
    log,
    onLost: async () => mediation?.loseDomain(),
    onReplaced: async (next) => mediation?.replaceDomain(next),
  });
  try {
    const domain = await keeper.current;
    const devices = options.device ?? (await everyServedDevice(domain, policies));
    const networkAdministration = options.netAdmin ?? false;
    const onMediation = (made: Mediation): void => {
      mediation = made;
    };
    return await withSignals(domain.kind, (onStart) =>
      runGuest({
        ...{ program, args, devices, domain, policies, log, name: program, networkAdministration, onStart },
        ...{ fast: options.fast ?? false, audit, onMediation },
      }),
    );
  } finally {
    await keeper.close();
  }
}

/** Passes signals on from the guest's start to its end, with the privileges that are needed once its launcher has its own. */
async function withSignals(
  role: Parameters<typeof leavePrivileges>[0],
  run: (onStart: (launcher: ChildProcess) => void) => Promise<GuestReport>,
): Promise<GuestReport> {
  let stopForwarding = (): void => undefined;
  const guest = run((launcher) => {
    stopForwarding = forwardSignals(launcher);
    try {
      leavePrivileges(role);
    } catch (error) {
      launcher.kill('SIGKILL');
      throw error;
    }
  });
  return await guest.finally(() => stopForwarding());
}
