import { readFileSync } from 'node:fs';
import type { ClassInfo } from '../policy/abi.js';
import {
  commandName,
  type DescribedVerdict,
  describeVerdict,
  errnoName,
  hexadecimal,
  rowOf,
} from '../policy/described.js';
import { fieldName } from '../policy/field-names.js';
import { sparseOf } from '../policy/vectors.js';
import type { AuditRecord } from './record.js';
import type { ModuleMessage } from './tap.js';

/** A decision as it comes through the ring. */
export type DecisionRecord = AuditRecord & { kind: 'decision' };

/** What is known of the guest whose records are written. */
export interface LoggedGuest {
  name: string;
  number: number;
  /** Whether its processes are this machine's: those of a guest VM have numbers of its own, and names that only it knows. */
  isProcess: boolean;
}

/** Programs by process, as they were called when they were first seen. */
const programs = new Map<number, string>();
const PROGRAMS_MAX = 4096;

/** A decision as a line's body. `outcome` is what the driver answered; null while or if nobody knows. */
export function decisionBody(
  guest: LoggedGuest,
  module: ModuleMessage,
  record: DecisionRecord,
  answer: { outcome: bigint; timeMs: number } | undefined,
  redacted: ReadonlySet<string>,
): object {
  const { call, verdict, process, seen, headBytes, timeMs } = record;
  const { info } = module;
  const isDenied = verdict.tag === 'deny';
  return {
    kind: 'decision',
    time: new Date(timeMs).toISOString(),
    ...guestFields(guest, process),
    class: info.class,
    module: { name: module.name, version: module.version, digest: module.digest },
    operation: call.operation,
    ...(call.operation === 'ioctl' ? commandFields(info, call.command) : { word: hexadecimal(call.command) }),
    session: call.session,
    node: call.node,
    fileFlags: call.fileFlags,
    argument: hexadecimal(call.argument),
    length: hexadecimal(call.length),
    offset: hexadecimal(call.offset),
    state: hexadecimal(call.state),
    headBytes,
    verdict: isDenied ? 'deny' : 'allow',
    ...named(
      describeVerdict(verdict, info),
      call.operation === 'ioctl' ? rowOf(info, call.command)?.name : undefined,
    ),
    outcome: isDenied
      ? errnoName(verdict.val.errno)
      : answer === undefined
        ? null
        : outcomeText(answer.outcome),
    ...(answer === undefined
      ? {}
      : { driverMs: Math.max(0, Math.round((answer.timeMs - timeMs) * 1000) / 1000) }),
    ...(seen === undefined ? {} : { arguments: argumentsOf(info, record, seen, redacted) }),
  };
}

/** A denial's field by its path too, where the generated layouts have it. */
function named(verdict: DescribedVerdict, command: string | undefined): object {
  if (!('deny' in verdict) || verdict.deny.field === undefined || command === undefined) return verdict;
  const name = fieldName(command, verdict.deny.field);
  return name === undefined ? verdict : { deny: { ...verdict.deny, fieldName: name } };
}

/** What the host has refused by itself, as a line's body. */
export function refusalBody(
  guest: LoggedGuest,
  module: ModuleMessage | undefined,
  record: AuditRecord & { kind: 'refusal' },
): object {
  return {
    kind: 'refusal',
    time: new Date(record.timeMs).toISOString(),
    ...guestFields(guest, record.process),
    ...(module === undefined
      ? {}
      : {
          class: module.info.class,
          module: { name: module.name, version: module.version, digest: module.digest },
        }),
    ...(record.command === 0 ? {} : commandFields(module?.info, record.command)),
    reason: record.text,
    outcome: errnoName(record.errno),
  };
}

/** How a module has misbehaved, as a line's body. */
export function faultBody(
  guest: LoggedGuest,
  module: ModuleMessage,
  record: AuditRecord & { kind: 'fault' },
): object {
  const { info, name, version, digest } = module;
  const { operation, command, process, errno, timeMs, text } = record;
  return {
    kind: 'fault',
    time: new Date(timeMs).toISOString(),
    ...guestFields(guest, process),
    ...{ class: info.class, module: { name, version, digest }, operation },
    ...(operation === 'ioctl' ? commandFields(info, command) : {}),
    reason: text,
    outcome: errno === 0 ? null : errnoName(errno),
  };
}

function guestFields({ name, number, isProcess }: LoggedGuest, process: number): object {
  const program = isProcess ? programOf(process) : undefined;
  return { guest: name, guestNumber: number, process, ...(program === undefined ? {} : { program }) };
}

function commandFields(info: ClassInfo | undefined, command: number): object {
  const number = hexadecimal(command, 8);
  const name = commandName(info, command).split(' ')[0];
  return { command: name, commandNumber: number };
}

function outcomeText(outcome: bigint): string | number {
  return outcome < 0n ? errnoName(Number(-outcome)) : Number(outcome);
}

function argumentsOf(
  info: ClassInfo,
  { call }: DecisionRecord,
  seen: NonNullable<DecisionRecord['seen']>,
  redacted: ReadonlySet<string>,
): object {
  const command =
    call.operation === 'ioctl' ? (commandName(info, call.command).split(' ')[0] ?? '') : call.operation;
  if (redacted.has(command) || redacted.has(call.operation)) return { redacted: true };
  const memory = seen.reads.map(({ address, bytes }) => ({
    address: hexadecimal(address),
    content: sparseOf(bytes),
  }));
  return { head: sparseOf(seen.head), memory };
}

/** What a process was called when it was first seen; undefined when it had ended by then. */
export function programOf(process: number): string | undefined {
  const known = programs.get(process);
  if (known !== undefined) return known;
  try {
    const name = readFileSync(`/proc/${process}/comm`, 'utf8').trim();
    if (programs.size >= PROGRAMS_MAX) programs.clear();
    programs.set(process, name);
    return name;
  } catch {
    return undefined; // It has ended already.
  }
}
