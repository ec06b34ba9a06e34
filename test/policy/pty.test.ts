import { beforeAll, describe, expect, it } from 'vitest';
import type { ClassInfo, PolicyInstance } from '../../host/policy/abi.js';
import * as t from '../../policies/__generated__/ioctls.js';
import * as kernel from '../../policies/__generated__/kernel.js';
import { bytesWith, callOf, denialOf, planOf, policyInstance } from './support.js';

const PTMX = 0;
const TERMINAL = 1;

let policy: PolicyInstance;
let info: ClassInfo;

beforeAll(async () => {
  policy = await policyInstance('pty');
  info = policy.describe();
});

const open = (node: number, minor: bigint) =>
  planOf(policy.admit(callOf({ operation: 'open', node, argument: minor }), new Uint8Array()));

describe('a pseudo terminal', () => {
  it('is opened only by the guest that made it', () => {
    expect(open(PTMX, 2n).requirements).toEqual([]);
    expect(open(TERMINAL, 5n).requirements).toMatchObject([
      { table: 0, source: 0xfffffffe, errno: kernel.EACCES },
    ]);
  });

  it('tells its number to the guest that made it, from the multiplexer alone', () => {
    const call = callOf({ command: t.TIOCGPTN, node: PTMX });
    const head = bytesWith(4, [[0, 5]]);
    expect(policy.complete(call, head, 0n).learn).toEqual([{ table: 0, region: 0, offset: 0, width: 4 }]);
    expect(policy.complete(call, head, -25n).learn).toEqual([]);
    expect(policy.complete({ ...call, node: TERMINAL }, head, 0n).learn).toEqual([]);
  });

  it.each<[string, number, number, boolean, boolean]>([
    ['TCGETS', t.TCGETS, 36, false, true],
    ['TCSETS', t.TCSETS, 36, true, false],
    ['TCGETS2', t.TCGETS2, 44, false, true],
    ['TIOCSWINSZ', t.TIOCSWINSZ, 8, true, false],
    ['TIOCINQ', t.TIOCINQ, 4, false, true],
    ['TCFLSH', t.TCFLSH, 0, false, false],
  ])('%s moves what the kernel moves', (name, command, head, toDriver, fromDriver) => {
    expect(info.commands.find((row) => row.name === name)?.head).toBe(head);
    const plan = planOf(policy.admit(callOf({ command }), new Uint8Array(head)));
    expect(plan.head).toMatchObject({ toDriver, fromDriver });
    expect(plan.grants).toEqual([]);
  });

  it.each<[string, number, number]>([
    ['TIOCSTI', t.TIOCSTI, kernel.EPERM],
    ['TIOCSCTTY', t.TIOCSCTTY, kernel.EPERM],
    ['TIOCGPGRP', t.TIOCGPGRP, kernel.ENOTTY],
    ['TIOCGPTPEER', t.TIOCGPTPEER, kernel.ENOTTY],
  ])('%s is refused, by name', (name, command, errno) => {
    const denial = denialOf(policy.admit(callOf({ command }), new Uint8Array(4)));
    expect(denial.errno).toBe(errno);
    expect(info.commands.find((row) => row.name === name)?.refused).toBe(denial.reason);
  });

  it('keeps its line discipline', () => {
    planOf(policy.admit(callOf({ command: t.TIOCSETD }), bytesWith(4, [[0, t.N_TTY]])));
    const slip = policy.admit(callOf({ command: t.TIOCSETD }), bytesWith(4, [[0, 1]]));
    expect(denialOf(slip).errno).toBe(kernel.EPERM);
  });

  it('may block, and is watched, from the start', () => {
    for (const operation of ['read', 'write'] as const)
      expect(planOf(policy.admit(callOf({ operation }), new Uint8Array())).blocking).toBe(true);
    const { watch } = policy.complete(callOf({ operation: 'open' }), new Uint8Array(), 0n);
    const wanted = kernel.POLLIN | kernel.POLLOUT | kernel.POLLPRI | kernel.POLLHUP;
    expect(watch & wanted).toBe(wanted);
  });

  it('is not mapped', () => {
    expect(denialOf(policy.admit(callOf({ operation: 'mmap' }), new Uint8Array())).errno).toBe(kernel.EINVAL);
  });
});
