/** Builds the contract's `verdict`: a plan grows by grants, relocations and requirements, unless something denies it. */
import { EFAULT, EINVAL, ENOMEM } from '../__generated__/kernel';
import { bytesOf, call, HEAD, setSnapshot, short, u64At } from './call';
import { read } from './guest-memory';
import { NO_ACCESS, SHORT, TO_DRIVER, TOO_MUCH, UNREADABLE } from './table';

/** A denial that is about no field of the head. */
export const NO_FIELD: u32 = 0xffffffff;
/** Sources of a requirement besides the regions; the argument may also be a pointer to relocate. */
export const OFFSET: u32 = 0xffffffff;
export const ARGUMENT: u32 = 0xfffffffe;

/** Nested regions of one operation; every manifest's grantsMax is at most this. */
const GRANTS_MAX: u32 = 64;
/** As many as a large atomic commit of a display has properties. */
const REQUIREMENTS_MAX: u32 = 64;
/** The same commit with a fence for each plane, or V4L2's planes. */
const DESCRIPTORS_MAX: u32 = 16;
/** An ioctl ends what a handle names, or all that a table has. */
const FORGETTINGS_MAX: u32 = 4;
/** Bytes of all nested regions of one operation: V4L2's longest, 2048 clips, takes 48 KiB. */
let grantBytesMax: u32 = 128 * 1024;
/** Memory is there or not by the page. */
const PAGE_BYTES: u32 = 4096;
/** What one operation may read for its decision; the arena holds it together with a head. */
const READ_BYTES_MAX: u32 = 64 * 1024;

const GRANT_BYTES: usize = 16;
const RELOCATION_BYTES: usize = 12;
const REQUIREMENT_BYTES: usize = 28;
const DESCRIPTOR_BYTES: usize = 16;
const FORGETTING_BYTES: usize = 16;
const grants: usize = memory.data(64 * 16, 8);
const relocations: usize = memory.data(64 * 12, 8);
const requirements: usize = memory.data(64 * 28, 8);
const descriptors: usize = memory.data(16 * 16, 8);
const forgettings: usize = memory.data(4 * 16, 8);
const readResult: usize = memory.data(12, 8);
/** The largest variant is the plan: a discriminant and 48 bytes. */
const answer: usize = memory.data(56, 8);

let grantCount: u32 = 0;
let relocationCount: u32 = 0;
let requirementCount: u32 = 0;
let descriptorCount: u32 = 0;
let forgettingCount: u32 = 0;
let grantBytes: u32 = 0;
let readBytes: u32 = 0;
let headAccess: u8 = NO_ACCESS;
let blocks: bool = false;
let excludes: bool = false;
let denied: bool = false;
let deniedErrno: u32 = 0;
let deniedReason: u32 = 0;
let deniedField: u32 = NO_FIELD;

/** Lets a class's operations have other nested regions than V4L2's: at most the manifest's grantBytesMax. */
export function nestedBytes(max: u32): void {
  grantBytesMax = max;
}

/** Starts a plan that allows the operation and gives the driver `access` to the head. */
export function beginVerdict(access: u8, blocking: bool, alone: bool = false): void {
  grantCount = relocationCount = requirementCount = descriptorCount = forgettingCount = 0;
  grantBytes = readBytes = 0;
  headAccess = access;
  blocks = blocking;
  excludes = alone;
  denied = false;
}

/** Changes what may happen to the head. */
export function headIs(access: u8): void {
  headAccess = access;
}

/** Says whether the driver may sleep for long in this operation. */
export function mayBlock(blocking: bool): void {
  blocks = blocking;
}

/** Denies the operation; the first denial is the answer. `field` is the offending field's offset in the head. */
export function deny(errno: u32, why: u32, field: u32 = NO_FIELD): void {
  if (denied) return;
  denied = true;
  deniedErrno = errno;
  deniedReason = why;
  deniedField = field;
}

/** Denies the operation when the head is shorter than what the driver reads of it. */
export function atLeast(bytes: u32): void {
  if (bytesOf(HEAD) < bytes) deny(EINVAL, SHORT);
}

/** The guest memory at `address` may be used by the driver. Returns the new region's number, or 0 when it's denied. */
export function grant(address: u64, length: u32, access: u8): u32 {
  if (grantCount >= GRANTS_MAX || length > grantBytesMax - grantBytes) {
    deny(ENOMEM, TOO_MUCH);
    return 0;
  }
  grantBytes += length;
  const at = grants + GRANT_BYTES * grantCount++;
  store<u64>(at, address, 0);
  store<u32>(at, length, 8);
  store<u32>(at, access, 12);
  return grantCount;
}

/** The pointer at `offset` of `region` leads to `length` bytes: grants them, and has the driver see them there. */
export function nested(region: u32, offset: u32, length: u32, access: u8): u32 {
  const target = grant(u64At(region, offset), length, access);
  if (target != 0) relocate(region, offset, target);
  return target;
}

/** As `nested`, and reads the bytes so that the accessors can see them. */
export function nestedRead(region: u32, offset: u32, length: u32, access: u8): u32 {
  const target = nested(region, offset, length, access);
  if (target != 0) readInto(target, u64At(region, offset), length, region == HEAD ? offset : NO_FIELD);
  return target;
}

/** The argument is a text's address: grants the text with its NUL, at most `bytesMax` bytes, and has the driver see it there. */
export function nestedText(bytesMax: u32, errno: u32, why: u32): void {
  const bytes = textBytes(call.argument, bytesMax);
  if (bytes > bytesMax) return deny(errno, why);
  const target = bytes == 0 ? 0 : grant(call.argument, bytes, TO_DRIVER);
  if (target != 0) relocate(ARGUMENT, 0, target);
}

/** Length of the text with its NUL; 0 when it can't be read, more than `bytesMax` when it goes on. What is behind it may not be there. */
function textBytes(address: u64, bytesMax: u32): u32 {
  for (let done: u32 = 0; done < bytesMax; ) {
    const length = min(bytesMax - done, PAGE_BYTES - (<u32>(address + done) & (PAGE_BYTES - 1)));
    read(address + done, length, readResult);
    if (load<u8>(readResult) != 0) {
      deny(load<u32>(readResult, 4), UNREADABLE);
      return 0;
    }
    const bytes: usize = load<u32>(readResult, 4);
    for (let at: u32 = 0; at < length; at++) if (load<u8>(bytes + at) == 0) return done + at + 1;
    done += length;
  }
  return bytesMax + 1;
}

function readInto(region: u32, address: u64, length: u32, field: u32): void {
  if (length > READ_BYTES_MAX - readBytes) return deny(ENOMEM, TOO_MUCH, field);
  readBytes += length;
  read(address, length, readResult);
  if (load<u8>(readResult) != 0) return deny(load<u32>(readResult, 4), UNREADABLE, field);
  setSnapshot(region, <usize>load<u32>(readResult, 4), load<u32>(readResult, 8));
  if (bytesOf(region) != length) deny(EFAULT, SHORT, field);
}

function relocate(region: u32, offset: u32, target: u32): void {
  const at = relocations + RELOCATION_BYTES * relocationCount++;
  store<u32>(at, region, 0);
  store<u32>(at, offset, 4);
  store<u32>(at, target, 8);
}

/** The contract's `scope`: whose handles count. */
export const GUEST: u8 = 0;
export const DEVICE: u8 = 1;
export const SESSION: u8 = 2;

/** The value of `width` bytes at `offset` of `source` must be in the handle table, where what is `within` the scope counts. */
export function requireHandle(
  within: u8,
  handles: u32,
  source: u32,
  offset: u32,
  width: u32,
  errno: u32,
  why: u32,
): void {
  if (requirementCount >= REQUIREMENTS_MAX) return deny(ENOMEM, TOO_MUCH);
  const at = requirements + REQUIREMENT_BYTES * requirementCount++;
  store<u32>(at, handles, 0);
  store<u32>(at, source, 4);
  store<u32>(at, offset, 8);
  store<u32>(at, width, 12);
  store<u32>(at, errno, 16);
  store<u32>(at, why, 20);
  store<u8>(at, within, 24);
}

/** The contract's `descriptor-kind`. */
export const DMA_BUF: u8 = 0;
export const SYNC_FILE: u8 = 1;
export const SYNCOBJ: u8 = 2;
/** The contract's `descriptor-flow`. */
export const INTO_DRIVER: u8 = 0;
export const OUT_OF_DRIVER: u8 = 1;
export const REPEATED: u8 = 2;

/** The number at `offset` of `region` is a descriptor of that kind, which goes that way. */
export function passDescriptor(
  kind: u8,
  flow: u8,
  region: u32,
  offset: u32,
  width: u32 = 4,
  closeOnExec: bool = true,
): void {
  if (descriptorCount >= DESCRIPTORS_MAX) return deny(ENOMEM, TOO_MUCH);
  const at = descriptors + DESCRIPTOR_BYTES * descriptorCount++;
  store<u32>(at, region, 0);
  store<u32>(at, offset, 4);
  store<u32>(at, width, 8);
  store<u8>(at, kind, 12);
  store<u8>(at, flow, 13);
  store<u8>(at, closeOnExec ? 1 : 0, 14);
}

/** The value of `width` bytes at `offset` of `source` is no handle of the guest any more; width 0: nothing in the session's table is. */
export function forgetHandle(handles: u32, source: u32, offset: u32, width: u32): void {
  if (forgettingCount >= FORGETTINGS_MAX) return deny(ENOMEM, TOO_MUCH);
  const at = forgettings + FORGETTING_BYTES * forgettingCount++;
  store<u32>(at, handles, 0);
  store<u32>(at, source, 4);
  store<u32>(at, offset, 8);
  store<u32>(at, width, 12);
}

/** The contract's `verdict`. */
export function verdict(): usize {
  if (short) deny(EFAULT, SHORT);
  return denied ? denial() : plan();
}

function denial(): usize {
  store<u8>(answer, 1);
  store<u32>(answer, deniedErrno, 4);
  store<u32>(answer, deniedReason, 8);
  store<u32>(answer, deniedField, 12);
  return answer;
}

function plan(): usize {
  store<u8>(answer, 0);
  store<u8>(answer, headAccess, 4);
  store<u32>(answer, grants, 8);
  store<u32>(answer, grantCount, 12);
  store<u32>(answer, relocations, 16);
  store<u32>(answer, relocationCount, 20);
  store<u32>(answer, requirements, 24);
  store<u32>(answer, requirementCount, 28);
  store<u32>(answer, descriptors, 32);
  store<u32>(answer, descriptorCount, 36);
  store<u32>(answer, forgettings, 40);
  store<u32>(answer, forgettingCount, 44);
  store<u8>(answer, blocks ? 1 : 0, 48);
  store<u8>(answer, excludes ? 1 : 0, 49);
  return answer;
}
