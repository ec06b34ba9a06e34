import type pino from 'pino';
import type { Device } from '../driver-vm/devices.js';
import type { DriverDomain } from '../driver-vm/domain.js';
import { startDriverVm } from '../driver-vm/driver-vm.js';
import { startLocalDomain } from '../driver-vm/local-domain.js';
import { forgetDomain } from '../mediator/mediation.js';
import {
  loadPolicies,
  type PolicyMatch,
  type PolicyPackage,
  policyForDevice,
  refusalOf,
} from '../policy/store.js';
import type { DeviceChoice } from './device-option.js';
import type { DomainChoice } from './domain-choice.js';

/** A device of the driver domain with the policy module that judges it, if one does. */
export interface OfferedDevice {
  device: Device;
  policy: PolicyMatch | undefined;
  /** Why no guest gets it, where its class refuses it on purpose. */
  refusal: string | undefined;
}

/**
 * Starts the driver domain that was chosen.
 * @throws Error with what is missing or how the driver domain failed
 */
export async function openDomain(choice: DomainChoice, log: pino.Logger): Promise<DriverDomain> {
  const tell = (line: string): void => log.info({ from: 'driver domain' }, line);
  if (choice.mode === 'local') return await startLocalDomain({ log: tell });
  const { drivers, modules, shareRoot = false } = choice;
  return await startDriverVm({
    drivers,
    modules,
    shareRoot,
    snapshot: choice.mode === 'snapshot',
    log: tell,
  });
}

/** What a driver domain offers now, by name. */
export async function offeredDevices(
  domain: DriverDomain,
  policies: readonly PolicyPackage[] = loadPolicies(),
): Promise<OfferedDevice[]> {
  const devices = await domain.devices();
  return devices
    .map((device) => ({
      device,
      policy: policyForDevice(policies, device.name),
      refusal: refusalOf(policies, device.name),
    }))
    .sort((a, b) => a.device.name.localeCompare(b.device.name, 'en', { numeric: true }));
}

/** Ends a driver domain that guests may have used. */
export async function closeDomain(domain: DriverDomain): Promise<void> {
  forgetDomain(domain);
  await domain.close();
}

/** Every device of a driver domain that a policy module serves to any guest, each where it is beside its driver. */
export async function everyServedDevice(
  domain: DriverDomain,
  policies?: readonly PolicyPackage[],
): Promise<DeviceChoice[]> {
  const offered = await offeredDevices(domain, policies);
  const served = offered.filter(
    ({ policy }) => policy !== undefined && !policy.package.manifest.nodes[policy.node]?.onRequest,
  );
  return served.map(({ device: { name } }) => ({ name, path: `/dev/${name}` }));
}
