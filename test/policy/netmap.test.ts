import { beforeAll, describe, expect, it } from 'vitest';
import type { PolicyInstance } from '../../host/policy/abi.js';
import { NOTED_SOURCES } from '../../host/policy/layout-sources.js';
import * as kernel from '../../policies/__generated__/kernel.js';
import { bytesWith, callOf, denialOf, planOf, policyInstance, policyPackage } from './support.js';

/** The facts, written once more from the header: a mistake has to be made twice to go unnoticed. */
const HEADER = { bytes: 88, name: 8, reserved: 4, options: 72, body: 80 };
const OLDER = { bytes: 60, command: 40 };
const BODY = 0x5000_0000n;
const numberOf = (name: string): number => NOTED_SOURCES[0]?.commands[name] ?? 0;
const NIOCCTRL = numberOf('NIOCCTRL');
const NIOCREGIF = numberOf('NIOCREGIF');
const NIOCGINFO = numberOf('NIOCGINFO');
const NIOCTXSYNC = numberOf('NIOCTXSYNC');
const NIOCRXSYNC = numberOf('NIOCRXSYNC');
const NIOCCONFIG = numberOf('NIOCCONFIG');

let policy: PolicyInstance;

beforeAll(async () => {
  policy = await policyInstance('netmap');
});

/** A struct nmreq_header: version and type are 16 bits each, the name is text. */
function request(type: number, { version = 14, name = 'eth0', options = 0n, body = BODY } = {}): Uint8Array {
  const head = bytesWith(HEADER.bytes, [
    [0, version | (type << 16)],
    [HEADER.options, options],
    [HEADER.body, body],
  ]);
  head.set(Buffer.from(name), HEADER.name);
  return head;
}

/** A struct nmreq: nr_cmd is the upper half of the word at 40. */
function older(command: number, name = 'eth0'): Uint8Array {
  const head = bytesWith(OLDER.bytes, [[OLDER.command, command << 16]]);
  head.set(Buffer.from(name), 0);
  return head;
}

const admit = (command: number, head: Uint8Array) => policy.admit(callOf({ command }), head);
const settle = (command: number, head: Uint8Array, outcome = 0n) =>
  policy.complete(callOf({ command }), head, outcome);

describe('the table of netmap', () => {
  it('has the commands of the header, by the numbers that _IOC makes of their structs', () => {
    const numbers = new Map(policy.describe().commands.map(({ name, number }) => [name, number]));
    const ioc = (direction: number, number: number, bytes: number): number =>
      ((direction << 30) | (bytes << 16) | (0x69 << 8) | number) >>> 0;
    expect(Object.fromEntries(numbers)).toEqual({
      NIOCGINFO: ioc(3, 145, OLDER.bytes),
      NIOCREGIF: ioc(3, 146, OLDER.bytes),
      NIOCTXSYNC: ioc(0, 148, 0),
      NIOCRXSYNC: ioc(0, 149, 0),
      NIOCCONFIG: ioc(3, 150, 16 + 256),
      NIOCCTRL: ioc(3, 151, HEADER.bytes),
    });
    expect(NOTED_SOURCES[0]?.commands).toEqual(Object.fromEntries(numbers));
  });

  it('is for one guest at a time', async () => {
    expect((await policyPackage('netmap')).manifest.sharing).toBe('exclusive');
  });
});

describe('a request', () => {
  it.each([
    ['NETMAP_REQ_REGISTER', 1, 56],
    ['NETMAP_REQ_PORT_INFO_GET', 2, 32],
    ['NETMAP_REQ_PORT_HDR_SET', 6, 8],
    ['NETMAP_REQ_PORT_HDR_GET', 7, 8],
    ['NETMAP_REQ_POOLS_INFO_GET', 12, 64],
  ])('%s has its body granted, as long as its struct', (_, type, length) => {
    const plan = planOf(admit(NIOCCTRL, request(type)));
    expect(plan.head).toEqual({ toDriver: true, fromDriver: true, fromDriverOnError: true });
    expect(plan.grants).toEqual([
      { address: BODY, length, access: { toDriver: true, fromDriver: true, fromDriverOnError: false } },
    ]);
    expect(plan.relocations).toEqual([{ region: 0, offset: HEADER.body, target: 1 }]);
  });

  it('without a body is the driver’s to refuse', () => {
    expect(planOf(admit(NIOCCTRL, request(1, { body: 0n }))).grants).toEqual([]);
  });

  it.each([13, 15])('of another API version is refused: %i', (version) => {
    expect(denialOf(admit(NIOCCTRL, request(1, { version })))).toMatchObject({
      errno: kernel.EINVAL,
      field: 0,
    });
  });

  it('with options is refused as by a kernel that knows none', () => {
    const denial = denialOf(admit(NIOCCTRL, request(1, { options: 0x6000n })));
    expect(denial).toMatchObject({ errno: kernel.EOPNOTSUPP, field: HEADER.options });
  });

  it.each([0, 3, 4, 5, 8, 9, 10, 11, 16, 65535])(
    'about switches, or unknown, is refused: type %i',
    (type) => {
      expect(denialOf(admit(NIOCCTRL, request(type))).errno).toBe(kernel.EPERM);
    },
  );

  it.each([13, 14, 15])('for kernel loops is refused: type %i', (type) => {
    expect(denialOf(admit(NIOCCTRL, request(type))).errno).toBe(kernel.EOPNOTSUPP);
  });

  it('for a port of a VALE switch is refused: its slots may name memory of the backend', () => {
    expect(denialOf(admit(NIOCCTRL, request(1, { name: 'vale0:a' })))).toMatchObject({
      errno: kernel.EPERM,
      field: HEADER.name,
    });
    expect(denialOf(admit(NIOCREGIF, older(0, 'vale0:a'))).errno).toBe(kernel.EPERM);
  });

  it('that is short is refused', () => {
    expect(denialOf(admit(NIOCCTRL, new Uint8Array(87))).errno).toBe(kernel.EINVAL);
  });
});

describe('the older API', () => {
  it.each([NIOCREGIF, NIOCGINFO])('registers and asks in one struct: %i', (command) => {
    const plan = planOf(admit(command, older(0)));
    expect(plan.head).toEqual({ toDriver: true, fromDriver: true, fromDriverOnError: true });
    expect(plan.grants).toEqual([]);
  });

  it.each([5, 12])('has the header length set and told: nr_cmd %i', (command) => {
    planOf(admit(NIOCREGIF, older(command)));
  });

  it.each([1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 13, 14])(
    'has no switches and no hidden pointers: nr_cmd %i',
    (command) => {
      expect(denialOf(admit(NIOCREGIF, older(command))).errno).toBe(kernel.EPERM);
    },
  );

  it('configures no external module', () => {
    expect(denialOf(admit(NIOCCONFIG, new Uint8Array(272))).errno).toBe(kernel.EOPNOTSUPP);
  });
});

describe('the rings', () => {
  const map = (state: bigint, offset = 0n) =>
    policy.admit(
      callOf({ operation: 'mmap', command: 3, argument: 0n, length: 1n << 20n, offset, state }),
      new Uint8Array(),
    );

  it.each([
    ['NIOCCTRL', NIOCCTRL, request(1)],
    ['NIOCREGIF', NIOCREGIF, older(0)],
  ])('can be mapped and are watched once %s has bound a port', (_, command, head) => {
    const { state, watch, idle } = settle(command, head);
    expect(planOf(map(state)).grants).toEqual([]);
    expect(watch & (kernel.POLLIN | kernel.POLLOUT)).toBe(kernel.POLLIN | kernel.POLLOUT);
    expect(idle).toBe(0);
  });

  it.each([
    ['nothing', settleNothing],
    ['a failed registration', () => settle(NIOCCTRL, request(1), -16n)],
    ['a question', () => settle(NIOCCTRL, request(2))],
    ['an older question', () => settle(NIOCGINFO, older(0))],
    ['an older command', () => settle(NIOCREGIF, older(12))],
  ])('can not be mapped after %s, and poll tells an error', (_, before) => {
    const { state, watch, idle } = before();
    expect(denialOf(map(state)).errno).toBe(kernel.EINVAL);
    expect({ watch, idle }).toEqual({ watch: 0, idle: kernel.POLLERR });
  });

  it('are mapped from their start', () => {
    expect(denialOf(map(1n, 4096n)).errno).toBe(kernel.EINVAL);
  });

  it.each([NIOCTXSYNC, NIOCRXSYNC])('are synchronized without any argument: %i', (command) => {
    const plan = planOf(admit(command, new Uint8Array()));
    expect({ grants: plan.grants, head: plan.head.toDriver || plan.head.fromDriver }).toEqual({
      grants: [],
      head: false,
    });
  });
});

function settleNothing() {
  return policy.complete(callOf({ operation: 'open' }), new Uint8Array(), 0n);
}
