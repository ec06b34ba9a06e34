/** The file operation under judgement, and bounds-checked access to the snapshot of its arguments. */

/** The contract's `operation`. */
export const enum Operation {
  Open,
  Ioctl,
  Read,
  Write,
  Mmap,
  Seek,
}

/** The contract's `call`, and the driver's outcome once there is one. */
export namespace call {
  export let session: u32 = 0;
  export let node: u32 = 0;
  export let operation: u32 = 0;
  export let command: u32 = 0;
  export let fileFlags: u32 = 0;
  export let argument: u64 = 0;
  export let length: u64 = 0;
  export let offset: u64 = 0;
  export let state: u64 = 0;
  export let outcome: i64 = 0;
}

/** Region 0 is the head: what the argument points to. */
export const HEAD: u32 = 0;
/** Regions of one operation: as many as any class's envelope has grants, and the head. */
export const REGIONS_MAX: u32 = 65;

/** For each region that has been read: where its snapshot is, and how long. Two words a region. */
const snapshots: usize = memory.data(8 * 65, 8);

/** An accessor was asked for bytes beyond its region: the operation's arguments are short. */
export let short: bool = false;

/** Forgets every region but the head, which the host has placed. */
export function takeHead(address: usize, bytes: u32): void {
  memory.fill(snapshots, 0, 8 * REGIONS_MAX);
  setSnapshot(HEAD, address, bytes);
  short = false;
}

export function setSnapshot(region: u32, address: usize, bytes: u32): void {
  store<u32>(snapshots + 8 * region, address, 0);
  store<u32>(snapshots + 8 * region, bytes, 4);
}

/** How many bytes of the region have been read. */
export function bytesOf(region: u32): u32 {
  return region < REGIONS_MAX ? load<u32>(snapshots + 8 * region, 4) : 0;
}

export function u8At(region: u32, offset: u32): u8 {
  return valueAt<u8>(region, offset);
}

export function u16At(region: u32, offset: u32): u16 {
  return valueAt<u16>(region, offset);
}

export function u32At(region: u32, offset: u32): u32 {
  return valueAt<u32>(region, offset);
}

export function u64At(region: u32, offset: u32): u64 {
  return valueAt<u64>(region, offset);
}

/** Whether the text at `offset` of the head, with its NUL, is this one. */
export function isText(offset: u32, text: string): bool {
  return hasTextAt(offset, text) && u8At(HEAD, offset + text.length) == 0;
}

/** Whether the `bytes` at `offset` of the head have the text somewhere. */
export function hasText(offset: u32, bytes: u32, text: string): bool {
  for (let at: u32 = 0; at + text.length <= bytes; at++) if (hasTextAt(offset + at, text)) return true;
  return false;
}

function hasTextAt(offset: u32, text: string): bool {
  for (let index = 0; index < text.length; index++)
    if (u8At(HEAD, offset + index) != text.charCodeAt(index)) return false;
  return true;
}

/** The value in the snapshot; 0 beyond its end, which denies the operation. */
function valueAt<T>(region: u32, offset: u32): T {
  const bytes = bytesOf(region);
  if (bytes < sizeof<T>() || offset > bytes - sizeof<T>()) {
    short = true;
    return 0 as T;
  }
  return load<T>(<usize>load<u32>(snapshots + 8 * region, 0) + offset);
}
