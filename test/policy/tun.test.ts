import { beforeAll, describe, expect, it } from 'vitest';
import type { PolicyInstance } from '../../host/policy/abi.js';
import * as t from '../../policies/__generated__/if_tun.js';
import * as kernel from '../../policies/__generated__/kernel.js';
import { bytesWith, callOf, denialOf, planOf, policyInstance } from './support.js';

const FILTER = 0x5000_0000n;

let policy: PolicyInstance;

beforeAll(async () => {
  policy = await policyInstance('tun');
});

const admit = (command: number, head: Uint8Array = new Uint8Array(), argument = 0x7000n) =>
  policy.admit(callOf({ command, argument }), head);

describe('a tunnel', () => {
  it('takes and gives a whole ifreq, though the number says int', () => {
    const plan = planOf(admit(t.TUNSETIFF, new Uint8Array(t.ifreq.SIZE)));
    expect(plan.head).toMatchObject({ toDriver: true, fromDriver: true });
    const row = policy.describe().commands.find(({ name }) => name === 'TUNSETIFF');
    expect(row?.head).toBe(40);
  });

  it('has one queue, so that no other guest can join it by its name', () => {
    const head = bytesWith(t.ifreq.SIZE, [[t.ifreq.ifr_flags, t.IFF_MULTI_QUEUE]]);
    expect(denialOf(admit(t.TUNSETIFF, head)).errno).toBe(kernel.EINVAL);
    const features = policy.complete(callOf({ command: t.TUNGETFEATURES }), bytesWith(4, [[0, 0x7fff]]), 0n);
    expect((features.masks[0]?.keep ?? 0n) & BigInt(t.IFF_MULTI_QUEUE)).toBe(0n);
  });

  it('does not persist', () => {
    planOf(admit(t.TUNSETPERSIST, new Uint8Array(), 0n));
    expect(denialOf(admit(t.TUNSETPERSIST, new Uint8Array(), 1n)).errno).toBe(kernel.EPERM);
  });

  it('passes a socket filter on, as far as it goes', () => {
    const head = (length: number): Uint8Array =>
      bytesWith(t.sock_fprog.SIZE, [
        [t.sock_fprog.len, length],
        [t.sock_fprog.filter, FILTER],
      ]);
    const plan = planOf(admit(t.TUNATTACHFILTER, head(3)));
    expect(plan.grants).toMatchObject([
      { address: FILTER, length: 24, access: { toDriver: true, fromDriver: false } },
    ]);
    expect(plan.relocations).toEqual([{ region: 0, offset: t.sock_fprog.filter, target: 1 }]);
    expect(planOf(admit(t.TUNATTACHFILTER, head(0))).grants).toEqual([]);
    expect(denialOf(admit(t.TUNATTACHFILTER, head(4097))).errno).toBe(kernel.EINVAL);
  });

  it('does not tell where the filter lies in the driver domain', () => {
    const { masks } = policy.complete(callOf({ command: t.TUNGETFILTER }), new Uint8Array(16), 0n);
    expect(masks).toEqual([{ region: 0, offset: t.sock_fprog.filter, width: 8, keep: 0n }]);
  });

  it.each([t.TUNSETSTEERINGEBPF, t.TUNSETFILTEREBPF, t.TUNSETOWNER, t.TUNSETGROUP, t.TUNGETDEVNETNS])(
    'refuses command %i as one without privileges would be',
    (command) => {
      expect(denialOf(admit(command, new Uint8Array(4))).errno).toBe(kernel.EPERM);
    },
  );

  it('refuses a list of addresses, but not an empty one', () => {
    planOf(admit(t.TUNSETTXFILTER, new Uint8Array(4)));
    const listed = bytesWith(4, [[t.tun_filter.flags, 1 << 16]]);
    expect(denialOf(admit(t.TUNSETTXFILTER, listed)).errno).toBe(kernel.EINVAL);
  });

  it('is watched once it has an interface', () => {
    const opened = policy.complete(callOf({ operation: 'open' }), new Uint8Array(), 0n);
    expect(opened).toMatchObject({ watch: 0, idle: kernel.POLLERR });
    const attached = policy.complete(callOf({ command: t.TUNSETIFF }), new Uint8Array(40), 0n);
    expect(attached.watch & (kernel.POLLIN | kernel.POLLOUT)).toBe(kernel.POLLIN | kernel.POLLOUT);
    expect(attached.idle).toBe(0);
  });
});
