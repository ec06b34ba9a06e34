import type pino from 'pino';
import type { DriverDomain } from '../driver-vm/domain.js';
import { withProgress } from '../setup/progress.js';
import { showCamera } from './demonstration-camera.js';
import { showTerminals } from './demonstration-terminals.js';
import { DRIVERS_DEFAULT } from './domain-choice.js';
import { closeDomain, openDomain } from './driver-domain.js';
import { openLog } from './log.js';

/**
 * `npm start`: a camera whose driver runs in a virtual machine, used by an ordinary program outside of it. On a machine that
 * cannot run the driver VM, two terminals of the local driver domain instead.
 */
export async function runDemonstration(): Promise<void> {
  const log = openLog({});
  const vm = await bootDriverVm(log);
  if (vm !== undefined) return await showCamera(vm, log).finally(() => closeDomain(vm));
  const local = await openDomain({ mode: 'local', drivers: [] }, log);
  await showTerminals(local, log).finally(() => closeDomain(local));
}

/** The driver VM, or undefined, with the reason told, where it does not start. */
async function bootDriverVm(log: pino.Logger): Promise<DriverDomain | undefined> {
  try {
    return await withProgress(
      `Booting the driver VM (Debian's kernel, driver ${DRIVERS_DEFAULT.join(', ')})`,
      () => openDomain({ mode: 'snapshot', drivers: DRIVERS_DEFAULT }, log),
    );
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
    process.stderr.write(
      'There is no driver VM, so this shows the local driver domain: a process beside this machine’s own kernel.\n' +
        '`npx postern doctor` tells what a driver VM needs.\n',
    );
    return undefined;
  }
}
