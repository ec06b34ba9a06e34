import type { DevicesOptions } from './devices.js';
import { DRIVERS_DEFAULT } from './domain-choice.js';
import { closeDomain, type OfferedDevice, offeredDevices, openDomain } from './driver-domain.js';
import { openLog } from './log.js';
import { policiesInForce } from './policies-in-force.js';
import { renderTable } from './table.js';

/** Whether guests get a device that they do not name: `on request` must be named by `--device`. */
type Given = 'by default' | 'on request' | 'never';

/** One device in the JSON list. */
interface Row {
  name: string;
  major: number;
  minor: number;
  subsystem: string;
  policy: { name: string; version: string; digest: string } | null;
  given: Given;
  /** Why its class refuses it, where it does. */
  refusal: string | null;
}

/** Starts the driver domain, prints what it offers, and ends it. */
export async function listDevices(options: DevicesOptions): Promise<void> {
  const policies = await policiesInForce(options);
  const domain = await openDomain(
    { mode: options.driverVm, drivers: options.driver ?? DRIVERS_DEFAULT, modules: options.modules },
    openLog({}),
  );
  try {
    const rows = (await offeredDevices(domain, policies)).map(rowOf);
    process.stdout.write(options.json ? `${JSON.stringify(rows, null, 2)}\n` : renderText(rows));
  } finally {
    await closeDomain(domain);
  }
}

function rowOf({ device, policy, refusal: reason }: OfferedDevice): Row {
  const refusal = reason ?? null;
  const { name, major, minor, subsystem } = device;
  if (policy === undefined) return { name, major, minor, subsystem, policy: null, given: 'never', refusal };
  const { manifest, digest } = policy.package;
  return {
    name,
    major,
    minor,
    subsystem,
    policy: { name: manifest.name, version: manifest.version, digest },
    given: manifest.nodes[policy.node]?.onRequest ? 'on request' : 'by default',
    refusal,
  };
}

function renderText(rows: readonly Row[]): string {
  const lines = rows.map(({ name, major, minor, subsystem, policy, given, refusal }) => {
    const judge = policy === null ? '-' : `${policy.name} ${policy.version}`;
    return [name, `${major}:${minor}`, subsystem, judge, refusal === null ? given : `${given}: ${refusal}`];
  });
  return renderTable(['device', 'number', 'subsystem', 'policy', 'given'], lines);
}
