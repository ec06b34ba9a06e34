import type { ChildProcess } from 'node:child_process';
import type pino from 'pino';
import type { DriverDomain } from '../driver-vm/domain.js';
import { type GuestReport, runGuest } from '../mediator/guest.js';
import { DRIVERS_DEFAULT } from './domain-choice.js';
import { closeDomain, everyServedDevice, openDomain } from './driver-domain.js';
import { exitLike } from './exit.js';
import { openLog } from './log.js';
import type { RunOptions } from './run.js';
import { forwardSignals } from './signals.js';

/** Runs `program` as a guest of the driver domain that `options` choose, and ends this process as the guest ended. */
export async function runAsGuest(program: string, args: string[], options: RunOptions): Promise<void> {
  const log = openLog(options);
  const domain = await openDomain(
    { mode: options.driverVm, drivers: options.driver ?? DRIVERS_DEFAULT, modules: options.modules },
    log,
  );
  const report = await runIn(domain, program, args, options, log).finally(() => closeDomain(domain));
  log.info({ ...report }, 'the guest has ended');
  exitLike(report);
}

async function runIn(
  domain: DriverDomain,
  program: string,
  args: string[],
  options: RunOptions,
  log: pino.Logger,
): Promise<GuestReport> {
  const devices = options.device ?? (await everyServedDevice(domain));
  let stopForwarding = (): void => undefined;
  const onStart = (launcher: ChildProcess): void => {
    stopForwarding = forwardSignals(launcher);
  };
  const networkAdministration = options.netAdmin ?? false;
  const guest = runGuest({
    program,
    args,
    devices,
    domain,
    log,
    name: program,
    networkAdministration,
    onStart,
  });
  return await guest.finally(() => stopForwarding());
}
