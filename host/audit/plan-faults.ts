import {
  type Access,
  accessBits,
  type Call,
  type ClassInfo,
  type Command,
  type Plan,
} from '../policy/abi.js';
import type { Envelope } from '../policy/manifest.js';
import type { GeneratedCall } from './generated-calls.js';

/** The contract's special sources and regions. */
const OFFSET = 0xffffffff;
const ARGUMENT = 0xfffffffe;
const POINTER_BYTES = 8;
const INT_BYTES = 4;
const ERRNO_MAX = 4095;
const TO_DRIVER = 1;
const FROM_DRIVER = 2;
const ON_ERROR = 4;

/** What of the guest a module has seen of one operation: the head, and what it has read. */
export interface Seen {
  call: Call;
  head: Uint8Array;
  reads: readonly GeneratedCall['memory'][number][];
}

/** What in a plan the host would refuse, as native/addon/plan.cc does; addresses apart, which are the guest's. */
export function boundsFaults(plan: Plan, row: Command | undefined, envelope: Envelope, seen: Seen): string[] {
  return [
    ...countFaults(plan, envelope),
    ...accessFaults(plan, row, seen),
    ...placeFaults(plan, seen),
    ...descriptorFaults(plan, seen),
  ];
}

function countFaults({ grants, relocations, requirements, descriptors }: Plan, envelope: Envelope): string[] {
  const counts: [string, number, number][] = [
    ['grants', grants.length, envelope.grantsMax],
    ['relocations', relocations.length, envelope.relocationsMax],
    ['requirements', requirements.length, envelope.requirementsMax],
    ['descriptors', descriptors.length, envelope.descriptorsMax ?? 0],
    ['bytes of grants', grants.reduce((sum, { length }) => sum + length, 0), envelope.grantBytesMax],
  ];
  return counts
    .filter(([, count, most]) => count > most)
    .map(([what, count, most]) => `${count} ${what}, and the envelope has ${most}`);
}

function accessFaults({ head, grants }: Plan, row: Command | undefined, { call }: Seen): string[] {
  const faults: string[] = [];
  const bits = accessBits(head);
  if (!isAccess(head)) faults.push('the head may come back on error, but not otherwise');
  if (call.operation === 'ioctl' && row !== undefined) {
    const wide = accessBits(row.access);
    const widest = wide | (wide & FROM_DRIVER ? ON_ERROR : 0);
    if (bits & ~widest) faults.push("the head's access is wider than its row's");
  }
  const nested = call.operation === 'ioctl' && row?.nested === true;
  if (grants.length > 0 && !nested) faults.push('grants of an operation whose row has no nested pointers');
  for (const [index, { access, length }] of grants.entries()) {
    if (!isAccess(access) || accessBits(access) === 0) faults.push(`grant ${index} has no sound access`);
    if (length === 0) faults.push(`grant ${index} has no bytes`);
  }
  return faults;
}

function isAccess(access: Access): boolean {
  const bits = accessBits(access);
  return (bits & ON_ERROR) === 0 || (bits & FROM_DRIVER) !== 0;
}

function placeFaults(plan: Plan, seen: Seen): string[] {
  const faults: string[] = [];
  for (const { region, offset, target } of plan.relocations) {
    if (target === 0 || target > plan.grants.length)
      faults.push(`a relocation to region ${target}, which is not there`);
    if (region === ARGUMENT) continue;
    if (!isInside(plan, seen, region, offset, POINTER_BYTES))
      faults.push(`a relocation outside region ${region}, at ${offset}`);
    else if ((accessOf(plan, region) & TO_DRIVER) === 0)
      faults.push(`a relocation in region ${region}, which the driver does not read`);
  }
  for (const { source, offset, width, errno } of plan.requirements) {
    if (errno === 0 || errno > ERRNO_MAX) faults.push(`a requirement with the errno ${errno}, which is none`);
    if (width !== INT_BYTES && width !== POINTER_BYTES) faults.push(`a requirement of ${width} bytes`);
    if (source !== OFFSET && source !== ARGUMENT && !isInside(plan, seen, source, offset, width))
      faults.push(`a requirement outside region ${source}, at ${offset}`);
  }
  for (const { source, offset, width } of plan.forget) {
    if (width !== 0 && width !== INT_BYTES && width !== POINTER_BYTES)
      faults.push(`a handle of ${width} bytes is forgotten`);
    else if (
      width !== 0 &&
      source !== OFFSET &&
      source !== ARGUMENT &&
      !isInside(plan, seen, source, offset, width)
    )
      faults.push(`a handle outside region ${source}, at ${offset}, is forgotten`);
  }
  return faults;
}

function descriptorFaults(plan: Plan, seen: Seen): string[] {
  const faults: string[] = [];
  for (const { region, offset, width, flow } of plan.descriptors) {
    if (width !== INT_BYTES && (width !== POINTER_BYTES || flow !== 'to-driver'))
      faults.push(`a descriptor of ${width} bytes`);
    if (!isInside(plan, seen, region, offset, width))
      faults.push(`a descriptor outside region ${region}, at ${offset}`);
    else if ((accessOf(plan, region) & (flow === 'to-driver' ? TO_DRIVER : FROM_DRIVER)) === 0)
      faults.push(`a descriptor in region ${region}, whose bytes do not go that way`);
  }
  return faults;
}

function isInside(plan: Plan, { head }: Seen, region: number, offset: number, width: number): boolean {
  const bytes = region === 0 ? head.length : plan.grants[region - 1]?.length;
  return bytes !== undefined && width <= bytes && offset <= bytes - width;
}

function accessOf({ head, grants }: Plan, region: number): number {
  return accessBits(region === 0 ? head : (grants[region - 1]?.access ?? {}));
}

/** What in a plan has nothing to do with the guest's arguments: grants of what no pointer names, pointers replaced by others. */
export function argumentFaults(plan: Plan, seen: Seen): string[] {
  const named = addressesIn(seen);
  const faults = plan.grants
    .filter(({ address }) => !named(address))
    .map(
      ({ address, length }) =>
        `a grant of ${length} bytes at 0x${address.toString(16)}, an address that no argument names`,
    );
  for (const { region, offset, target } of plan.relocations) {
    const grant = plan.grants[target - 1];
    const value = region === ARGUMENT ? seen.call.argument : pointerAt(plan, seen, region, offset);
    if (grant !== undefined && value !== undefined && value !== grant.address)
      faults.push(`the pointer at ${offset} of region ${region} is not the address of region ${target}`);
  }
  return faults;
}

/** Whether an address is one that the guest has given: the argument, the end of its head, or eight bytes of what was seen. */
function addressesIn({ call, head, reads }: Seen): (address: bigint) => boolean {
  return (address) =>
    address === call.argument ||
    address === BigInt.asUintN(64, call.argument + BigInt(head.length)) ||
    [head, ...reads.map(({ bytes }) => bytes)].some((bytes) => holds(bytes, address));
}

function holds(bytes: Uint8Array, value: bigint): boolean {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 0; at + POINTER_BYTES <= bytes.length; at += INT_BYTES)
    if (view.getBigUint64(at, true) === value) return true;
  return false;
}

/** The pointer in a region, as far as the module has seen the region; undefined where it hasn't. */
function pointerAt(plan: Plan, { head, reads }: Seen, region: number, offset: number): bigint | undefined {
  const start = plan.grants[region - 1]?.address;
  const bytes = region === 0 ? head : reads.find(({ address }) => address === start)?.bytes;
  if (bytes === undefined || offset + POINTER_BYTES > bytes.length) return undefined;
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getBigUint64(offset, true);
}

/** What in a denial means nothing: an errno that is none, a reason that the class does not have, a field beyond the head. */
export function denialFaults(
  { errno, reason, field }: { errno: number; reason: number; field: number },
  { reasons }: ClassInfo,
  head: Uint8Array,
): string[] {
  const faults: string[] = [];
  if (errno === 0 || errno > ERRNO_MAX) faults.push(`a denial with the errno ${errno}, which is none`);
  if (reason === 0 || reason >= reasons.length)
    faults.push(`a denial with the reason ${reason}, which the class has not`);
  if (field !== 0xffffffff && field >= Math.max(head.length, 1))
    faults.push(`a denial about the field at ${field} of a head of ${head.length} bytes`);
  return faults;
}
