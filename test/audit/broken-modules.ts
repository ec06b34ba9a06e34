import type { ClassInfo } from '../../host/policy/abi.js';
import { accessBits } from '../../host/policy/abi.js';
import type { Manifest } from '../../host/policy/manifest.js';
import type { TriedPolicy } from '../../host/policy/vectors.js';
import { assemble } from '../policy/hostile-module.js';

/**
 * A small class that keeps every rule, and the ways in which it is broken on purpose. AUD_SET has a pointer at 8 to as many bytes as
 * the word at 0 says, and at 4 a handle that AUD_NEW has given; its nested bytes decide too: none may begin with 0xff.
 */
const AUD_SET = 0x40104101;
const AUD_NEW = 0x80044102;
const AUD_OLD = 0x40044103;

const INFO: ClassInfo = {
  class: 'audited',
  commands: [
    row('AUD_SET', AUD_SET, 16, 1, true),
    row('AUD_NEW', AUD_NEW, 4, 2),
    { ...row('AUD_OLD', AUD_OLD, 4, 1), refused: 3 },
  ],
  reasons: ['', 'not what the class does', 'the handle is not the guest’s', 'refused on purpose'],
  tables: ['things'],
  unsettledTransfers: false,
};

function row(
  name: string,
  number: number,
  head: number,
  bits: number,
  nested = false,
): ClassInfo['commands'][number] {
  const access = { toDriver: (bits & 1) !== 0, fromDriver: (bits & 2) !== 0, fromDriverOnError: false };
  return {
    name,
    number,
    mask: 0xffffffff,
    head,
    access,
    nested,
    unsettled: false,
    steady: false,
    refused: 0,
  };
}

export const MANIFEST: Manifest = {
  name: 'audited',
  class: 'audited',
  version: '1.0.0',
  sequence: 1,
  contract: '0.2.0',
  uapi: 'none 1',
  nodes: [{ pattern: 'audited' }],
  sharing: 'concurrent',
  envelope: {
    operations: ['open', 'ioctl'],
    ioctlTypes: ['A'],
    argumentBytesMax: 64,
    transferBytesMax: 0,
    grantsMax: 4,
    grantBytesMax: 4096,
    relocationsMax: 4,
    requirementsMax: 4,
    sessionsMax: 4,
    operationsInFlightMax: 4,
    mappedPagesMax: 0,
    handlesMax: 16,
    decisionFuelMax: 10_000,
    memoryPagesMax: 4,
    faultsMax: 4,
  },
};

/** Where the module has what: its description, its answers' lists, the result of a read, and what the host places. */
const DESCRIPTION = 4096;
const GRANTS = 1024;
const RELOCATIONS = 1280;
const REQUIREMENTS = 1536;
const LESSONS = 1792;
const READ = 2048;
const ANSWER = 2304;
const ARENA = 32768;

/** Parts of the module that can be broken; each is WebAssembly text. */
interface Parts {
  memory: string;
  fields: string;
  /** First thing of every decision. */
  before: string;
  /** What happens to commands that nobody knows, and to the one that is refused. */
  unknown: string;
  refused: string;
  shortHead: string;
  /** After the region has been read. */
  afterRead: string;
  /** Last thing before AUD_SET is allowed. */
  beforeAllow: string;
  requirement: string;
  requirements: number;
  headAccess: number;
  /** When a lesson is learnt, from which region and into which table. */
  learns: string;
  newAccess: number;
  className: string;
  deniedErrno: number;
}

const HEAD = '(local.get 9)';
const DENY = (errno: number, why: number): string =>
  `(return (call $deny (i32.const ${errno}) (i32.const ${why})))`;
const IS_NEW = `(i32.and (i32.eq (local.get 2) (i32.const 1)) (i32.eq (local.get 3) (i32.const ${AUD_NEW | 0})))`;
const SOUND: Parts = {
  memory: '(memory (export "memory") 2 4)',
  fields: '',
  before: '',
  unknown: DENY(25, 1),
  refused: DENY(1, 3),
  shortHead: `(if (i32.lt_u (local.get 10) (i32.const 16)) (then ${DENY(22, 1)}))`,
  afterRead: '',
  beforeAllow: '',
  requirement: `
    (i32.store (i32.const ${REQUIREMENTS}) (i32.const 0))
    (i32.store offset=4 (i32.const ${REQUIREMENTS}) (i32.const 0))
    (i32.store offset=8 (i32.const ${REQUIREMENTS}) (i32.const 4))
    (i32.store offset=12 (i32.const ${REQUIREMENTS}) (i32.const 4))
    (i32.store offset=16 (i32.const ${REQUIREMENTS}) (i32.const 2))
    (i32.store offset=20 (i32.const ${REQUIREMENTS}) (i32.const 2))
    (i32.store8 offset=24 (i32.const ${REQUIREMENTS}) (i32.const 0))`,
  requirements: 1,
  headAccess: 1,
  learns: `(i32.and ${IS_NEW} (i64.ge_s (local.get 11) (i64.const 0)))`,
  newAccess: 2,
  className: INFO.class,
  deniedErrno: 22,
};

/** The class with some of its parts broken. */
export function audited(
  broken: Partial<Parts> = {},
  manifest: Partial<Manifest['envelope']> = {},
): TriedPolicy {
  const core = assemble(textOf({ ...SOUND, ...broken }));
  return { core, manifest: { ...MANIFEST, envelope: { ...MANIFEST.envelope, ...manifest } } };
}

function textOf(parts: Parts): string {
  const parameters = '(param i32 i32 i32 i32 i32 i64 i64 i64 i64 i32 i32';
  return `(module
    (import "postern:device/guest-memory@0.2.0" "read" (func $read (param i64 i32 i32)))
    ${parts.memory}
    (global $top (mut i32) (i32.const ${ARENA}))
    (global $count (mut i32) (i32.const 0))
    ${parts.fields}
    ${descriptionData({ ...INFO, class: parts.className })}
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (local i32)
      (local.set 4 (global.get $top))
      (global.set $top (i32.and (i32.add (i32.add (local.get 4) (local.get 3)) (i32.const 15)) (i32.const -16)))
      (local.get 4))
    (func $deny (param i32 i32) (result i32)
      (global.set $top (i32.const ${ARENA}))
      (i32.store8 (i32.const ${ANSWER}) (i32.const 1))
      (i32.store offset=4 (i32.const ${ANSWER}) (local.get 0))
      (i32.store offset=8 (i32.const ${ANSWER}) (local.get 1))
      (i32.store offset=12 (i32.const ${ANSWER}) (i32.const -1))
      (i32.const ${ANSWER}))
    (func $allow (param $access i32) (param $nested i32) (param $required i32) (result i32)
      (global.set $top (i32.const ${ARENA}))
      (i32.store8 (i32.const ${ANSWER}) (i32.const 0))
      (i32.store8 offset=4 (i32.const ${ANSWER}) (local.get $access))
      (i32.store offset=8 (i32.const ${ANSWER}) (i32.const ${GRANTS}))
      (i32.store offset=12 (i32.const ${ANSWER}) (local.get $nested))
      (i32.store offset=16 (i32.const ${ANSWER}) (i32.const ${RELOCATIONS}))
      (i32.store offset=20 (i32.const ${ANSWER}) (i32.and (local.get $nested) (i32.const 1)))
      (i32.store offset=24 (i32.const ${ANSWER}) (i32.const ${REQUIREMENTS}))
      (i32.store offset=28 (i32.const ${ANSWER}) (local.get $required))
      (i32.store offset=32 (i32.const ${ANSWER}) (i32.const 0))
      (i32.store offset=36 (i32.const ${ANSWER}) (i32.const 0))
      (i64.store offset=40 (i32.const ${ANSWER}) (i64.const 0))
      (i32.store16 offset=48 (i32.const ${ANSWER}) (i32.const 0))
      (i32.const ${ANSWER}))
    (func (export "describe") (result i32) (i32.const ${DESCRIPTION}))
    (func (export "admit") ${parameters}) (result i32) (local $nested i32)
      ${parts.before}
      (if (i32.eqz (local.get 2)) (then (return (call $allow (i32.const 0) (i32.const 0) (i32.const 0)))))
      (if (i32.ne (local.get 2) (i32.const 1)) (then ${DENY(parts.deniedErrno, 1)}))
      (if (i32.eq (local.get 3) (i32.const ${AUD_NEW | 0})) (then
        (return (call $allow (i32.const ${parts.newAccess}) (i32.const 0) (i32.const 0)))))
      (if (i32.eq (local.get 3) (i32.const ${AUD_OLD})) (then ${parts.refused}))
      (if (i32.ne (local.get 3) (i32.const ${AUD_SET})) (then ${parts.unknown}))
      ${parts.shortHead}
      (if (i32.gt_u (i32.load ${HEAD}) (i32.const 4096)) (then ${DENY(22, 1)}))
      (if (i32.load ${HEAD}) (then
        (local.set $nested (i32.const 1))
        (i64.store (i32.const ${GRANTS}) (i64.load offset=8 ${HEAD}))
        (i32.store offset=8 (i32.const ${GRANTS}) (i32.load ${HEAD}))
        (i32.store8 offset=12 (i32.const ${GRANTS}) (i32.const 1))
        (i32.store (i32.const ${RELOCATIONS}) (i32.const 0))
        (i32.store offset=4 (i32.const ${RELOCATIONS}) (i32.const 8))
        (i32.store offset=8 (i32.const ${RELOCATIONS}) (i32.const 1))
        (call $read (i64.load offset=8 ${HEAD}) (i32.load ${HEAD}) (i32.const ${READ}))
        (if (i32.load8_u (i32.const ${READ})) (then ${DENY(14, 1)}))
        ${parts.afterRead}
        (if (i32.eq (i32.load8_u (i32.load offset=4 (i32.const ${READ}))) (i32.const 255)) (then ${DENY(22, 1)}))))
      ${parts.requirement}
      ${parts.beforeAllow}
      (call $allow (i32.const ${parts.headAccess}) (local.get $nested) (i32.const ${parts.requirements})))
    (func (export "complete") ${parameters} i64) (result i32)
      (global.set $top (i32.const ${ARENA}))
      (memory.fill (i32.const ${ANSWER}) (i32.const 0) (i32.const 48))
      (i32.store offset=16 (i32.const ${ANSWER}) (i32.const ${LESSONS}))
      (i32.store offset=12 (i32.const ${LESSONS}) (i32.const 4))
      (i32.store offset=20 (i32.const ${ANSWER}) ${parts.learns})
      (i32.const ${ANSWER})))`;
}

/** The canonical ABI's class-info at DESCRIPTION, and all that it leads to behind it. */
function descriptionData(info: ClassInfo): string {
  const bytes = Buffer.alloc(4096);
  let top = 36;
  const take = (length: number): number => {
    const at = top;
    top += Math.ceil(length / 4) * 4;
    return at;
  };
  const putText = (at: number, text: string): void => {
    const encoded = Buffer.from(text);
    const place = take(encoded.length);
    encoded.copy(bytes, place);
    bytes.writeUInt32LE(DESCRIPTION + place, at);
    bytes.writeUInt32LE(encoded.length, at + 4);
  };
  const putList = (at: number, count: number, elementBytes: number): number => {
    const place = take(count * elementBytes);
    bytes.writeUInt32LE(DESCRIPTION + place, at);
    bytes.writeUInt32LE(count, at + 4);
    return place;
  };
  putText(0, info.class);
  const commands = putList(8, info.commands.length, 28);
  for (const [index, { name, number, mask, head, access, nested, refused }] of info.commands.entries()) {
    const at = commands + 28 * index;
    putText(at, name);
    for (const [offset, value] of [number, mask, head].entries())
      bytes.writeUInt32LE(value, at + 8 + 4 * offset);
    bytes.writeUInt8(accessBits(access), at + 20);
    bytes.writeUInt8(nested ? 1 : 0, at + 21);
    bytes.writeUInt32LE(refused, at + 24);
  }
  const reasons = putList(16, info.reasons.length, 8);
  for (const [index, text] of info.reasons.entries()) putText(reasons + 8 * index, text);
  const tables = putList(24, info.tables.length, 8);
  for (const [index, text] of info.tables.entries()) putText(tables + 8 * index, text);
  const digits = bytes.subarray(0, top).toString('hex').replace(/../g, '\\$&');
  return `(data (i32.const ${DESCRIPTION}) "${digits}")`;
}

const GRANT_COUNT = 'nested';
const addToGrant = (bytes: number): string =>
  `(i64.store (i32.const ${GRANTS}) (i64.add (i64.load (i32.const ${GRANTS})) (i64.const ${bytes})))`;
const countCall = '(global.set $count (i32.add (global.get $count) (i32.const 1)))';
/** A length that only one generated call in some has, so that what is broken is broken for few. */
const isRare = `(i32.eq (i32.and (i32.load offset=4 ${HEAD}) (i32.const 3)) (i32.const 1))`;

/** Each way to be broken: the rule that must catch it, and the module. */
export const BROKEN: readonly [what: string, rule: string, make: () => TriedPolicy][] = [
  [
    'imports more than the contract has',
    'world',
    () =>
      audited({
        fields: '',
        memory: '(import "env" "clock" (func (result i64))) (memory (export "memory") 2 4)',
      }),
  ],
  ['has no maximum of its memory', 'world', () => audited({ memory: '(memory (export "memory") 2)' })],
  ['wants more memory than its manifest says', 'world', () => audited({}, { memoryPagesMax: 3 })],
  ['starts by itself', 'world', () => audited({ fields: '(func $begin) (start $begin)' })],
  ['exports more than the contract has', 'world', () => audited({ fields: '(func (export "debug"))' })],
  ['is of another class than its manifest', 'description', () => audited({ className: 'another' })],
  ['has commands whose type is not in the envelope', 'description', () => audited({}, { ioctlTypes: ['B'] })],
  ['has heads beyond the envelope', 'description', () => audited({}, { argumentBytesMax: 8 })],
  [
    'allows commands that it does not know',
    'deny-by-default',
    () => audited({ unknown: '(return (call $allow (i32.const 0) (i32.const 0) (i32.const 0)))' }),
  ],
  [
    'allows what its own table refuses',
    'deny-by-default',
    () => audited({ refused: '(return (call $allow (i32.const 0) (i32.const 0) (i32.const 0)))' }),
  ],
  [
    'allows heads that are too short',
    'deny-by-default',
    () =>
      audited({
        shortHead: `(if (i32.lt_u (local.get 10) (i32.const 16)) (then (return (call $allow (i32.const 0) (i32.const 0) (i32.const 0)))))`,
      }),
  ],
  [
    'grants the page after the one that was named',
    'arguments',
    () => audited({ afterRead: addToGrant(4096) }),
  ],
  [
    'grants one byte before what was named, for few calls',
    'arguments',
    () => audited({ beforeAllow: `(if ${isRare} (then ${addToGrant(-1)}))` }),
  ],
  [
    'grants an address of its own',
    'arguments',
    () => audited({ afterRead: `(i64.store (i32.const ${GRANTS}) (i64.const 0x7ffd12340000))` }),
  ],
  [
    'puts the region where another field is',
    'arguments',
    () => audited({ afterRead: `(i32.store offset=4 (i32.const ${RELOCATIONS}) (i32.const 0))` }),
  ],
  [
    'grants more regions than its envelope has',
    'bounds',
    () => audited({ beforeAllow: `(local.set $${GRANT_COUNT} (i32.const 5))` }),
  ],
  [
    'grants more bytes than its envelope has',
    'bounds',
    () => audited({ afterRead: `(i32.store offset=8 (i32.const ${GRANTS}) (i32.const 65536))` }),
  ],
  ['lets the driver write a head that it only reads', 'bounds', () => audited({ headAccess: 3 })],
  [
    'requires a handle beyond the head',
    'bounds',
    () => audited({ beforeAllow: `(i32.store offset=8 (i32.const ${REQUIREMENTS}) (i32.const 14))` }),
  ],
  [
    'reads the array again, and believes the second fetch',
    'single-fetch',
    () =>
      audited({
        afterRead: `(call $read (i64.load offset=8 ${HEAD}) (i32.load ${HEAD}) (i32.const ${READ}))`,
      }),
  ],
  [
    'grants what the second fetch of a length says',
    'single-fetch',
    () =>
      audited({
        afterRead: `(call $read (i64.load offset=8 ${HEAD}) (i32.const 1) (i32.const ${READ}))
          (i32.store offset=8 (i32.const ${GRANTS}) (i32.add (i32.const 1) (i32.load8_u (i32.load offset=4 (i32.const ${READ})))))`,
      }),
  ],
  ['forgets to require the handle', 'handles', () => audited({ requirements: 0 })],
  [
    'requires the handle not always',
    'handles',
    () =>
      audited({
        beforeAllow: `(if ${isRare} (then (return (call $allow (i32.const 1) (local.get $nested) (i32.const 0)))))`,
      }),
  ],
  [
    'learns handles that the guest has made up',
    'handles',
    () => audited({ learns: '(i64.ge_s (local.get 11) (i64.const 0))' }),
  ],
  ['learns handles from a driver that failed', 'handles', () => audited({ learns: IS_NEW })],
  [
    'counts its calls, and denies every hundredth',
    'stateless',
    () =>
      audited({
        before: `${countCall} (if (i32.eq (i32.rem_u (global.get $count) (i32.const 100)) (i32.const 99)) (then ${DENY(1, 1)}))`,
      }),
  ],
  [
    'sees in a short head the bytes of the call before',
    'stateless',
    () =>
      audited({
        before: `(if (i32.and (i32.eq (local.get 2) (i32.const 1)) (i32.and (i32.load offset=4 ${HEAD}) (i32.const 1))) (then ${DENY(1, 1)}))`,
      }),
  ],
  [
    'takes a page more with every call',
    'memory',
    () => audited({ before: '(drop (memory.grow (i32.const 1)))' }),
  ],
  [
    'never ends, for few calls',
    'termination',
    () => audited({ beforeAllow: `(if ${isRare} (then (loop $again (br $again))))` }),
  ],
  [
    'goes through more turns than its fuel has, for long arrays',
    'termination',
    () =>
      audited({
        fields: '(global $turns (mut i32) (i32.const 0))',
        afterRead: `(global.set $turns (i32.mul (i32.load ${HEAD}) (i32.const 100)))
          (loop $turn (global.set $turns (i32.sub (global.get $turns) (i32.const 1))) (br_if $turn (global.get $turns)))`,
      }),
  ],
  ['traps, for few calls', 'answers', () => audited({ beforeAllow: `(if ${isRare} (then unreachable))` })],
  ['denies with an errno that is none', 'answers', () => audited({ deniedErrno: 100_000 })],
  [
    'names a table that it has not',
    'answers',
    () => audited({ beforeAllow: `(i32.store (i32.const ${REQUIREMENTS}) (i32.const 3))` }),
  ],
];
