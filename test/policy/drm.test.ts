import { beforeAll, describe, expect, it } from 'vitest';
import type { Plan, PolicyInstance, Settlement } from '../../host/policy/abi.js';
import * as d from '../../policies/__generated__/drm.js';
import * as kernel from '../../policies/__generated__/kernel.js';
import * as g from '../../policies/__generated__/virtgpu_drm.js';
import { bytesWith, callOf, denialOf, memoryOf, planOf, policyInstance } from './support.js';

const A = 0x5000_0000n;
const B = 0x6000_0000n;
const C = 0x7000_0000n;
const D = 0x4000_0000n;
const BOTH = { toDriver: true, fromDriver: true };
const IN = { toDriver: true, fromDriver: false };

/** How many properties the two objects of an atomic commit have: 2 and 1. */
const COUNTS = bytesWith(8, [
  [0, 2],
  [4, 1],
]);

let policy: PolicyInstance;
let tables: string[];

beforeAll(async () => {
  policy = await policyInstance(
    'drm',
    memoryOf([
      [B, COUNTS],
      [C, new Uint8Array(1024).fill(5)],
      [D, new Uint8Array(1024)],
    ]),
  );
  tables = policy.describe().tables;
});

const headOf = (command: number, values: [number, number | bigint][] = []): Uint8Array =>
  bytesWith((command >>> 16) & 0x3fff, values);
const admit = (command: number, values: [number, number | bigint][] = []) =>
  policy.admit(callOf({ command }), headOf(command, values));
const grantsOf = (command: number, values: [number, number | bigint][]) =>
  planOf(admit(command, values)).grants.map(({ address, length }) => [address, length]);
const settled = (command: number, values: [number, number | bigint][] = [], outcome = 0n): Settlement =>
  policy.complete(callOf({ command }), headOf(command, values), outcome);
const learnt = (command: number, values: [number, number | bigint][] = []) =>
  settled(command, values).learn.map(({ table, offset, width }) => [tables[table], offset, width]);

describe('nested arrays', () => {
  it.each<[string, number, [number, number | bigint][], [bigint, number][]]>([
    [
      'a version',
      d.DRM_IOCTL_VERSION,
      [
        [d.drm_version.name_len, 10n],
        [d.drm_version.name, A],
        [d.drm_version.desc_len, 20n],
        [d.drm_version.desc, B],
      ],
      [
        [A, 10],
        [B, 20],
      ],
    ],
    [
      'resources',
      d.DRM_IOCTL_MODE_GETRESOURCES,
      [
        [d.drm_mode_card_res.count_crtcs, 1],
        [d.drm_mode_card_res.crtc_id_ptr, A],
        [d.drm_mode_card_res.count_encoders, 3],
        [d.drm_mode_card_res.encoder_id_ptr, B],
      ],
      [
        [A, 4],
        [B, 12],
      ],
    ],
    [
      'a connector',
      d.DRM_IOCTL_MODE_GETCONNECTOR,
      [
        [d.drm_mode_get_connector.count_modes, 26],
        [d.drm_mode_get_connector.modes_ptr, A],
        [d.drm_mode_get_connector.count_props, 5],
        [d.drm_mode_get_connector.props_ptr, B],
        [d.drm_mode_get_connector.prop_values_ptr, C],
      ],
      [
        [A, 26 * 68],
        [B, 20],
        [C, 40],
      ],
    ],
    [
      'a property',
      d.DRM_IOCTL_MODE_GETPROPERTY,
      [
        [d.drm_mode_get_property.count_values, 4],
        [d.drm_mode_get_property.values_ptr, A],
        [d.drm_mode_get_property.count_enum_blobs, 4],
        [d.drm_mode_get_property.enum_blob_ptr, B],
      ],
      [
        [A, 32],
        [B, 160],
      ],
    ],
    [
      'a blob',
      d.DRM_IOCTL_MODE_GETPROPBLOB,
      [
        [d.drm_mode_get_blob.length, 256],
        [d.drm_mode_get_blob.data, A],
      ],
      [[A, 256]],
    ],
    [
      'clips',
      d.DRM_IOCTL_MODE_DIRTYFB,
      [
        [d.drm_mode_fb_dirty_cmd.num_clips, 2],
        [d.drm_mode_fb_dirty_cmd.clips_ptr, A],
      ],
      [[A, 16]],
    ],
    [
      'a colour table',
      d.DRM_IOCTL_MODE_SETGAMMA,
      [
        [d.drm_mode_crtc_lut.gamma_size, 256],
        [d.drm_mode_crtc_lut.red, A],
        [d.drm_mode_crtc_lut.green, B],
        [d.drm_mode_crtc_lut.blue, C],
      ],
      [
        [A, 512],
        [B, 512],
        [C, 512],
      ],
    ],
    [
      'points of timelines',
      d.DRM_IOCTL_SYNCOBJ_TIMELINE_WAIT,
      [
        [d.drm_syncobj_timeline_wait.count_handles, 2],
        [d.drm_syncobj_timeline_wait.handles, A],
        [d.drm_syncobj_timeline_wait.points, B],
      ],
      [
        [A, 8],
        [B, 16],
      ],
    ],
    [
      'a command stream',
      g.DRM_IOCTL_VIRTGPU_EXECBUFFER_RING,
      [
        [g.drm_virtgpu_execbuffer.size, 4096],
        [g.drm_virtgpu_execbuffer.command, A],
        [g.drm_virtgpu_execbuffer.num_bo_handles, 3],
        [g.drm_virtgpu_execbuffer.bo_handles, B],
      ],
      [
        [A, 4096],
        [B, 12],
      ],
    ],
    ['a parameter', g.DRM_IOCTL_VIRTGPU_GETPARAM, [[g.drm_virtgpu_getparam.value, A]], [[A, 4]]],
    [
      'parameters of a context',
      g.DRM_IOCTL_VIRTGPU_CONTEXT_INIT,
      [
        [g.drm_virtgpu_context_init.num_params, 2],
        [g.drm_virtgpu_context_init.ctx_set_params, A],
      ],
      [[A, 32]],
    ],
  ])('are granted with their lengths: %s', (_, command, values, grants) => {
    expect(grantsOf(command, values)).toEqual(grants);
  });

  it('go in both ways where the driver fills them, and one way where it only reads', () => {
    const read: [number, number | bigint][] = [
      [d.drm_mode_crtc_lut.gamma_size, 1],
      [d.drm_mode_crtc_lut.red, A],
    ];
    expect(planOf(admit(d.DRM_IOCTL_MODE_GETGAMMA, read)).grants).toMatchObject([{ access: BOTH }]);
    expect(planOf(admit(d.DRM_IOCTL_MODE_SETGAMMA, read)).grants).toMatchObject([{ access: IN }]);
  });

  it('are counted first: without room nothing is granted', () => {
    expect(grantsOf(d.DRM_IOCTL_MODE_GETRESOURCES, [[d.drm_mode_card_res.crtc_id_ptr, A]])).toEqual([]);
  });

  it('are refused beyond what the core takes', () => {
    const values: [number, number | bigint][] = [
      [d.drm_mode_card_res.count_fbs, 0xffff_ffff],
      [d.drm_mode_card_res.fb_id_ptr, A],
    ];
    expect(denialOf(admit(d.DRM_IOCTL_MODE_GETRESOURCES, values)).errno).toBe(kernel.EINVAL);
    const long: [number, number | bigint][] = [
      [d.drm_version.name_len, 2n ** 63n],
      [d.drm_version.name, A],
    ];
    expect(denialOf(admit(d.DRM_IOCTL_VERSION, long)).errno).toBe(kernel.EINVAL);
  });
});

describe('an atomic commit', () => {
  const head: [number, number | bigint][] = [
    [d.drm_mode_atomic.count_objs, 2],
    [d.drm_mode_atomic.objs_ptr, A],
    [d.drm_mode_atomic.count_props_ptr, B],
    [d.drm_mode_atomic.props_ptr, C],
    [d.drm_mode_atomic.prop_values_ptr, D],
  ];

  it('has as many properties as its counts sum up to, and each must be known', () => {
    const plan = planOf(admit(d.DRM_IOCTL_MODE_ATOMIC, head));
    expect(plan.grants.map(({ address, length }) => [address, length])).toEqual([
      [A, 8],
      [B, 8],
      [C, 12],
      [D, 24],
    ]);
    expect(plan.requirements.map(({ table, source, offset }) => [tables[table], source, offset])).toEqual([
      ['property', 3, 0],
      ['property', 3, 4],
      ['property', 3, 8],
    ]);
  });

  it('never leaves a pointer as the guest gave it', () => {
    const plan = planOf(admit(d.DRM_IOCTL_MODE_ATOMIC, head));
    expect(plan.relocations.map(({ offset }) => offset)).toEqual(head.slice(1).map(([offset]) => offset));
  });

  const named = (name: string, id = 0): [number, number | bigint][] => [
    [d.drm_mode_get_property.prop_id, id],
    ...[...name].map((letter, index): [number, number] => [
      d.drm_mode_get_property.name + index,
      letter.charCodeAt(0),
    ]),
  ];

  it('learns no fence property: at the value of one, the kernel would write into the agent', () => {
    for (const name of ['IN_FENCE_FD', 'OUT_FENCE_PTR', 'WRITEBACK_OUT_FENCE_PTR'])
      expect(learnt(d.DRM_IOCTL_MODE_GETPROPERTY, named(name)), name).toEqual([]);
    expect(learnt(d.DRM_IOCTL_MODE_GETPROPERTY, named('CRTC_ID'))).toEqual([
      ['property', d.drm_mode_get_property.prop_id, 4],
    ]);
    for (const command of [d.DRM_IOCTL_MODE_OBJ_SETPROPERTY, d.DRM_IOCTL_MODE_SETPROPERTY])
      expect(planOf(admit(command)).requirements).toMatchObject([
        { offset: 8, width: 4, errno: kernel.EACCES },
      ]);
  });
});

describe('an atomic commit of too much', () => {
  it('is ENOMEM, by name', () => {
    const denial = denialOf(admit(d.DRM_IOCTL_MODE_ATOMIC, [[d.drm_mode_atomic.count_objs, 65]]));
    expect(denial).toMatchObject({ errno: kernel.ENOMEM, field: d.drm_mode_atomic.count_objs });
  });
});

describe('the framebuffer of an atomic commit', () => {
  const FRAME_PROPERTY = 17;
  const LOOKED_UP = BigInt(FRAME_PROPERTY) << 48n;
  const required = async (state: bigint, frame: bigint) => {
    const reading = await policyInstance(
      'drm',
      memoryOf([
        [B, bytesWith(4, [[0, 2]])],
        [
          C,
          bytesWith(8, [
            [0, FRAME_PROPERTY],
            [4, 5],
          ]),
        ],
        [D, bytesWith(16, [[0, frame]])],
      ]),
    );
    const head = headOf(d.DRM_IOCTL_MODE_ATOMIC, [
      [d.drm_mode_atomic.count_objs, 1],
      [d.drm_mode_atomic.objs_ptr, A],
      [d.drm_mode_atomic.count_props_ptr, B],
      [d.drm_mode_atomic.props_ptr, C],
      [d.drm_mode_atomic.prop_values_ptr, D],
    ]);
    const { requirements } = planOf(reading.admit(callOf({ command: d.DRM_IOCTL_MODE_ATOMIC, state }), head));
    return requirements.map(({ table, source, offset, width }) => [tables[table], source, offset, width]);
  };
  const named = (name: string): Settlement =>
    settled(d.DRM_IOCTL_MODE_GETPROPERTY, [
      [d.drm_mode_get_property.prop_id, FRAME_PROPERTY],
      ...[...name].map((letter, index): [number, number] => [
        d.drm_mode_get_property.name + index,
        letter.charCodeAt(0),
      ]),
    ]);

  it('is known by the name of its property, which is not learnt as others are', () => {
    expect(named('FB_ID')).toMatchObject({ learn: [], state: LOOKED_UP });
    expect(named('WRITEBACK_FB_ID')).toMatchObject({ learn: [], state: 0n });
    expect(named('FB_IDLE')).toMatchObject({ learn: [], state: 0n });
    expect(named('SRC_X')).toMatchObject({ learn: [{ width: 4 }], state: 0n });
  });

  it("must be the guest's own, as in any other command; none needs no owner", async () => {
    const property = ['property', 3, 4, 4];
    expect(await required(LOOKED_UP, 40n)).toEqual([['framebuffer', 4, 0, 8], property]);
    expect(await required(LOOKED_UP, 0n)).toEqual([property]);
  });

  it('is unknown to a file that has not looked it up', async () => {
    expect(await required(0n, 40n)).toEqual([
      ['property', 3, 0, 4],
      ['property', 3, 4, 4],
    ]);
  });
});

describe('fences of an atomic commit', () => {
  /** State after the file has looked up IN_FENCE_FD as 20, OUT_FENCE_PTR as 1 and WRITEBACK_OUT_FENCE_PTR as 7. */
  const LOOKED_UP = 20n | (1n << 16n) | (7n << 32n);
  const ids = bytesWith(12, [
    [0, 20],
    [4, 1],
    [8, 7],
  ]);
  const values = bytesWith(24, [
    [0, 5n],
    [8, A + 0x900n],
    [16, 0n],
  ]);
  const head: [number, number | bigint][] = [
    [d.drm_mode_atomic.count_objs, 1],
    [d.drm_mode_atomic.objs_ptr, A],
    [d.drm_mode_atomic.count_props_ptr, B],
    [d.drm_mode_atomic.props_ptr, C],
    [d.drm_mode_atomic.prop_values_ptr, D],
  ];
  let commit: (state: bigint) => Plan;

  beforeAll(async () => {
    const reading = await policyInstance(
      'drm',
      memoryOf([
        [A, new Uint8Array(8)],
        [B, bytesWith(4, [[0, 3]])],
        [C, ids],
        [D, values],
      ]),
    );
    commit = (state) =>
      planOf(
        reading.admit(
          callOf({ command: d.DRM_IOCTL_MODE_ATOMIC, state }),
          bytesWith(d.drm_mode_atomic.SIZE, head),
        ),
      );
  });

  it('are remembered by the file that looked them up', () => {
    const lookedUp = (name: string, id: number): bigint =>
      settled(d.DRM_IOCTL_MODE_GETPROPERTY, [
        [d.drm_mode_get_property.prop_id, id],
        ...[...name].map((letter, index): [number, number] => [
          d.drm_mode_get_property.name + index,
          letter.charCodeAt(0),
        ]),
      ]).state;
    expect(lookedUp('IN_FENCE_FD', 20)).toBe(20n);
    expect(lookedUp('OUT_FENCE_PTR', 1)).toBe(1n << 16n);
    expect(lookedUp('WRITEBACK_OUT_FENCE_PTR', 7)).toBe(7n << 32n);
    expect(lookedUp('IN_FENCE_FD', 0x1_0014)).toBe(0n);
  });

  it('are descriptors in place of values, and behind addresses in place of values', () => {
    const plan = commit(LOOKED_UP);
    expect(plan.requirements).toEqual([]);
    expect(
      plan.descriptors.map(({ kind, flow, region, offset, width }) => [kind, flow, region, offset, width]),
    ).toEqual([
      ['sync-file', 'to-driver', 4, 0, 8],
      ['sync-file', 'from-driver', 5, 0, 4],
    ]);
    expect(plan.grants[4]).toMatchObject({ address: A + 0x900n, length: 4 });
    expect(plan.relocations).toContainEqual({ region: 4, offset: 8, target: 5 });
  });

  it('are properties like any other to a file that has not looked them up', () => {
    const plan = commit(0n);
    expect(plan.descriptors).toEqual([]);
    expect(plan.requirements.map(({ source, offset }) => [source, offset])).toEqual([
      [3, 0],
      [3, 4],
      [3, 8],
    ]);
  });
});

describe('what belongs to a guest', () => {
  it('counts on the device that gave it, and a mapping in the session', () => {
    expect(planOf(admit(d.DRM_IOCTL_MODE_GETFB, [[0, 40]])).requirements[0]?.within).toBe('device');
    expect(planOf(admit(d.DRM_IOCTL_MODE_OBJ_SETPROPERTY)).requirements[0]?.within).toBe('device');
    const map = callOf({ operation: 'mmap', length: 4096n, offset: 0x1_0000_0000n });
    expect(planOf(policy.admit(map, new Uint8Array())).requirements[0]?.within).toBe('session');
  });

  it('ends before the driver may give its number to another guest', () => {
    const removal = planOf(admit(d.DRM_IOCTL_MODE_RMFB, [[0, 40]]));
    expect(removal.requirements).toMatchObject([{ source: 0, offset: 0, width: 4, errno: kernel.ENOENT }]);
    expect(removal.forget.map(({ table, ...place }) => ({ table: tables[table], ...place }))).toEqual([
      { table: 'framebuffer', source: 0, offset: 0, width: 4 },
    ]);
    for (const command of [d.DRM_IOCTL_GEM_CLOSE, d.DRM_IOCTL_MODE_DESTROY_DUMB]) {
      const { forget } = planOf(admit(command));
      expect(forget.map(({ table, width }) => [tables[table], width])).toEqual([['flink-name', 0]]);
    }
  });

  it('is learnt from the driver', () => {
    expect(learnt(d.DRM_IOCTL_MODE_MAP_DUMB)).toEqual([['buffer-offset', 8, 8]]);
    expect(learnt(g.DRM_IOCTL_VIRTGPU_MAP)).toEqual([['buffer-offset', 0, 8]]);
    expect(learnt(d.DRM_IOCTL_GEM_FLINK)).toEqual([['flink-name', 4, 4]]);
    expect(learnt(d.DRM_IOCTL_MODE_ADDFB2)).toEqual([['framebuffer', 0, 4]]);
    expect(learnt(d.DRM_IOCTL_GET_MAGIC)).toEqual([['magic', 0, 4]]);
  });

  it('is not learnt from a failure', () => {
    expect(settled(d.DRM_IOCTL_MODE_MAP_DUMB, [], -22n).learn).toEqual([]);
  });

  it.each<[string, number, [number, number | bigint][], string]>([
    ['a buffer of a name', d.DRM_IOCTL_GEM_OPEN, [[0, 1]], 'flink-name'],
    ['the contents of a framebuffer', d.DRM_IOCTL_MODE_GETFB, [[0, 40]], 'framebuffer'],
    ['the contents of a framebuffer, anew', d.DRM_IOCTL_MODE_GETFB2, [[0, 40]], 'framebuffer'],
    ['a framebuffer to flip to', d.DRM_IOCTL_MODE_PAGE_FLIP, [[4, 40]], 'framebuffer'],
    ['the authentication of a client', d.DRM_IOCTL_AUTH_MAGIC, [[0, 1]], 'magic'],
  ])('is required: %s', (_, command, values, table) => {
    expect(planOf(admit(command, values)).requirements.map((one) => tables[one.table])).toEqual([table]);
  });

  it('is required of a mapping', () => {
    const plan = planOf(
      policy.admit(callOf({ operation: 'mmap', length: 4096n, offset: 0x1_0000_0000n }), new Uint8Array()),
    );
    expect(plan.requirements).toMatchObject([{ source: 0xffffffff, width: 8, errno: kernel.EINVAL }]);
  });

  it('does not hinder the switching off of a controller', () => {
    expect(planOf(admit(d.DRM_IOCTL_MODE_SETCRTC)).requirements).toEqual([]);
  });
});

/** What an operation passes, as [kind, flow, region, offset, width]. */
function passed(command: number, values: [number, number | bigint][] = [], state = 0n): unknown[] {
  const head = bytesWith((command >>> 16) & 0x3fff, values);
  const { descriptors } = planOf(policy.admit(callOf({ command, state }), head));
  return descriptors.map(({ kind, flow, region, offset, width }) => [kind, flow, region, offset, width]);
}

describe('descriptors', () => {
  it('of buffers go both ways', () => {
    expect(passed(d.DRM_IOCTL_PRIME_HANDLE_TO_FD)).toEqual([['dma-buf', 'from-driver', 0, 8, 4]]);
    expect(passed(d.DRM_IOCTL_PRIME_FD_TO_HANDLE)).toEqual([['dma-buf', 'to-driver', 0, 8, 4]]);
  });

  it('of buffers are closed on exec where the guest asks for it', () => {
    for (const [flags, closes] of [
      [0, false],
      [2, false],
      [kernel.O_CLOEXEC, true],
    ] as const) {
      const plan = planOf(admit(d.DRM_IOCTL_PRIME_HANDLE_TO_FD, [[d.drm_prime_handle.flags, flags]]));
      expect(plan.descriptors).toMatchObject([{ closeOnExec: closes }]);
    }
  });

  it('of containers of fences are those, or the fence in them', () => {
    for (const [flags, kind] of [
      [0, 'syncobj'],
      [1, 'sync-file'],
    ] as const) {
      const values: [number, number][] = [[d.drm_syncobj_handle.flags, flags]];
      expect(passed(d.DRM_IOCTL_SYNCOBJ_HANDLE_TO_FD, values)).toEqual([[kind, 'from-driver', 0, 8, 4]]);
      expect(passed(d.DRM_IOCTL_SYNCOBJ_FD_TO_HANDLE, values)).toEqual([[kind, 'to-driver', 0, 8, 4]]);
    }
  });

  it('of a command stream are its fences, as its flags say', () => {
    const { VIRTGPU_EXECBUF_FENCE_FD_IN: IN, VIRTGPU_EXECBUF_FENCE_FD_OUT: OUT } = g;
    const at = g.drm_virtgpu_execbuffer.fence_fd;
    const before = ['sync-file', 'to-driver', 0, at, 4];
    const after = ['sync-file', 'from-driver', 0, at, 4];
    for (const command of [g.DRM_IOCTL_VIRTGPU_EXECBUFFER, g.DRM_IOCTL_VIRTGPU_EXECBUFFER_RING]) {
      expect(passed(command, [[0, 0]])).toEqual([]);
      expect(passed(command, [[0, IN]])).toEqual([before]);
      expect(passed(command, [[0, OUT]])).toEqual([after]);
      expect(passed(command, [[0, IN | OUT]])).toEqual([before, after]);
    }
  });

  it('do not cross as leases', () => {
    expect(denialOf(admit(d.DRM_IOCTL_MODE_CREATE_LEASE)).errno).toBe(kernel.EOPNOTSUPP);
  });
});

it('has events to read', () => {
  const { watch } = policy.complete(callOf({ operation: 'open' }), new Uint8Array(), 0n);
  expect(watch & kernel.POLLIN).toBe(kernel.POLLIN);
  planOf(policy.admit(callOf({ operation: 'read', length: 1024n }), new Uint8Array()));
});
