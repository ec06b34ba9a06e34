import type { ClassInfo } from '../policy/abi.js';
import { commandName, errnoName } from '../policy/described.js';
import type { NativeNote } from './exchange.js';

/** The note that tells of a policy's fault, which the native side found in its answer. */
export const NOTE_PLAN_REFUSED = 2;
/** The note that tells what a guest VM's frontend did that no honest one does. */
const NOTE_FRONTEND_BROKEN = 16;

/** The notes of native/addon/exchange.h: what happened, what it means and what to do. A refused plan is told as a fault. */
const TEXTS: Readonly<Record<number, string>> = {
  1: 'unknown-command: the class has no such ioctl; absent means denied',
  3: 'backend-lost: the process beside the driver has gone; the files that it served hang up, and can be opened anew',
  4: 'page-refused: the driver domain named pages that it may not give to this guest',
  5: 'window-full: the process has all 192 descriptors that guarded files can have',
  6: 'outside-window: a guarded descriptor can be duplicated only to the numbers 832 to 1023',
  7: "limit: one of the envelope's limits for a guest is reached",
  8: 'backend-confused: the driver domain answered what nobody asked; its process is not listened to any more',
  9: "injection-failed: the guest's threads could not be stopped, or its address space had no room, for mapping driver pages",
  10: 'requirement-failed: the handle or offset is none that the driver gave to this guest',
  12: 'descriptor-unserved: no policy module judges descriptors of this kind, so no guest gets one',
  13: 'descriptor-strange: what the driver made is no descriptor of the kind that the policy says',
  14: 'operation-overdue: the driver did not end an operation that may not sleep; its process is given up, its files hang up',
  15: 'memory-kept: the guest changed the instructions by which it maps driver pages, and was killed before it could keep the memory',
  [NOTE_FRONTEND_BROKEN]:
    "frontend-broken: the guest VM's kernel asked for what its frontend never asks for; that is refused, and told once of each kind",
  11: "device-busy: another guest has the device open, and the class's manifest allows one guest at a time",
};

/** Notes about descriptors' numbers, whatever class they are of. */
const CLASSLESS: ReadonlySet<number> = new Set([5, 6, NOTE_FRONTEND_BROKEN]);

/** What native/addon/exchange.h calls VmBreach. */
const BREACHES: Readonly<Record<number, string>> = {
  1: 'a ring that does not lie in its memory, or is none',
  2: 'a request of no kind',
  3: 'a device that it has not',
  4: 'an open under a number that is in use, or not its to choose',
  5: 'an operation on a file that is not open',
  6: 'an unmapping of what is not mapped',
  7: 'an operation that asks for pages without an end',
};

/** Whether a note is about an operation of some class. */
export function isOfClass({ kind }: NativeNote): boolean {
  return !CLASSLESS.has(kind);
}

/** The refusals of native/addon/plan.h. */
const PLAN_ERRORS: Readonly<Record<number, string>> = {
  1: 'too many grants',
  2: 'too many relocations',
  3: 'too many requirements',
  4: "access bits that are unknown, contradictory, or wider than the command's row",
  5: "a grant outside the guest's address space",
  6: 'a grant of no bytes, or of more bytes than the envelope allows',
  7: 'a nested grant in a command without nested pointers',
  8: 'a relocation in a region that is not there or that the driver does not read',
  9: 'a relocation outside its region or across another',
  10: 'a relocation to a region that is not there',
  11: 'a requirement or lesson outside its region',
  12: 'an errno that is none',
  13: "an operation that is not in the envelope, or a command that the module's own table refuses",
  14: 'too many descriptors',
  15: 'a descriptor of no kind, outside its region, against its access, or across a pointer or another',
  16: 'too many handles to forget',
  17: 'a handle to forget outside its region',
};

/** One of the native refusals in words. */
export function planError(number: number): string {
  return PLAN_ERRORS[number] ?? `rule ${number}`;
}

/** One native note in words, for the log. */
export function describeNote(note: NativeNote, info: ClassInfo | undefined): Record<string, unknown> {
  const text = TEXTS[note.kind] ?? `note ${note.kind}`;
  const described: Record<string, unknown> = { process: note.process, happened: text };
  if (info !== undefined) described.class = info.class;
  if (note.command !== 0) described.command = commandName(info, note.command);
  if (note.kind === NOTE_FRONTEND_BROKEN) described.breach = BREACHES[note.detail] ?? `breach ${note.detail}`;
  if (note.errno !== 0) described.errno = errnoName(note.errno);
  return described;
}
