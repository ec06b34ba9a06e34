import { getSystemErrorName } from 'node:util';
import {
  type Access,
  accessBits,
  type ClassInfo,
  type Operation,
  type Scope,
  type Settlement,
  type Verdict,
} from './abi.js';

/** The kernel's errnos that classes use and Node has no names for (asm-generic/errno.h). */
const UNNAMED_ERRNOS: Readonly<Record<number, string>> = { 53: 'EBADR', 77: 'EBADFD' };
const NUMBERS = new Map(Object.entries(UNNAMED_ERRNOS).map(([number, name]) => [name, Number(number)]));
/** The contract's special sources of a requirement, and the special region of a relocation. */
const SPECIAL: Readonly<Record<number, 'offset' | 'argument'>> = {
  4294967295: 'offset',
  4294967294: 'argument',
};
/** A denial that is about no field of the head. */
const NO_FIELD = 0xffffffff;
const ACCESS_WORDS = ['to-driver', 'from-driver', 'from-driver-on-error'];

/** A region of an operation: 0 is the head, n the nth grant. */
export type RegionName = number | 'argument' | 'offset';

/** A grant in words: addresses are hexadecimal, accesses are the contract's words. */
export interface DescribedGrant {
  address: string;
  length: number;
  access: string;
}

/** A plan in words. */
export interface DescribedPlan {
  head: string;
  blocking: boolean;
  alone: boolean;
  grants: DescribedGrant[];
  relocations: { region: RegionName; offset: number; target: number }[];
  requirements: {
    table: string;
    source: RegionName;
    offset: number;
    width: number;
    errno: string;
    reason: string;
    within: Scope;
  }[];
  descriptors: {
    region: number;
    offset: number;
    width: number;
    kind: string;
    flow: string;
    closeOnExec: boolean;
  }[];
  /** Without a width, all of the table. */
  forget: { table: string; source: RegionName; offset: number; width: number }[];
}

/** A denial in words; `field` is an offset in the head. */
export interface DescribedDenial {
  errno: string;
  reason: string;
  field?: number;
}

/** A settlement in words. */
export interface DescribedSettlement {
  state: string;
  watch: number;
  idle: number;
  learn: { table: string; region: number; offset: number; width: number }[];
  masks: { region: number; offset: number; width: number; keep: string }[];
}

/** A verdict in words. */
export type DescribedVerdict = { allow: DescribedPlan } | { deny: DescribedDenial };

/** `VIDIOC_S_FMT (0xc0d05605)`, or the number alone where the class does not know it. */
export function commandName(info: ClassInfo | undefined, command: number): string {
  const row = info === undefined ? undefined : rowOf(info, command);
  return row === undefined ? hexadecimal(command, 8) : `${row.name} (${hexadecimal(command, 8)})`;
}

/** The row of the class's table that a command belongs to. */
export function rowOf({ commands }: ClassInfo, command: number): ClassInfo['commands'][number] | undefined {
  return commands.find(({ number, mask }) => (command & mask) >>> 0 === number);
}

/** The errno's name, such as ENOTTY; '' for 0, and `errno N` for what is none. */
export function errnoName(errno: number): string {
  if (errno === 0) return '';
  const unnamed = UNNAMED_ERRNOS[errno];
  if (unnamed !== undefined) return unnamed;
  if (!Number.isInteger(errno) || errno < 0 || errno > 0x7fff_ffff) return `errno ${errno}`;
  const name = getSystemErrorName(-errno);
  return /^E[A-Z0-9]+$/.test(name) ? name : `errno ${errno}`;
}

/** Whether the name is one that `errnoName` gives. */
export function isErrnoName(name: string): boolean {
  return NUMBERS.has(name) || /^E[A-Z0-9]+$/.test(name) || /^errno \d+$/.test(name);
}

/** A number as `0x…`, with at least so many digits. */
export function hexadecimal(value: number | bigint, digits = 1): string {
  return `0x${value.toString(16).padStart(digits, '0')}`;
}

/** An access in the contract's words, such as `to-driver from-driver`; `none`. */
export function accessText(access: Access): string {
  const bits = accessBits(access);
  return ACCESS_WORDS.filter((_, bit) => bits & (1 << bit)).join(' ') || 'none';
}

/** What was asked: the command by its kernel name where it is one, else the file operation. */
export function operationName(info: ClassInfo | undefined, operation: Operation, command: number): string {
  return operation === 'ioctl' ? commandName(info, command) : operation;
}

/** A verdict in words, with the class's own names for reasons and tables. */
export function describeVerdict(verdict: Verdict, info: ClassInfo): DescribedVerdict {
  if (verdict.tag === 'deny') {
    const { errno, reason, field } = verdict.val;
    const denial = { errno: errnoName(errno), reason: reasonText(info, reason) };
    return { deny: field === NO_FIELD ? denial : { ...denial, field } };
  }
  const { head, blocking, alone, grants, relocations, requirements, descriptors, forget } = verdict.val;
  return {
    allow: {
      head: accessText(head),
      blocking,
      alone,
      grants: grants.map(({ address, length, access }) => ({
        address: hexadecimal(address),
        length,
        access: accessText(access),
      })),
      relocations: relocations.map(({ region, offset, target }) => ({
        region: regionName(region),
        offset,
        target,
      })),
      requirements: requirements.map(({ table, source, offset, width, errno, reason, within }) => ({
        table: tableName(info, table),
        source: regionName(source),
        offset,
        width,
        errno: errnoName(errno),
        reason: reasonText(info, reason),
        within,
      })),
      descriptors: descriptors.map((descriptor) => ({ ...descriptor })),
      forget: forget.map(({ table, source, offset, width }) => ({
        table: tableName(info, table),
        source: regionName(source),
        offset,
        width,
      })),
    },
  };
}

/** A settlement in words, with the class's own names for tables. */
export function describeSettlement(settlement: Settlement, info: ClassInfo): DescribedSettlement {
  const { state, watch, idle, learn, masks } = settlement;
  return {
    state: hexadecimal(state),
    watch,
    idle,
    learn: learn.map(({ table, region, offset, width }) => ({
      table: tableName(info, table),
      region,
      offset,
      width,
    })),
    masks: masks.map(({ region, offset, width, keep }) => ({
      region,
      offset,
      width,
      keep: hexadecimal(keep),
    })),
  };
}

function reasonText({ reasons }: ClassInfo, reason: number): string {
  return reasons[reason] ?? `reason ${reason}`;
}

function tableName({ tables }: ClassInfo, table: number): string {
  return tables[table] ?? `table ${table}`;
}

function regionName(region: number): RegionName {
  return SPECIAL[region] ?? region;
}
