import { once } from 'node:events';
import { defaultStoreFolder, defaultTrustPath } from '../package/locations.js';
import { leavePrivileges } from '../privileges.js';
import { defaultSocketPath } from '../serve/door.js';
import { Host } from '../serve/host.js';
import { StoreSource, withSharing } from '../serve/source.js';
import { DRIVERS_DEFAULT } from './domain-choice.js';
import { closeDomain, everyServedDevice, openDomain } from './driver-domain.js';
import { openLog } from './log.js';
import { closeAuditLog, openAuditLog } from './open-audit-log.js';
import type { ServeOptions } from './serve.js';

/** Serves guests until a signal asks for the end. */
export async function serveGuests(options: ServeOptions): Promise<void> {
  const log = openLog({ ...options, tellErrors: true });
  const socket = options.socket ?? defaultSocketPath();
  const { driverVm: mode, driver: drivers = DRIVERS_DEFAULT, modules, device } = options;
  const trust = options.trust ?? defaultTrustPath();
  const store = new StoreSource(options.store ?? defaultStoreFolder(), trust, log);
  const ended = Promise.race([once(process, 'SIGTERM'), once(process, 'SIGINT')]);
  const audit = await openAuditLog(options, log);
  const host = await Host.start({
    socket,
    log,
    audit,
    policies: withSharing(store, options.sharing ?? new Map()),
    open: () => openDomain({ mode, drivers, modules }, log),
    close: closeDomain,
    devices: device ?? null,
    served: everyServedDevice,
  });
  const crashed = once(process, 'uncaughtException').then(([error]) => Promise.reject(error));
  try {
    leavePrivileges(mode === 'local' ? 'local' : 'vm');
    process.stdout.write(`postern: serving at ${socket}\n`);
    await Promise.race([ended, host.failed, crashed]);
  } finally {
    await host.close('The host is ending; so is its guest.');
    await closeAuditLog(audit, log);
  }
}
