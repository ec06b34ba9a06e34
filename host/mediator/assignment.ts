import type { Device } from '../driver-vm/devices.js';
import type { DriverDomain } from '../driver-vm/domain.js';
import type { NativeDescriptor, NativeNode } from '../native.js';
import { DESCRIPTOR_KINDS } from '../policy/lift.js';
import { type PolicyPackage, policyForDevice, refusalOf } from '../policy/store.js';
import type { GuardedDevice } from './world.js';

/** Terminals that a guest may have of a domain whose terminals come and go. */
const TERMINALS_MAX = 64;
/** UNIX98 terminals, from Documentation/admin-guide/devices.txt. */
const TERMINAL_MAJOR = 136;

/** Devices of the domain by name, and where the guest sees each. */
export type DeviceNames = readonly { name: string; path: string }[];

/** Which modules a guest needs, and the nodes of its view: a node's classIndex is its package's index. */
export interface Assignment {
  packages: PolicyPackage[];
  nodes: NativeNode[];
  guarded: GuardedDevice[];
  /** Which class judges the descriptors that the guest's drivers make. */
  descriptors: NativeDescriptor[];
}

/**
 * Which module judges which device, and the nodes of the guest's view.
 * @param missing why modules that there should be are not among `policies`, for the error
 * @throws Error when a device is not there or has no policy
 */
export async function assignDevices(
  domain: DriverDomain,
  devices: DeviceNames,
  policies: readonly PolicyPackage[],
  missing: readonly string[] = [],
): Promise<Assignment> {
  const offered = await domain.devices();
  const assignment: Assignment = { packages: [], nodes: [], guarded: [], descriptors: [] };
  for (const { name, path } of devices) {
    const device = offered.find((candidate) => candidate.name === name);
    if (device === undefined)
      throw new Error(
        `The driver domain has no device '${name}'. It has: ${offered.map((other) => other.name).join(', ') || 'none'}.`,
      );
    const match = policyForDevice(policies, name);
    if (match === undefined)
      throw new Error(
        `No guest gets the device '${name}': ${[refusalOf(policies, name) ?? 'no policy module serves it', ...missing].join('; ')}.`,
      );
    addNode(assignment, match.package, match.node, device, path);
    addTerminals(assignment, match.package, policies, offered);
  }
  if (assignment.packages.some(passesDescriptors)) addDescriptors(assignment, policies);
  return assignment;
}

function addNode(
  assignment: Assignment,
  judge: PolicyPackage,
  kind: number,
  device: Device,
  path: string,
): void {
  if (assignment.nodes.some((node) => node.path === path)) return;
  if (!assignment.packages.includes(judge)) assignment.packages.push(judge);
  const classIndex = assignment.packages.indexOf(judge);
  assignment.nodes.push({
    path,
    name: device.name,
    classIndex,
    kind,
    major: device.major,
    minor: device.minor,
  });
  assignment.guarded.push({ path, device });
}

function passesDescriptors({ manifest }: PolicyPackage): boolean {
  return (manifest.envelope.descriptorsMax ?? 0) > 0;
}

/** Descriptors that a driver makes are judged by the class that has a node of their kind, whichever driver it was. */
function addDescriptors(assignment: Assignment, policies: readonly PolicyPackage[]): void {
  for (const [kind, name] of DESCRIPTOR_KINDS.entries()) {
    const judges = policies.filter(({ manifest }) =>
      manifest.nodes.some(({ descriptor }) => descriptor === name),
    );
    // As with devices: what several classes claim is judged by none.
    const [judge] = judges;
    if (judge === undefined || judges.length > 1) continue;
    if (!assignment.packages.includes(judge)) assignment.packages.push(judge);
    assignment.descriptors.push({
      kind,
      classIndex: assignment.packages.indexOf(judge),
      node: judge.manifest.nodes.findIndex(({ descriptor }) => descriptor === name),
    });
  }
}

/** A class that also serves terminals that come and go gets its guest a node for each that may come. */
function addTerminals(
  assignment: Assignment,
  judge: PolicyPackage,
  policies: readonly PolicyPackage[],
  offered: Device[],
): void {
  if (!offered.some(({ name }) => name === 'pts')) return;
  for (let minor = 0; minor < TERMINALS_MAX; minor++) {
    const name = `pts/${minor}`;
    const match = policyForDevice(policies, name);
    if (match?.package !== judge) return;
    const device = { name, major: TERMINAL_MAJOR, minor, subsystem: '', sysfs: '', files: {}, links: {} };
    addNode(assignment, judge, match.node, device, `/dev/${name}`);
  }
}
