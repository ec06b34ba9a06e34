import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../root.js';
import {
  type Call,
  type ClassInfo,
  type GuestReader,
  type Operation,
  PolicyFault,
  PolicyInstance,
} from './abi.js';
import { parseChecked } from './checked-json.js';
import {
  type DescribedDenial,
  type DescribedPlan,
  type DescribedSettlement,
  describeSettlement,
  describeVerdict,
  hexadecimal,
} from './described.js';
import type { Manifest } from './manifest.js';
import { meteredModule } from './meter.js';

/** asm-generic/errno-base.h: where a vector has no memory. */
const EFAULT = 14;
/** Zeroes between two pieces that are shorter than this are written out: an offset costs as much to read. */
const GAP_BYTES = 8;

/** Bytes, all zero but for pieces: hexadecimal digits by the offset where they begin. */
export interface SparseBytes {
  bytes: number;
  at?: Record<string, string>;
}

/** One call of a module and what it must answer, as schemas/vectors.schema.json describes it. */
export interface Vector {
  name: string;
  node?: number;
  operation: Operation;
  command?: string;
  session?: number;
  fileFlags?: number;
  argument?: string;
  length?: string;
  offset?: string;
  state?: string;
  head?: SparseBytes;
  memory?: { address: string; content: SparseBytes }[];
  outcome?: number;
  expect: Expectation;
}

/** What a vector expects; what is not there is empty, 0 or false. */
export type Expectation =
  | { allow: Pick<DescribedPlan, 'head'> & Partial<DescribedPlan> }
  | { deny: DescribedDenial }
  | { settle: Partial<DescribedSettlement> };

/** A class's vectors. */
export interface VectorFile {
  class: string;
  vectors: Vector[];
}

/** A module to try: a PolicyPackage is one. */
export interface TriedPolicy {
  core: Uint8Array;
  manifest: Manifest;
}

/** Where an answer is not what the vector says. */
export interface VectorFailure {
  vector: string;
  /** The command as the vector names it, or the file operation. */
  command: string;
  /** Path in the answer, such as `allow.grants[0].length`. */
  field: string;
  expected: unknown;
  actual: unknown;
}

/** What came of a class's vectors. */
export interface VectorReport {
  class: string;
  total: number;
  passed: number;
  failures: VectorFailure[];
}

/** Where the vectors of a class of this repository are. */
export function vectorsPath(name: string): string {
  return join(ROOT, 'policies', `${name}.vectors.json`);
}

/**
 * The vectors of a class of this repository.
 * @throws Error when there are none, or with everything that is wrong with them
 */
export function loadVectors(name: string): VectorFile {
  const path = vectorsPath(name);
  if (!existsSync(path)) throw new Error(`There are no test vectors of ${name}: ${path} is not there.`);
  return parseVectors(readFileSync(path, 'utf8'), path);
}

/**
 * Checks a file of vectors.
 * @param text its JSON
 * @param source where it came from, for the error
 * @throws Error with everything that is wrong, one line a fault, each with its path
 */
export function parseVectors(text: string, source: string): VectorFile {
  const file = parseChecked<VectorFile>(text, source, 'vectors.schema.json', 'a file of test vectors');
  const faults = file.vectors.flatMap(vectorFaults);
  const names = file.vectors.map(({ name }) => name);
  const twice = new Set(names.filter((name, index) => names.indexOf(name) !== index));
  for (const name of twice) faults.push(`two vectors are named '${name}'`);
  if (faults.length > 0)
    throw new Error(
      [`${source} is not a file of test vectors:`, ...faults.map((fault) => `  ${fault}`)].join('\n'),
    );
  return file;
}

function vectorFaults(
  { head, memory = [], expect, outcome, operation, command }: Vector,
  index: number,
): string[] {
  const faults: string[] = [];
  const place = `/vectors/${index}`;
  const all: [string, SparseBytes | undefined][] = [
    ['head', head],
    ...memory.map(({ content }, piece): [string, SparseBytes] => [`memory/${piece}/content`, content]),
  ];
  for (const [name, bytes] of all)
    for (const [at, digits] of Object.entries(bytes?.at ?? {}))
      if (Number(at) + digits.length / 2 > (bytes?.bytes ?? 0))
        faults.push(`${place}/${name}/at/${at} goes beyond the ${bytes?.bytes} bytes`);
  if ('settle' in expect !== (outcome !== undefined))
    faults.push(`${place}/expect must be 'settle' where there is an outcome, and only there`);
  if (operation === 'ioctl' && command === undefined) faults.push(`${place} must have property 'command'`);
  if (operation !== 'ioctl' && command !== undefined && !command.startsWith('0x'))
    faults.push(`${place}/command of ${operation} must be a number: 0x…`);
  return faults;
}

/**
 * Has a module answer every vector, each with a fresh instance: a module keeps no state, and may not lean on any.
 * @throws Error when the module can't be compiled, or can't describe itself
 */
export async function runVectors({ core, manifest }: TriedPolicy, file: VectorFile): Promise<VectorReport> {
  const module = await meteredModule(core);
  const info = new PolicyInstance(module, manifest, () => EFAULT).describe();
  const failures: VectorFailure[] = [];
  if (file.class !== info.class)
    failures.push({ vector: '', command: '', field: 'class', expected: file.class, actual: info.class });
  let passed = 0;
  for (const vector of file.vectors) {
    const found = failuresOf(vector, answerTo(vector, module, manifest, info));
    if (found.length === 0) passed++;
    failures.push(...found);
  }
  return { class: file.class, total: file.vectors.length, passed, failures };
}

/**
 * What a module answers to calls, in words: `allow`, `deny` or `settle`, or `fault` or `unknown` with why it has no answer.
 * @throws Error when the module can't be compiled, or can't describe itself
 */
export async function answersOf(
  { core, manifest }: TriedPolicy,
  vectors: readonly Vector[],
): Promise<unknown[]> {
  const module = await meteredModule(core);
  const info = new PolicyInstance(module, manifest, () => EFAULT).describe();
  return vectors.map((vector) => answerTo(vector, module, manifest, info));
}

/** What a module answers to a vector, in words. */
function answerTo(vector: Vector, module: WebAssembly.Module, manifest: Manifest, info: ClassInfo): unknown {
  const command = commandNumber(vector, info);
  if (command === undefined) return { unknown: `the module has no command ${vector.command}` };
  try {
    const instance = new PolicyInstance(module, manifest, readerOf(vector));
    const call = callOfVector(vector, command);
    const head = bytesOf(vector.head);
    if (vector.outcome === undefined) return describeVerdict(instance.admit(call, head), info);
    return { settle: describeSettlement(instance.complete(call, head, BigInt(vector.outcome)), info) };
  } catch (error) {
    if (error instanceof PolicyFault) return { fault: `${error.code}: ${error.message}` };
    throw error;
  }
}

/** The number of a vector's command; undefined when the class has none of that name. */
export function commandNumber({ command = '0x0' }: Vector, { commands }: ClassInfo): number | undefined {
  if (command.startsWith('0x')) return Number(command);
  return commands.find(({ name }) => name === command)?.number;
}

/** A vector's call, with the command's number. */
export function callOfVector(vector: Vector, command: number): Call {
  return {
    session: vector.session ?? 1,
    node: vector.node ?? 0,
    operation: vector.operation,
    command,
    fileFlags: vector.fileFlags ?? 0,
    argument: BigInt(vector.argument ?? 0),
    length: BigInt(vector.length ?? 0),
    offset: BigInt(vector.offset ?? 0),
    state: BigInt(vector.state ?? 0),
  };
}

/** The guest of a vector: its pieces of memory, and EFAULT everywhere else. */
export function readerOf({ memory = [] }: Vector): GuestReader {
  const pieces = memory.map(({ address, content }) => ({ start: BigInt(address), bytes: bytesOf(content) }));
  return (address, length, target, at) => {
    for (const { start, bytes } of pieces) {
      if (address < start || address + BigInt(length) > start + BigInt(bytes.length)) continue;
      const from = Number(address - start);
      target.set(bytes.subarray(from, from + length), at);
      return 0;
    }
    return EFAULT;
  };
}

/** The bytes that a vector's notation stands for. */
export function bytesOf(sparse: SparseBytes | undefined): Uint8Array {
  const bytes = new Uint8Array(sparse?.bytes ?? 0);
  for (const [at, digits] of Object.entries(sparse?.at ?? {}))
    bytes.set(Buffer.from(digits, 'hex'), Number(at));
  return bytes;
}

/** Bytes in the vectors' notation. */
export function sparseOf(bytes: Uint8Array): SparseBytes {
  const at: Record<string, string> = {};
  for (let start = 0; start < bytes.length; ) {
    if (bytes[start] === 0) {
      start++;
      continue;
    }
    let end = start + 1;
    for (let next = end; next < bytes.length && next - end < GAP_BYTES; next++)
      if (bytes[next] !== 0) end = next + 1;
    at[start] = Buffer.from(bytes.subarray(start, end)).toString('hex');
    start = end;
  }
  return Object.keys(at).length === 0 ? { bytes: bytes.length } : { bytes: bytes.length, at };
}

/** A call as a vector without its expectation: what is 0 or empty is left out. */
export function vectorOfCall(
  call: Call,
  head: Uint8Array,
  memory: { address: bigint; bytes: Uint8Array }[],
  info: ClassInfo,
): Omit<Vector, 'name' | 'expect'> {
  const row = info.commands.find(({ number, mask }) => number === call.command && mask >>> 0 === 0xffffffff);
  const named = call.operation === 'ioctl' && row !== undefined ? row.name : hexadecimal(call.command);
  const words = (['argument', 'length', 'offset', 'state'] as const)
    .filter((name) => call[name] !== 0n)
    .map((name) => [name, hexadecimal(call[name])]);
  return {
    ...(call.node === 0 ? {} : { node: call.node }),
    operation: call.operation,
    ...(call.operation === 'ioctl' || call.command !== 0 ? { command: named } : {}),
    ...(call.session === 1 ? {} : { session: call.session }),
    ...(call.fileFlags === 0 ? {} : { fileFlags: call.fileFlags }),
    ...Object.fromEntries(words),
    ...(head.length === 0 ? {} : { head: sparseOf(head) }),
    ...(memory.length === 0
      ? {}
      : {
          memory: memory.map(({ address, bytes }) => ({
            address: hexadecimal(address),
            content: sparseOf(bytes),
          })),
        }),
  };
}

const EMPTY_PLAN = {
  blocking: false,
  alone: false,
  grants: [],
  relocations: [],
  requirements: [],
  descriptors: [],
  forget: [],
};
const EMPTY_SETTLEMENT = { state: '0x0', watch: 0, idle: 0, learn: [], masks: [] };

function failuresOf(vector: Vector, answer: unknown): VectorFailure[] {
  const { expect } = vector;
  const expected =
    'allow' in expect
      ? { allow: { ...EMPTY_PLAN, ...expect.allow } }
      : 'settle' in expect
        ? { settle: { ...EMPTY_SETTLEMENT, ...expect.settle } }
        : expect;
  const command = vector.operation === 'ioctl' ? (vector.command ?? '') : vector.operation;
  return differencesOf(expected, answer).map((difference) => ({
    vector: vector.name,
    command,
    ...difference,
  }));
}

/** An answer without what is empty in it: as vectors are written. */
export function withoutEmpty(answer: object, kind: 'allow' | 'settle'): object {
  const defaults: Record<string, unknown> = kind === 'allow' ? EMPTY_PLAN : EMPTY_SETTLEMENT;
  const told = Object.entries(answer).filter(
    ([name, value]) => !(name in defaults) || differencesOf(defaults[name], value).length > 0,
  );
  return Object.fromEntries(told);
}

/** Where two answers in words differ, by path. */
export function differencesOf(
  expected: unknown,
  actual: unknown,
  field = '',
): { field: string; expected: unknown; actual: unknown }[] {
  if (Object.is(expected, actual)) return [];
  if (!isObject(expected) || !isObject(actual) || Array.isArray(expected) !== Array.isArray(actual))
    return [{ field, expected, actual }];
  const keys = new Set([...Object.keys(expected), ...Object.keys(actual)]);
  return [...keys].flatMap((key) => {
    const path = Array.isArray(expected) ? `${field}[${key}]` : field === '' ? key : `${field}.${key}`;
    return differencesOf(expected[key], actual[key], path);
  });
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
