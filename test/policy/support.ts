import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { transpile } from '@bytecodealliance/jco';
import {
  type Call,
  type ClassInfo,
  type Denial,
  type GuestReader,
  type Plan,
  PolicyInstance,
  type Settlement,
  type Verdict,
} from '../../host/policy/abi.js';
import { buildPolicies } from '../../host/policy/build.js';
import { meteredModule } from '../../host/policy/meter.js';
import { loadPolicies, type PolicyPackage } from '../../host/policy/store.js';
import { RECORDS, VectorRecorder } from './record-vectors.js';

export const EFAULT = 14;

/** Builds what has changed, and reads the module of that name. */
export async function policyPackage(name: string): Promise<PolicyPackage> {
  await buildPolicies(() => {});
  const found = loadPolicies().find(({ manifest }) => manifest.name === name);
  if (found === undefined) throw new Error(`No policy module named ${name} was built.`);
  return found;
}

/** An instance of a class's module; without a reader the guest has no memory. */
export async function policyInstance(
  name: string,
  read: GuestReader = () => EFAULT,
): Promise<PolicyInstance> {
  const { core, manifest } = await policyPackage(name);
  const module = await meteredModule(core);
  if (!RECORDS) return new PolicyInstance(module, manifest, read);
  const recorder = new VectorRecorder(name, read);
  return recorder.over(new PolicyInstance(module, manifest, recorder.reader));
}

/** The world's exports as jco's glue offers them. */
export interface Oracle {
  describe(): ClassInfo;
  admit(call: Call, head: Uint8Array): Verdict;
  complete(call: Call, head: Uint8Array, outcome: bigint): Settlement;
}

/** How jco's glue sees guest memory: the bytes, or the errno thrown. */
export type OracleReader = (address: bigint, length: number) => Uint8Array;

/**
 * The component behind jco's own glue. `make` gives a new instance, as a trap leaves the last one unusable.
 * The transpiled files live in a temporary folder until `remove`.
 */
export async function oracleFor(component: Uint8Array): Promise<{
  make(read: OracleReader): Oracle;
  remove(): void;
}> {
  const { files } = await transpile(component, {
    name: 'oracle',
    instantiation: 'sync',
    nodejsCompat: false,
  });
  const folder = mkdtempSync(join(tmpdir(), 'postern-oracle-'));
  writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
  writeFileSync(join(folder, 'oracle.js'), files['oracle.js'] as Uint8Array);
  const { instantiate } = await import(/* @vite-ignore */ pathToFileURL(join(folder, 'oracle.js')).href);
  const modules = new Map(
    Object.entries(files)
      .filter(([name]) => name.endsWith('.wasm'))
      .map(([name, bytes]) => [name, new WebAssembly.Module(bytes)]),
  );
  return {
    make: (read) =>
      instantiate((name: string) => modules.get(name), { 'postern:device/guest-memory': { read } }) as Oracle,
    remove: () => rmSync(folder, { recursive: true }),
  };
}

/** A call with defaults for what a test doesn't care about. */
export function callOf(fields: Partial<Call>): Call {
  return {
    session: 1,
    node: 0,
    operation: 'ioctl',
    command: 0,
    fileFlags: 0,
    argument: 0x7000_0000n,
    length: 0n,
    offset: 0n,
    state: 0n,
    ...fields,
  };
}

/** `bytes` zeroes with 32-bit values at offsets; a bigint is stored as 64 bits. */
export function bytesWith(bytes: number, values: [offset: number, value: number | bigint][]): Uint8Array {
  const view = new DataView(new ArrayBuffer(bytes));
  for (const [offset, value] of values) {
    if (typeof value === 'bigint') view.setBigUint64(offset, value, true);
    else view.setUint32(offset, value, true);
  }
  return new Uint8Array(view.buffer);
}

/** A guest whose memory is these pieces; everything else is EFAULT. */
export function memoryOf(pieces: [address: bigint, bytes: Uint8Array][]): GuestReader {
  return (address, length, memory, at) => {
    const piece = pieces.find(([start, bytes]) => address >= start && address < start + BigInt(bytes.length));
    if (piece === undefined) return EFAULT;
    const from = Number(address - piece[0]);
    if (from + length > piece[1].length) return EFAULT;
    memory.set(piece[1].subarray(from, from + length), at);
    return 0;
  };
}

/** The plan of a verdict that allows; fails the test otherwise. */
export function planOf(verdict: Verdict): Plan {
  if (verdict.tag === 'allow') return verdict.val;
  throw new Error(`Expected a plan, got a denial: ${JSON.stringify(verdict.val)}`);
}

/** The denial of a verdict that denies; fails the test otherwise. */
export function denialOf(verdict: Verdict): Denial {
  if (verdict.tag === 'deny') return verdict.val;
  throw new Error('Expected a denial, got a plan.');
}
