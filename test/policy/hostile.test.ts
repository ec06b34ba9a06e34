import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { PolicyFault, type PolicyFaultCode } from '../../host/policy/abi.js';
import { coreFaults } from '../../host/policy/check-core.js';
import type { Manifest } from '../../host/policy/manifest.js';
import {
  ANSWER,
  answerData,
  assemble,
  type HostileParts,
  hostileComponent,
  hostileCore,
  hostileInstance,
  hostileText,
} from './hostile-module.js';
import { callOf, oracleFor, policyPackage } from './support.js';

const HEAD = new Uint8Array(16);
/** Beyond the one page that the hostile modules have. */
const OUTSIDE = 0x7fff_fff0;
/** A list of the four-byte kind, empty and well placed. */
const NO_LIST = [0, 0];

let manifest: Manifest;
let cache: string;

beforeAll(async () => {
  manifest = (await policyPackage('v4l2')).manifest;
  cache = mkdtempSync(join(tmpdir(), 'postern-metered-'));
});
afterAll(() => rmSync(cache, { recursive: true }));

/** What the module's admit and complete make of our glue: the fault's code, or 'none'. */
async function faultOf(
  core: Uint8Array,
  method: 'admit' | 'complete' | 'describe',
): Promise<PolicyFaultCode | 'none'> {
  const instance = await hostileInstance(core, manifest, cache);
  try {
    if (method === 'admit') instance.admit(callOf({}), HEAD);
    else if (method === 'complete') instance.complete(callOf({}), HEAD, 0n);
    else instance.describe();
    return 'none';
  } catch (error) {
    expect(error).toBeInstanceOf(PolicyFault);
    return (error as PolicyFault).code;
  }
}

async function jcoThrows(core: Uint8Array, method: 'admit' | 'complete' | 'describe'): Promise<boolean> {
  const { make, remove } = await oracleFor(await hostileComponent(core));
  try {
    const instance = make(() => new Uint8Array());
    if (method === 'admit') instance.admit(callOf({}), HEAD);
    else if (method === 'complete') instance.complete(callOf({}), HEAD, 0n);
    else instance.describe();
    return false;
  } catch {
    return true;
  } finally {
    remove();
  }
}

/** A plan: discriminant 0, the head's access, five lists, blocking and alone. */
const plan = (head: number, grants: number[], blocking: number): number[] => [
  ...[0, head, ...grants],
  ...NO_LIST,
  ...NO_LIST,
  ...NO_LIST,
  ...NO_LIST,
  blocking,
];

/** A plan with one descriptor, whose words follow the plan. */
const withDescriptor = (kind: number, flow: number, closeOnExec: number): number[] => [
  ...[0, 1, ...NO_LIST, ...NO_LIST, ...NO_LIST, ANSWER + 56, 1, ...NO_LIST, 0, 0],
  ...[0, 0, 4, kind | (flow << 8) | (closeOnExec << 16)],
];

/** A plan with one requirement, whose words follow the plan. */
const withRequirement = (within: number): number[] => [
  ...[0, 1, ...NO_LIST, ...NO_LIST, ANSWER + 56, 1, ...NO_LIST, ...NO_LIST, 0, 0],
  ...[0, 0, 0, 4, 2, 1, within],
];

const BAD_VERDICTS: [what: string, words: number[]][] = [
  ['a discriminant that is none', [2]],
  ['a discriminant of 255', [255]],
  ['access flags that are none', plan(0xf8, NO_LIST, 0)],
  ['a truth value that is none', plan(1, NO_LIST, 2)],
  ['a grant list beyond the memory', plan(1, [OUTSIDE, 1], 0)],
  ['a grant list that is misaligned', plan(1, [4, 1], 0)],
  ['a grant list as long as can be', plan(1, [0, 0xffffffff], 0)],
  ['a grant list whose end wraps around', plan(1, [0xfffffff8, 2], 0)],
  ['a relocation list beyond the memory', [0, 1, 0, 0, OUTSIDE, 2, 0, 0, 0]],
  ['a requirement list that is misaligned', [0, 1, 0, 0, 0, 0, 2, 1, 0]],
  ['a descriptor list beyond the memory', [0, 1, ...NO_LIST, ...NO_LIST, ...NO_LIST, OUTSIDE, 1, 0]],
  ['a descriptor list that is misaligned', [0, 1, ...NO_LIST, ...NO_LIST, ...NO_LIST, 2, 1, 0]],
  [
    'a forgetting list beyond the memory',
    [0, 1, ...NO_LIST, ...NO_LIST, ...NO_LIST, ...NO_LIST, OUTSIDE, 1, 0],
  ],
  ['a second truth value that is none', plan(1, NO_LIST, 0x200)],
  ['a handle within no scope', withRequirement(3)],
  ['a descriptor of no kind', withDescriptor(3, 0, 0)],
  ['a descriptor that flows nowhere', withDescriptor(0, 3, 0)],
  ['a descriptor whose truth value is none', withDescriptor(0, 0, 2)],
];

describe('a verdict that the canonical ABI forbids', () => {
  it.each(BAD_VERDICTS)('%s is refused by this glue and by jco', async (_what, words) => {
    const core = hostileCore({ fields: answerData(words) });
    expect(await faultOf(core, 'admit')).toBe('abi');
    expect(await jcoThrows(core, 'admit')).toBe(true);
  });

  it('at an address beyond the memory is refused by both', async () => {
    const core = hostileCore({ admit: `(i32.const ${OUTSIDE})` });
    expect(await faultOf(core, 'admit')).toBe('abi');
    expect(await jcoThrows(core, 'admit')).toBe(true);
  });

  it('at a misaligned address is refused', async () => {
    expect(await faultOf(hostileCore({ admit: '(i32.const 1025)' }), 'admit')).toBe('abi');
  });

  it('is not refused when its descriptor is well made', async () => {
    const core = hostileCore({ fields: answerData(withDescriptor(2, 2, 1)) });
    expect(await faultOf(core, 'admit')).toBe('none');
    expect(await jcoThrows(core, 'admit')).toBe(false);
  });

  it('is not refused when it is well made', async () => {
    const core = hostileCore({ fields: answerData(plan(7, NO_LIST, 1)) });
    expect(await faultOf(core, 'admit')).toBe('none');
    expect(await jcoThrows(core, 'admit')).toBe(false);
  });
});

const BAD_SETTLEMENTS: [what: string, words: number[]][] = [
  ['a lesson list beyond the memory', [0, 0, 0, 0, OUTSIDE, 1]],
  ['a mask list that is misaligned', [0, 0, 0, 0, 0, 0, 4, 1]],
];

describe('a settlement that the canonical ABI forbids', () => {
  it.each(BAD_SETTLEMENTS)('%s is refused by this glue and by jco', async (_what, words) => {
    const core = hostileCore({ fields: answerData(words) });
    expect(await faultOf(core, 'complete')).toBe('abi');
    expect(await jcoThrows(core, 'complete')).toBe(true);
  });
});

describe('a class description that the canonical ABI forbids', () => {
  it('names beyond the memory are refused by this glue and by jco', async () => {
    const core = hostileCore({ fields: answerData([OUTSIDE, 4]) });
    expect(await faultOf(core, 'describe')).toBe('abi');
    expect(await jcoThrows(core, 'describe')).toBe(true);
  });

  it('names that are not UTF-8 are refused', async () => {
    const core = hostileCore({ fields: `${answerData([2048, 1])}(data (i32.const 2048) "\\ff")` });
    expect(await faultOf(core, 'describe')).toBe('abi');
  });
});

describe('a plan larger than the envelope', () => {
  it('has more grants than the manifest allows', async () => {
    const core = hostileCore({ fields: answerData(plan(1, [0, manifest.envelope.grantsMax + 1], 0)) });
    expect(await faultOf(core, 'admit')).toBe('limit');
  });

  it('has more descriptors than the manifest allows', async () => {
    const most = manifest.envelope.descriptorsMax ?? 0;
    const core = hostileCore({
      fields: answerData([0, 1, ...NO_LIST, ...NO_LIST, ...NO_LIST, 0, most + 1, 0]),
    });
    expect(await faultOf(core, 'admit')).toBe('limit');
  });
});

const RUNAWAYS: [what: string, code: PolicyFaultCode, parts: HostileParts][] = [
  ['an endless loop', 'fuel', { admit: '(loop $again (br $again)) (unreachable)' }],
  [
    'an endless recursion',
    'trap',
    { admit: '(drop (call $describe)) (i32.const 1024)', describe: '(call $describe)' },
  ],
  [
    'memory growth without end',
    'fuel',
    { admit: '(loop $again (drop (memory.grow (i32.const 1))) (br $again)) (unreachable)' },
  ],
  ['an allocator without end', 'fuel', { realloc: '(loop $again (br $again)) (unreachable)' }],
  ['a trap', 'trap', { admit: '(unreachable)' }],
  ['a division by zero', 'trap', { admit: '(i32.div_u (i32.const 1) (i32.const 0))' }],
  ['a store beyond the memory', 'trap', { admit: '(i32.store (i32.const -4) (i32.const 1)) (i32.const 0)' }],
  ['an allocator that answers nonsense', 'abi', { realloc: `(i32.const ${OUTSIDE})` }],
  [
    'a read into nowhere',
    'abi',
    { admit: `(call $read (i64.const 0) (i32.const 4) (i32.const ${OUTSIDE})) (i32.const 1024)` },
  ],
];

describe('a policy that runs away', () => {
  it.each(RUNAWAYS)('%s is stopped (%s)', async (_what, code, parts) => {
    expect(await faultOf(hostileCore(parts), 'admit')).toBe(code);
  });

  it('cannot grow its memory beyond what it declares', async () => {
    const core = hostileCore({
      admit: '(if (i32.ne (memory.grow (i32.const 4)) (i32.const -1)) (then unreachable)) (i32.const 1024)',
    });
    expect(await faultOf(core, 'admit')).toBe('none');
  });

  it('keeps its allocations usable when its memory moves', async () => {
    const realloc = '(drop (memory.grow (i32.const 1))) (i32.const 65536)';
    const core = hostileCore({ realloc, fields: answerData(plan(1, NO_LIST, 0)) });
    expect(await faultOf(core, 'admit')).toBe('none');
  });

  it('does not escape metering by naming a function as the meter does', async () => {
    const fields = '(func $log_execution (param i32))';
    const core = hostileCore({ fields, admit: '(loop $again (br $again)) (unreachable)' });
    expect(await faultOf(core, 'admit')).toBe('fuel');
  });

  it('is not asked again after a fault', async () => {
    const instance = await hostileInstance(hostileCore({ admit: '(unreachable)' }), manifest, cache);
    expect(() => instance.admit(callOf({}), HEAD)).toThrow(PolicyFault);
    expect(() => instance.complete(callOf({}), HEAD, 0n)).toThrow('has faulted before');
  });
});

describe('a core module that is unfit to be a policy', () => {
  const faults = (core: Uint8Array): string => coreFaults(core, 4).join('\n');

  it('is not one that is fit', () => {
    expect(faults(hostileCore({}))).toBe('');
  });

  it.each<[string, HostileParts, string]>([
    ['a start function', { fields: '(start $nothing) (func $nothing)' }, 'has a start function'],
    ['no maximum', { memory: '(memory (export "memory") 1)' }, 'declares no maximum'],
    ['too much memory', { memory: '(memory (export "memory") 1 5)' }, 'may grow to 5 pages'],
    ['an endless table', { fields: '(table 1 funcref)' }, 'The table declares no maximum'],
    ['a further export', { fields: '(func (export "more"))' }, "The export 'more function'"],
  ])('has %s', (_what, parts, fault) => {
    expect(faults(hostileCore(parts))).toContain(fault);
  });

  it("has an import that is not the world's", () => {
    const text = hostileText({}).replace(
      '(module',
      '(module (import "wasi:filesystem/types@0.2.0" "open" (func (param i32)))',
    );
    expect(faults(assemble(text))).toContain("The import 'wasi:filesystem/types@0.2.0 open function'");
  });

  it('lacks an export', () => {
    const text = hostileText({}).replace('(export "admit")', '');
    expect(faults(assemble(text))).toContain("The export 'admit function' is missing");
  });

  it('carries a component-type section of its own', () => {
    const name = Buffer.from('component-type:other');
    const section = Buffer.concat([Buffer.from([0, name.length + 1, name.length]), name]);
    const core = Buffer.concat([hostileCore({}), section]);
    expect(faults(core)).toContain("a section 'component-type:other' of its own");
  });

  it('is cut short', () => {
    expect(faults(hostileCore({}).subarray(0, 40))).toContain('not valid WebAssembly');
  });
});
