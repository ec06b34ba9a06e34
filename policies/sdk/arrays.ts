/** Arrays that a head leads to, as part of the table: a pointer, a count of elements beside it, and which way the elements go. */
import { EINVAL } from '../__generated__/kernel';
import { HEAD, u32At, u64At } from './call';
import { BOTH_WAYS, indexOf, reason, Row, ROWS_MAX, rowsSoFar, TO_DRIVER } from './table';
import { deny, nested } from './verdict';

const TOO_MANY = reason('the array is longer than any that a driver takes');

/** Elements of one array: far above any device's objects, a colour table's entries or a command's buffers. Of bytes there may be more. */
const ELEMENTS_MAX: u64 = 1 << 16;
const BYTES_MAX: u64 = 512 * 1024;

const ARRAYS_MAX: u32 = 96;
/** Words: where the pointer and the count are, an element's size, the access, and the row's index. */
const ARRAY_BYTES: usize = 20;
const arrays: usize = memory.data(96 * 20, 4);
/** Each row's first array, by the row's index: 1 and up; 0: it has none. The others follow it. */
const firstOf: usize = memory.data(4 * 192, 4);

let arrayCount: u32 = 0;

/** The row before has an array that the driver fills, perhaps in part: what it leaves alone stays as it was. */
export function fills(pointer: u32, count: u32, elementBytes: u32): void {
  add(pointer, count, elementBytes, BOTH_WAYS);
}

/** The row before has an array that the driver reads. */
export function takes(pointer: u32, count: u32, elementBytes: u32): void {
  add(pointer, count, elementBytes, TO_DRIVER);
}

function add(pointer: u32, count: u32, elementBytes: u32, access: u8): void {
  const row = rowsSoFar() - 1;
  if (arrayCount >= ARRAYS_MAX || row >= ROWS_MAX) unreachable();
  const at = arrays + ARRAY_BYTES * arrayCount++;
  store<u32>(at, pointer, 0);
  store<u32>(at, count, 4);
  store<u32>(at, elementBytes, 8);
  store<u32>(at, access, 12);
  store<u32>(at, row, 16);
  if (load<u32>(firstOf + 4 * row) == 0) store<u32>(firstOf + 4 * row, arrayCount);
}

/** Grants what the row's arrays are, in their order. */
export function admitArrays(row: Row): void {
  const index = indexOf(row);
  const first = load<u32>(firstOf + 4 * index);
  for (let number = first; number != 0 && number <= arrayCount; number++) {
    const at = arrays + ARRAY_BYTES * (number - 1);
    if (load<u32>(at, 16) != index) return;
    array(load<u32>(at, 0), u32At(HEAD, load<u32>(at, 4)), load<u32>(at, 8), <u8>load<u32>(at, 12));
  }
}

/** The array of `count` elements that the head's pointer leads to; without elements or without a pointer, nothing is copied. */
export function array(pointer: u32, count: u64, elementBytes: u32, access: u8): void {
  if (count == 0 || u64At(HEAD, pointer) == 0) return;
  if (count > (elementBytes == 1 ? BYTES_MAX : ELEMENTS_MAX)) return deny(EINVAL, TOO_MANY, pointer);
  nested(HEAD, pointer, <u32>count * elementBytes, access);
}
