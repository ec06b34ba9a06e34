/**
 * What the table says of a command's fields, in the lines below the command: arrays that its head leads to, values that it may not
 * have, handles that it must own, and what a success teaches. A row's rules hold in their order, before its function.
 */
import { EINVAL, O_CLOEXEC } from '../__generated__/kernel';
import { bytesOf, call, HEAD, u16At, u32At, u64At } from './call';
import { learn, mask } from './settlement';
import { BOTH_WAYS, FROM_DRIVER, FROM_DRIVER_ON_ERROR, NESTED, NO_ACCESS, reason, Row } from './table';
import { ruleForGroup, TEACHES, TO_DRIVER } from './table';
import {
  ARGUMENT,
  deny,
  DEVICE,
  forgetHandle,
  grant,
  headIs,
  INTO_DRIVER,
  nested,
  nestedRead,
} from './verdict';
import { NO_FIELD, OUT_OF_DRIVER, passDescriptor, requireHandle } from './verdict';

const TOO_MANY = reason('the array is longer than any that a driver takes');

/** Elements of one array: far above any device's objects, a colour table's entries or a command's buffers. Of bytes there may be more. */
const ELEMENTS_MAX: u32 = 1 << 16;
const BYTES_MAX: u32 = 512 * 1024;
/** All of a value, for `without` and `hides`. */
export const ALL_BITS: u64 = ~(<u64>0);
/** Values that a set can have: a bit each. */
const SET_SIZE: u64 = 64;

const enum Kind {
  Array,
  Tail,
  Prohibition,
  Exception,
  Choice,
  Requirement,
  Forgetting,
  Descriptor,
  // What a success teaches comes last.
  Lesson,
  Secret,
  Mark,
  Reset,
}

/** One rule; an `unmanaged` class is a view of static memory. */
@unmanaged
class Rule {
  /** The bits, the value or the set that the rule is about. */
  value: u64;
  /** The conditions on which it holds: the first one's index, and how many there are. */
  firstCondition: u32;
  conditionCount: u32;
  kind: u32;
  /** Where in the head the value or the pointer is, and how wide the value is, or an element of the array. */
  offset: u32;
  bytes: u32;
  /** An array's count of elements: where it is, how wide, and the most. Without a width, it is the count itself. */
  count: u32;
  countBytes: u32;
  most: u32;
  access: u32;
  /** Where in each element of the array its payload's pointer and size are; 0: it has none. */
  payload: u32;
  payloadBytes: u32;
  /** The head comes back with the array, also after an error. */
  back: bool;
  table: u32;
  /** What a denial says. */
  errno: u32;
  why: u32;
}

/** A condition of a rule: what the value at `offset` must be. */
@unmanaged
class Condition {
  /** The value, the set or the bits. */
  value: u64;
  test: u32;
  offset: u32;
  bytes: u32;
}

const enum Test {
  IsIn,
  Is,
  HasAny,
}

const CONDITIONS_MAX: u32 = 32;
const CONDITION_BYTES: usize = 24;
const conditions: usize = memory.data(32 * 24, 8);
let conditionCount: u32 = 0;

/** Room for the class with the most, DRM, twice over. */
const RULES_MAX: u32 = 160;
const RULE_BYTES: usize = 80;
const rules: usize = memory.data(160 * 80, 8);
let ruleCount: u32 = 0;

/** The commands before have an array that the driver reads: `pointer` leads to it, and `count` elements are in it. */
export function takes(pointer: u32, count: u32, elementBytes: u32, countBytes: u32 = 4): void {
  addArray(TO_DRIVER, pointer, count, elementBytes, countBytes);
}

/** The commands before have an array that the driver fills, perhaps in part: what it leaves alone stays as it was. */
export function fills(pointer: u32, count: u32, elementBytes: u32, countBytes: u32 = 4): void {
  addArray(BOTH_WAYS, pointer, count, elementBytes, countBytes);
}

/** The commands before have an array that the driver fills from its beginning to its end. */
export function gives(pointer: u32, count: u32, elementBytes: u32, countBytes: u32 = 4): void {
  addArray(FROM_DRIVER, pointer, count, elementBytes, countBytes);
}

/** The commands before have one object of so many bytes that `pointer` leads to, which the driver reads and fills. */
export function fillsOne(pointer: u32, bytes: u32): void {
  addArray(BOTH_WAYS, pointer, 1, bytes, 0);
}

/** The commands before have one object of so many bytes that `pointer` leads to, which the driver fills. */
export function givesOne(pointer: u32, bytes: u32): void {
  addArray(FROM_DRIVER, pointer, 1, bytes, 0);
}

/** After the head of the commands before, there are as many bytes more as `count` says, which are treated as the head is. */
export function tail(count: u32): void {
  const rule = add(Kind.Tail, 0, 0, EINVAL, TOO_MANY, NESTED);
  rule.count = count;
  rule.most = BYTES_MAX;
}

/** The commands before pass a descriptor of that kind to the driver, in the int at `offset`. */
export function takesFd(kind: u8, offset: u32): void {
  addDescriptor(kind, INTO_DRIVER, offset, NO_FIELD);
}

/**
 * The driver makes a descriptor of that kind in the commands before, and writes it at `offset`. It is closed on exec where the flags at
 * `flags` have O_CLOEXEC; where there are none, always.
 */
export function makesFd(kind: u8, offset: u32, flags: u32 = NO_FIELD): void {
  addDescriptor(kind, OUT_OF_DRIVER, offset, flags);
}

function addDescriptor(kind: u8, flow: u8, offset: u32, flags: u32): void {
  const rule = add(Kind.Descriptor, offset, 4);
  rule.table = kind;
  rule.access = flow;
  rule.count = flags;
}

function addArray(access: u8, pointer: u32, count: u32, elementBytes: u32, countBytes: u32): void {
  const rule = add(Kind.Array, pointer, elementBytes, EINVAL, TOO_MANY, NESTED);
  rule.count = count;
  rule.countBytes = countBytes;
  rule.most = elementBytes == 1 ? BYTES_MAX : ELEMENTS_MAX;
  rule.access = access;
}

/** The array before has at most so many elements; more are denied. */
export function atMost(elements: u32, errno: u32, why: u32): void {
  const rule = last();
  rule.most = elements;
  rule.errno = errno;
  rule.why = why;
}

/** Each element of the array before has a payload: a pointer to it, and its size in bytes, at these offsets of the element. */
export function payloads(pointer: u32, bytes: u32): void {
  last().payload = pointer;
  last().payloadBytes = bytes;
}

/** Where there is the array before, it and the head come back even when the driver fails. */
export function comesBack(): void {
  last().back = true;
}

/** The rule before holds only where the value of `width` bytes at `offset` is in the set, in which each value below 64 is a bit. */
export function onlyFor(set: u64, offset: u32, width: u32): void {
  addCondition(Test.IsIn, set, offset, width);
}

/** The rule before holds only where the value of `width` bytes at `offset` is this one. */
export function onlyIf(value: u64, offset: u32, width: u32): void {
  addCondition(Test.Is, value, offset, width);
}

/** The rule before holds only where any of `bits` is set in the value of `width` bytes at `offset`. */
export function onlyWith(bits: u64, offset: u32, width: u32): void {
  addCondition(Test.HasAny, bits, offset, width);
}

function addCondition(test: Test, value: u64, offset: u32, bytes: u32): void {
  if (conditionCount >= CONDITIONS_MAX) unreachable();
  const rule = last();
  if (rule.conditionCount++ == 0) rule.firstCondition = conditionCount;
  const condition = conditionAt(conditionCount++);
  condition.test = test;
  condition.value = value;
  condition.offset = offset;
  condition.bytes = bytes;
}

function conditionAt(index: u32): Condition {
  return changetype<Condition>(conditions + CONDITION_BYTES * index);
}

function isMet(condition: Condition): bool {
  const value = valueAt(condition.offset, condition.bytes);
  if (condition.test == Test.IsIn) return isIn(condition.value, value);
  return condition.test == Test.Is ? value == condition.value : (value & condition.value) != 0;
}

/** Whether all conditions of the rule are met. */
function holds(rule: Rule): bool {
  for (let index: u32 = 0; index < rule.conditionCount; index++)
    if (!isMet(conditionAt(rule.firstCondition + index))) return false;
  return true;
}

/** The commands before are refused when any of `bits` is set in the value of `width` bytes at `offset`, or in the ARGUMENT. */
export function without(bits: u64, offset: u32, width: u32, errno: u32, why: u32): void {
  add(Kind.Prohibition, offset, width, errno, why).value = bits;
}

/** The commands before are refused when the value of `width` bytes at `offset` is this one. */
export function never(value: u64, offset: u32, width: u32, errno: u32, why: u32): void {
  add(Kind.Exception, offset, width, errno, why).value = value;
}

/** The commands before are refused unless the value of `width` bytes at `offset` is in the set, in which each value below 64 is a bit. */
export function among(set: u64, offset: u32, width: u32, errno: u32, why: u32): void {
  add(Kind.Choice, offset, width, errno, why).value = set;
}

/** The commands before are refused unless the value of `width` bytes at `offset` is one of the guest's handles on this device. */
export function requires(table: u32, offset: u32, width: u32, errno: u32, why: u32): void {
  add(Kind.Requirement, offset, width, errno, why).table = table;
}

/**
 * The commands before end what the value of `width` bytes at `offset` names: it is no handle of the guest any more, as the driver may
 * give the same number to another guest from then on.
 */
export function ends(table: u32, offset: u32, width: u32): void {
  add(Kind.Forgetting, offset, width).table = table;
}

/** The commands before end what the session's handles in the table name. */
export function empties(table: u32): void {
  add(Kind.Forgetting).table = table;
}

/** When the commands before succeed, the value of `width` bytes at `offset` becomes one of the guest's handles. */
export function learns(table: u32, offset: u32, width: u32): void {
  add(Kind.Lesson, offset, width).table = table;
}

/** Of the answer of the commands before, the guest does not see `bits` of the value of `width` bytes at `offset`. */
export function hides(bits: u64, offset: u32, width: u32): void {
  add(Kind.Secret, offset, width).value = bits;
}

/** When the commands before succeed, the session's state starts anew. */
export function resets(): void {
  add(Kind.Reset);
}

/** When the commands before succeed, the session's state has these bits. */
export function marks(bits: u64): void {
  add(Kind.Mark).value = bits;
}

function add(
  kind: Kind,
  offset: u32 = 0,
  bytes: u32 = 0,
  errno: u32 = 0,
  why: u32 = 0,
  options: u32 = 0,
): Rule {
  if (ruleCount >= RULES_MAX) unreachable();
  ruleForGroup(ruleCount, kind >= Kind.Lesson ? TEACHES : options);
  const rule = ruleAt(ruleCount++);
  rule.kind = kind;
  rule.offset = offset;
  rule.bytes = bytes;
  rule.errno = errno;
  rule.why = why;
  return rule;
}

function ruleAt(index: u32): Rule {
  return changetype<Rule>(rules + RULE_BYTES * index);
}

function last(): Rule {
  return ruleAt(ruleCount - 1);
}

/** What the row's rules grant, require and forbid. */
export function admitByRules(row: Row): void {
  const end = row.firstRule + row.ruleCount;
  for (let index = row.firstRule; index < end; index++) {
    const rule = ruleAt(index);
    if (holds(rule)) admitByRule(rule, row);
  }
}

function admitByRule(rule: Rule, row: Row): void {
  switch (rule.kind) {
    case Kind.Array:
      return admitArray(rule, row.access);
    case Kind.Tail:
      return admitTail(rule, row);
    case Kind.Prohibition:
      if (valueOf(rule) & rule.value) refuseBy(rule);
      return;
    case Kind.Exception:
      if (valueOf(rule) == rule.value) refuseBy(rule);
      return;
    case Kind.Choice:
      if (!isIn(rule.value, valueOf(rule))) refuseBy(rule);
      return;
    case Kind.Requirement:
      return requireHandle(DEVICE, rule.table, HEAD, rule.offset, rule.bytes, rule.errno, rule.why);
    case Kind.Forgetting:
      forgetHandle(rule.table, HEAD, rule.offset, rule.bytes);
      return;
    case Kind.Descriptor:
      admitDescriptor(rule);
  }
}

/** What the row's rules say of a success. Returns what becomes of the session's state. */
export function settleByRules(row: Row, state: u64): u64 {
  if ((row.options & TEACHES) == 0) return state;
  const end = row.firstRule + row.ruleCount;
  for (let index = row.firstRule; index < end; index++) {
    const rule = ruleAt(index);
    switch (rule.kind) {
      case Kind.Lesson:
        learn(rule.table, HEAD, rule.offset, rule.bytes);
        break;
      case Kind.Secret:
        mask(HEAD, rule.offset, rule.bytes, ~rule.value);
        break;
      case Kind.Mark:
        state |= rule.value;
        break;
      case Kind.Reset:
        state = 0;
    }
  }
  return state;
}

function refuseBy(rule: Rule): void {
  deny(rule.errno, rule.why, rule.offset == ARGUMENT ? NO_FIELD : rule.offset);
}

function isIn(set: u64, value: u64): bool {
  return value < SET_SIZE && ((set >> value) & 1) != 0;
}

function valueOf(rule: Rule): u64 {
  return rule.offset == ARGUMENT ? call.argument : valueAt(rule.offset, rule.bytes);
}

function valueAt(offset: u32, bytes: u32): u64 {
  if (bytes == 2) return u16At(HEAD, offset);
  return bytes == 4 ? u32At(HEAD, offset) : u64At(HEAD, offset);
}

/** Without elements or without a pointer, nothing is copied. */
function admitArray(rule: Rule, headAccess: u8): void {
  const count = rule.countBytes == 0 ? rule.count : valueAt(rule.count, rule.countBytes);
  if (count == 0 || u64At(HEAD, rule.offset) == 0) return;
  if (count > rule.most) return deny(rule.errno, rule.why, rule.count);
  if (rule.back) headIs(headAccess | FROM_DRIVER_ON_ERROR);
  const access = <u8>rule.access | (rule.back ? FROM_DRIVER_ON_ERROR : NO_ACCESS);
  const bytes = <u32>count * rule.bytes;
  if (rule.payload == 0) nested(HEAD, rule.offset, bytes, access);
  else admitPayloads(rule, nestedRead(HEAD, rule.offset, bytes, access), access);
}

function admitPayloads(rule: Rule, array: u32, access: u8): void {
  for (let at: u32 = 0; array != 0 && at < bytesOf(array); at += rule.bytes) {
    const bytes = u32At(array, at + rule.payloadBytes);
    if (bytes != 0) nested(array, at + rule.payload, bytes, access);
  }
}

function admitDescriptor(rule: Rule): void {
  const closes = rule.count == NO_FIELD || (u32At(HEAD, rule.count) & O_CLOEXEC) != 0;
  passDescriptor(<u8>rule.table, <u8>rule.access, HEAD, rule.offset, rule.bytes, closes);
}

/** A grant that begins where the head ends is part of it. */
function admitTail(rule: Rule, row: Row): void {
  const bytes = u32At(HEAD, rule.count);
  if (bytes > rule.most) return deny(rule.errno, rule.why, rule.count);
  if (bytes != 0) grant(call.argument + row.head, bytes, row.access);
}
