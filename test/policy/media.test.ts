import { beforeAll, describe, expect, it } from 'vitest';
import type { PolicyInstance } from '../../host/policy/abi.js';
import * as kernel from '../../policies/__generated__/kernel.js';
import * as m from '../../policies/__generated__/media.js';
import { bytesWith, callOf, denialOf, planOf, policyInstance } from './support.js';

const ENTITIES = 0x5000_0000n;
const LINKS = 0x6000_0000n;

let policy: PolicyInstance;

beforeAll(async () => {
  policy = await policyInstance('media');
});

const admit = (command: number, head: Uint8Array) =>
  policy.admit(callOf({ command, argument: 0x7000n }), head);

const topology = (values: [number, number | bigint][]): Uint8Array =>
  bytesWith(m.media_v2_topology.SIZE, values);

describe('a media controller', () => {
  it('tells its topology in arrays of the lengths that the guest has room for', () => {
    const head = topology([
      [m.media_v2_topology.num_entities, 3],
      [m.media_v2_topology.ptr_entities, ENTITIES],
      [m.media_v2_topology.num_links, 2],
      [m.media_v2_topology.ptr_links, LINKS],
    ]);
    const plan = planOf(admit(m.MEDIA_IOC_G_TOPOLOGY, head));
    expect(plan.grants).toMatchObject([
      { address: ENTITIES, length: 3 * m.media_v2_entity.SIZE, access: { toDriver: true, fromDriver: true } },
      { address: LINKS, length: 2 * m.media_v2_link.SIZE, access: { toDriver: true, fromDriver: true } },
    ]);
    expect(plan.relocations).toEqual([
      { region: 0, offset: m.media_v2_topology.ptr_entities, target: 1 },
      { region: 0, offset: m.media_v2_topology.ptr_links, target: 2 },
    ]);
  });

  it('counts first: without pointers nothing is granted', () => {
    const head = topology([[m.media_v2_topology.num_entities, 3]]);
    expect(planOf(admit(m.MEDIA_IOC_G_TOPOLOGY, head)).grants).toEqual([]);
  });

  it('refuses arrays beyond any topology', () => {
    const head = topology([
      [m.media_v2_topology.num_pads, 513],
      [m.media_v2_topology.ptr_pads, ENTITIES],
    ]);
    expect(denialOf(admit(m.MEDIA_IOC_G_TOPOLOGY, head))).toMatchObject({
      errno: kernel.EINVAL,
      field: m.media_v2_topology.num_pads,
    });
  });

  it.each([
    ['MEDIA_IOC_ENUM_LINKS', m.MEDIA_IOC_ENUM_LINKS, 40],
    ['MEDIA_IOC_REQUEST_ALLOC', m.MEDIA_IOC_REQUEST_ALLOC, 4],
  ])('refuses %s on purpose', (_, command, bytes) => {
    expect(denialOf(admit(command, new Uint8Array(bytes))).errno).toBe(kernel.ENOTTY);
  });
});
