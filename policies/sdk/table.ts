/** The class as a table: one row a command, filled once when the module starts. */
import { allocate } from './arena';

/** The contract's `access`, as bits. */
export const TO_DRIVER: u8 = 1;
export const FROM_DRIVER: u8 = 2;
export const FROM_DRIVER_ON_ERROR: u8 = 4;
export const NO_ACCESS: u8 = 0;
export const BOTH_WAYS: u8 = 3;
/** Both ways, and out even when the driver fails. */
export const ALL_ACCESS: u8 = 7;

/** The driver's bytes go out although it failed (the kernel's INFO_FL_ALWAYS_COPY). */
export const ALWAYS_COPY: u32 = 1;
/** The driver may sleep for long in the command. */
export const BLOCKING: u32 = 2;
/** The row's function may ask for further regions. */
export const NESTED: u32 = 4;
/** Of the row's rules, some are about a success. The rules say so themselves. */
export const TEACHES: u32 = 8;
/** What the session's state says changes in the command: no other operation of the session may be under way. */
export const ALONE: u32 = 16;
/** What the file is ready for is the same after the command as before. */
const STEADY: u32 = 32;

export type Handler = () => void;
/** Gives a command its kernel identifier; the layouts generated from a header have one. */
export type Names = (command: u32) => string;

/** One row; an `unmanaged` class is a view of static memory. */
@unmanaged
export class Row {
  name: usize;
  number: u32;
  mask: u32;
  head: u32;
  options: u32;
  /** What the guest gets when the row refuses, and why. 0: the row doesn't refuse. */
  errno: u32;
  refused: u32;
  handler: usize;
  /** What a success means for the session. */
  settler: usize;
  /** Its rules: the first one's index, and how many there are. */
  firstRule: u32;
  ruleCount: u32;
  next: usize;
  access: u8;
}

/** Where a command has its size (_IOC_SIZESHIFT, _IOC_SIZEBITS), and the largest there is. */
const SIZE_SHIFT: u32 = 16;
const SIZE_MAX: u32 = 0x3fff;
const SIZE_BITS: u32 = SIZE_MAX << SIZE_SHIFT;
/** The mask of a command whose number is one. */
const EXACT: u32 = 0xffffffff;

/** Room for the longest class, V4L2, twice over. */
export const ROWS_MAX: u32 = 192;
const TEXTS_MAX: u32 = 64;
const ROW_BYTES: usize = offsetof<Row>();
const rows: usize = memory.data(192 * 52, 8);
/** For each low byte of a command the first row with it: rows of one command type differ there. */
const buckets: usize = memory.data(4 * 256, 8);
const reasonTexts: usize = memory.data(4 * 64, 8);
const tableNames: usize = memory.data(4 * 64, 8);

/** Headers of one class: the DRM core's and a driver's, for instance. */
const HEADERS_MAX: u32 = 4;
const headers: usize = memory.data(4 * 4, 8);

let className: string = '';
let headerCount: u32 = 0;
/** Options of every row. */
let classOptions: u32 = 0;
let rowCount: u32 = 0;
/** The first row of the list before, to which rules are added. */
let groupStart: u32 = 0;
let reasonCount: u32 = 0;
let tableCount: u32 = 0;
/** Rows whose mask leaves the low byte out. */
let wildRows: usize = 0;

/** Names the class, whose commands `names` knows; `options` are those of every command after it. */
export function device(name: string, names: Names, options: u32 = 0): void {
  className = name;
  classOptions = options;
  header(names);
}

/** Lets the class have commands of another header too. */
export function header(names: Names): void {
  if (headerCount >= HEADERS_MAX) unreachable();
  store<u32>(headers + 4 * headerCount++, changetype<usize>(names));
}

/** Gives a reason for denials; the text says what is refused, for the guest's owner. */
export function reason(text: string): u32 {
  return addText(reasonTexts, reasonCount++, text);
}

/** Names a handle table; the host keeps one of each per session. */
export function table(name: string): u32 {
  return addText(tableNames, tableCount++, name);
}

reason('');
export const UNKNOWN = reason('the class does not know this command');
export const SHORT = reason('the arguments are shorter than the command needs');
export const UNREADABLE = reason('a nested pointer leads outside what may be read of the guest');
export const TOO_MUCH = reason('the command asks for more nested memory than the class allows');
export const UNSUPPORTED = reason('the class does not have this file operation');

/** Adds commands of the _IOC form: direction and size are in their numbers. */
export function commands(numbers: StaticArray<u32>, options: u32 = 0, handler: Handler | null = null): void {
  startGroup();
  // _IOC_WRITE (1) is from the guest's view, as is TO_DRIVER; _IOC_READ (2) likewise.
  for (let at = 0; at < numbers.length; at++)
    add(numbers[at], EXACT, sizeOf(numbers[at]), <u8>(numbers[at] >> 30), options, handler);
}

/** Adds commands whose size is in their numbers, but not what the driver does: it reads, or it writes, whatever they say. */
export function commandsWith(
  access: u8,
  numbers: StaticArray<u32>,
  options: u32 = 0,
  handler: Handler | null = null,
): void {
  startGroup();
  for (let at = 0; at < numbers.length; at++)
    add(numbers[at], EXACT, sizeOf(numbers[at]), access, options, handler);
}

/** Adds commands whose numbers say nothing of the `head` bytes at the argument. */
export function plain(
  access: u8,
  head: u32,
  numbers: StaticArray<u32>,
  options: u32 = 0,
  handler: Handler | null = null,
): void {
  startGroup();
  for (let at = 0; at < numbers.length; at++) add(numbers[at], EXACT, head, access, options, handler);
}

/** Adds commands whose argument is a plain word or nothing, whatever their numbers say. */
export function words(numbers: StaticArray<u32>, options: u32 = 0, handler: Handler | null = null): void {
  plain(NO_ACCESS, 0, numbers, options, handler);
}

/**
 * Adds commands whose size the caller chooses: the head is as long as the command says. `anyBits`: the bits of a command's number
 * that may be anything, where one name stands for several commands.
 */
export function sized(
  access: u8,
  numbers: StaticArray<u32>,
  anyBits: u32 = 0,
  options: u32 = 0,
  handler: Handler | null = null,
): void {
  startGroup();
  for (let at = 0; at < numbers.length; at++)
    add(numbers[at], ~(SIZE_BITS | anyBits), SIZE_MAX, access, options, handler);
}

/** Adds commands that the class knows and refuses; of any size, where `anyBits` of their numbers may be anything. */
export function refuse(numbers: StaticArray<u32>, errno: u32, why: u32, anyBits: u32 = 0): void {
  startGroup();
  for (let at = 0; at < numbers.length; at++) {
    const added = add(numbers[at], anyBits == 0 ? EXACT : ~(SIZE_BITS | anyBits), 0, NO_ACCESS, 0, null);
    added.errno = errno;
    added.refused = why;
  }
}

/** Has `settler` say what a success of the commands before means for the session. */
export function settles(settler: Handler): void {
  for (let index = groupStart; index < rowCount; index++) rowAt(index).settler = changetype<usize>(settler);
}

/**
 * What the file is ready for is the same after the commands before as it was: they only ask, or set what nobody waits for. The driver is not
 * polled after them.
 */
export function steady(): void {
  for (let index = groupStart; index < rowCount; index++) rowAt(index).options |= STEADY;
}

/** The list before gets the rule of that index, as the next one of each row; `options` come with it. */
export function ruleForGroup(rule: u32, options: u32): void {
  for (let index = groupStart; index < rowCount; index++) {
    const row = rowAt(index);
    if (row.ruleCount++ == 0) row.firstRule = rule;
    row.options |= options;
  }
}

/** The size that a command of the _IOC form has. */
export function sizeOf(command: u32): u32 {
  return (command >> SIZE_SHIFT) & SIZE_MAX;
}

/** How long the head of a command of this row is. */
export function headBytes(row: Row, command: u32): u32 {
  return row.mask & SIZE_BITS ? row.head : sizeOf(command);
}

/** The row of a command, or null. */
export function rowOf(command: u32): Row | null {
  return matching(load<u32>(buckets + 4 * (command & 0xff)), command) || matching(wildRows, command);
}

function matching(first: usize, command: u32): Row | null {
  for (let at = first; at != 0; at = changetype<Row>(at).next) {
    const candidate = changetype<Row>(at);
    if ((command & candidate.mask) == candidate.number) return candidate;
  }
  return null;
}

function startGroup(): void {
  groupStart = rowCount;
}

function rowAt(index: u32): Row {
  return changetype<Row>(rows + ROW_BYTES * index);
}

function add(number: u32, mask: u32, head: u32, access: u8, options: u32, handler: Handler | null): Row {
  if (rowCount >= ROWS_MAX) unreachable();
  const added = rowAt(rowCount++);
  added.name = changetype<usize>(nameOf(number));
  added.number = number;
  added.mask = mask;
  added.head = head;
  added.access = access | (options & ALWAYS_COPY ? FROM_DRIVER_ON_ERROR : NO_ACCESS);
  added.options = options | classOptions;
  added.handler = changetype<usize>(handler);
  link(added);
  return added;
}

/** The command's identifier, of whichever header has it. Traps for one of none: the class is not built of what it names. */
function nameOf(number: u32): string {
  for (let index: u32 = 0; index < headerCount; index++) {
    const name = changetype<Names>(<usize>load<u32>(headers + 4 * index))(number);
    if (name.length != 0) return name;
  }
  return unreachable();
}

function link(added: Row): void {
  if ((added.mask & 0xff) != 0xff) {
    added.next = wildRows;
    wildRows = changetype<usize>(added);
    return;
  }
  const bucket = buckets + 4 * (added.number & 0xff);
  added.next = load<u32>(bucket);
  store<u32>(bucket, changetype<usize>(added));
}

function addText(list: usize, index: u32, text: string): u32 {
  if (index >= TEXTS_MAX) unreachable();
  store<u32>(list + 4 * index, changetype<usize>(text));
  return index;
}

/**
 * The contract's `class-info`, in the arena.
 * @param settlesTransfers the end of a read or write may mean something for the session
 */
export function description(settlesTransfers: bool): usize {
  const info = allocate(36, 4);
  putText(info, className);
  const commands = putList(info + 8, rowCount, 28);
  for (let index: u32 = 0; index < rowCount; index++) {
    putCommand(commands + 28 * index, rowAt(index));
  }
  putTexts(info + 16, reasonTexts, reasonCount);
  putTexts(info + 24, tableNames, tableCount);
  store<u8>(info, settlesTransfers ? 0 : 1, 32);
  return info;
}

function putCommand(at: usize, from: Row): void {
  const settles = from.settler != 0 || (from.options & TEACHES) != 0;
  putText(at, changetype<string>(from.name));
  store<u32>(at, from.number, 8);
  store<u32>(at, from.mask, 12);
  store<u32>(at, from.head, 16);
  store<u8>(at, from.access, 20);
  store<u8>(at, from.options & NESTED ? 1 : 0, 21);
  store<u8>(at, settles ? 0 : 1, 22);
  store<u8>(at, from.options & STEADY ? 1 : 0, 23);
  store<u32>(at, from.refused, 24);
}

function putTexts(at: usize, list: usize, count: u32): void {
  const strings = putList(at, count, 8);
  for (let index: u32 = 0; index < count; index++) {
    putText(strings + 8 * index, changetype<string>(<usize>load<u32>(list + 4 * index)));
  }
}

/** Names and reasons are ASCII, so their UTF-8 is their low bytes. */
function putText(at: usize, text: string): void {
  const bytes = putList(at, text.length, 1);
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    if (code > 0x7f) unreachable();
    store<u8>(bytes + index, code);
  }
}

/** Room for a list's elements, and its address and length at `at`. */
function putList(at: usize, count: u32, elementBytes: u32): usize {
  const elements = allocate(count * elementBytes, elementBytes > 1 ? 4 : 1);
  store<u32>(at, elements, 0);
  store<u32>(at, count, 4);
  return elements;
}
