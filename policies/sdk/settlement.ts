/** Builds the contract's `settlement`: what a finished operation means for the session. */

/** An ioctl of the classes here teaches at most one handle for each of V4L2's 8 planes. */
const ENTRIES_MAX: u32 = 16;
const LESSON_BYTES: usize = 16;
const MASK_BYTES: usize = 24;
const lessons: usize = memory.data(16 * 16, 8);
const masks: usize = memory.data(16 * 24, 8);
const answer: usize = memory.data(32, 8);

let lessonCount: u32 = 0;
let maskCount: u32 = 0;

/** Starts a settlement that learns nothing. */
export function beginSettlement(): void {
  lessonCount = maskCount = 0;
}

/** The value that the driver wrote at `offset` of `region` becomes one of the guest's handles. */
export function learn(handles: u32, region: u32, offset: u32, width: u32): void {
  if (lessonCount >= ENTRIES_MAX) unreachable();
  const at = lessons + LESSON_BYTES * lessonCount++;
  store<u32>(at, handles, 0);
  store<u32>(at, region, 4);
  store<u32>(at, offset, 8);
  store<u32>(at, width, 12);
}

/** Of the driver's answer at `offset` of `region` the guest sees only the bits in `keep`. */
export function mask(region: u32, offset: u32, width: u32, keep: u64): void {
  if (maskCount >= ENTRIES_MAX) unreachable();
  const at = masks + MASK_BYTES * maskCount++;
  store<u32>(at, region, 0);
  store<u32>(at, offset, 4);
  store<u32>(at, width, 8);
  store<u64>(at, keep, 16);
}

/** The contract's `settlement`: the new word of class state, and the poll events to mirror and to pretend. */
export function settlement(state: u64, watch: u32, idle: u32): usize {
  store<u64>(answer, state, 0);
  store<u32>(answer, watch, 8);
  store<u32>(answer, idle, 12);
  store<u32>(answer, lessons, 16);
  store<u32>(answer, lessonCount, 20);
  store<u32>(answer, masks, 24);
  store<u32>(answer, maskCount, 28);
  return answer;
}
