import { beforeAll, describe, expect, it } from 'vitest';
import type { Access, ClassInfo, Operation, PolicyInstance, Settlement } from '../../host/policy/abi.js';
import * as kernel from '../../policies/__generated__/kernel.js';
import * as v from '../../policies/__generated__/videodev2.js';
import { bytesWith, callOf, denialOf, memoryOf, planOf, policyInstance, policyPackage } from './support.js';

const BOTH: Access = { toDriver: true, fromDriver: true, fromDriverOnError: false };
const ALWAYS: Access = { toDriver: true, fromDriver: true, fromDriverOnError: true };
const CAPTURE = 1;
const OUTPUT = 2;
const CAPTURE_MPLANE = 9;
const CAPTURE_OFFSETS = 0;
const OUTPUT_OFFSETS = 1;
/** Where the tests' nested arrays lie in the guest. */
const ARRAY = 0x5000_0000n;
const PAYLOAD = 0x6000_0000n;

/** Three controls: an integer, a string of 32 bytes and a matrix of 100. */
const CONTROLS = bytesWith(3 * v.v4l2_ext_control.SIZE, [
  [v.v4l2_ext_control.id, 0x980900],
  [v.v4l2_ext_control.SIZE + v.v4l2_ext_control.size, 32],
  [v.v4l2_ext_control.SIZE + v.v4l2_ext_control.string, PAYLOAD],
  [2 * v.v4l2_ext_control.SIZE + v.v4l2_ext_control.size, 100],
  [2 * v.v4l2_ext_control.SIZE + v.v4l2_ext_control.string, PAYLOAD + 64n],
]);

let policy: PolicyInstance;
let info: ClassInfo;

beforeAll(async () => {
  policy = await policyInstance('v4l2', memoryOf([[ARRAY, CONTROLS]]));
  info = policy.describe();
});

const admit = (command: number, head: Uint8Array) => policy.admit(callOf({ command }), head);
const reasonOf = (command: number, head: Uint8Array): string =>
  info.reasons[denialOf(admit(command, head)).reason] as string;

/** A v4l2_buffer of a type, with memory MMAP and a plane array. */
function buffer(type: number, values: [number, number | bigint][] = []): Uint8Array {
  const base: [number, number | bigint][] = [
    [v.v4l2_buffer.type, type],
    [v.v4l2_buffer.memory, v.V4L2_MEMORY_MMAP],
    [v.v4l2_buffer.m_planes, ARRAY],
  ];
  return bytesWith(v.v4l2_buffer.SIZE, [...base, ...values]);
}

describe('commands', () => {
  it('take the direction and size of the head from their number', () => {
    const row = info.commands.find(({ name }) => name === 'VIDIOC_QUERYCAP');
    expect(row).toMatchObject({ number: v.VIDIOC_QUERYCAP, head: 104, nested: false, refused: 0 });
    expect(planOf(admit(v.VIDIOC_QUERYCAP, new Uint8Array(104))).head.fromDriver).toBe(true);
    expect(planOf(admit(v.VIDIOC_S_FREQUENCY, new Uint8Array(44))).head.fromDriver).toBe(false);
    expect(planOf(admit(v.VIDIOC_LOG_STATUS, new Uint8Array())).head).toMatchObject({
      toDriver: false,
      fromDriver: false,
    });
  });

  it('that nobody knows are ENOTTY, by name', () => {
    const verdict = denialOf(admit(0xc0045699, new Uint8Array(4)));
    expect(verdict.errno).toBe(kernel.ENOTTY);
    expect(info.reasons[verdict.reason]).toContain('does not know this command');
  });

  it.each(['VIDIOC_DBG_G_REGISTER', 'VIDIOC_DBG_S_REGISTER'])('%s is refused, by name', (name) => {
    const row = info.commands.find((command) => command.name === name);
    expect(row?.refused).toBeGreaterThan(0);
    const number = (v as unknown as Record<string, number>)[name] as number;
    expect(denialOf(admit(number, new Uint8Array(64))).errno).toBe(kernel.ENOTTY);
  });

  it('copy their head back after an error where the kernel does', () => {
    expect(planOf(admit(v.VIDIOC_QUERY_DV_TIMINGS, new Uint8Array(132))).head.fromDriverOnError).toBe(true);
    expect(planOf(admit(v.VIDIOC_G_DV_TIMINGS, new Uint8Array(132))).head.fromDriverOnError).toBe(false);
  });

  it.each(['VIDIOC_DQBUF', 'VIDIOC_DQEVENT'])('%s may block', (name) => {
    const { number, head } = info.commands.find((command) => command.name === name) as {
      number: number;
      head: number;
    };
    expect(planOf(admit(number, new Uint8Array(head))).blocking).toBe(true);
  });

  it('with a short head are denied, not read beyond', () => {
    planOf(admit(v.VIDIOC_REQBUFS, bytesWith(20, [[8, v.V4L2_MEMORY_MMAP]])));
    const verdict = denialOf(admit(v.VIDIOC_REQBUFS, new Uint8Array(4)));
    expect(info.reasons[verdict.reason]).toContain('shorter');
  });
});

describe('controls', () => {
  const controls = (count: number, values: [number, number | bigint][] = []): Uint8Array =>
    bytesWith(v.v4l2_ext_controls.SIZE, [
      [v.v4l2_ext_controls.count, count],
      [v.v4l2_ext_controls.controls, ARRAY],
      ...values,
    ]);

  it('are an array, whose payloads are granted and relocated one by one', () => {
    const plan = planOf(admit(v.VIDIOC_S_EXT_CTRLS, controls(3)));
    expect(plan.head).toEqual(ALWAYS);
    expect(plan.grants).toEqual([
      { address: ARRAY, length: 60, access: ALWAYS },
      { address: PAYLOAD, length: 32, access: ALWAYS },
      { address: PAYLOAD + 64n, length: 100, access: ALWAYS },
    ]);
    expect(plan.relocations).toEqual([
      { region: 0, offset: v.v4l2_ext_controls.controls, target: 1 },
      { region: 1, offset: 20 + 12, target: 2 },
      { region: 1, offset: 40 + 12, target: 3 },
    ]);
  });

  it('of which there are none need no array', () => {
    const plan = planOf(admit(v.VIDIOC_G_EXT_CTRLS, controls(0)));
    expect(plan.grants).toEqual([]);
    expect(plan.head).toEqual(ALWAYS);
  });

  it('of which there are too many are EINVAL, as check_array_args says', () => {
    expect(denialOf(admit(v.VIDIOC_TRY_EXT_CTRLS, controls(1025)))).toMatchObject({
      errno: kernel.EINVAL,
      field: v.v4l2_ext_controls.count,
    });
  });

  it('in memory that is not there are EFAULT', () => {
    const head = controls(1, [[v.v4l2_ext_controls.controls, 0x9000n]]);
    expect(denialOf(admit(v.VIDIOC_G_EXT_CTRLS, head))).toMatchObject({
      errno: kernel.EFAULT,
      field: v.v4l2_ext_controls.controls,
    });
  });

  it('of a request are refused as without request support', () => {
    const head = controls(1, [[v.v4l2_ext_controls.which, v.V4L2_CTRL_WHICH_REQUEST_VAL]]);
    expect(denialOf(admit(v.VIDIOC_G_EXT_CTRLS, head)).errno).toBe(kernel.EBADR);
  });

  it('with payloads beyond the envelope are denied', async () => {
    const huge = bytesWith(20, [
      [v.v4l2_ext_control.size, 0xffffffff],
      [v.v4l2_ext_control.string, PAYLOAD],
    ]);
    const many = bytesWith(
      100 * 20,
      Array.from({ length: 100 }, (_, index) => [index * 20 + v.v4l2_ext_control.size, 1]),
    );
    const strict = await policyInstance(
      'v4l2',
      memoryOf([
        [ARRAY, huge],
        [PAYLOAD, many],
      ]),
    );
    const call = callOf({ command: v.VIDIOC_S_EXT_CTRLS });
    expect(denialOf(strict.admit(call, controls(1))).errno).toBe(kernel.ENOMEM);
    const manyHead = controls(100, [[v.v4l2_ext_controls.controls, PAYLOAD]]);
    expect(denialOf(strict.admit(call, manyHead)).errno).toBe(kernel.ENOMEM);
  });
});

describe('buffers', () => {
  it('with one plane have no array', () => {
    const plan = planOf(admit(v.VIDIOC_QBUF, buffer(CAPTURE)));
    expect(plan.grants).toEqual([]);
    expect(plan.head).toEqual(BOTH);
  });

  it.each(['VIDIOC_QUERYBUF', 'VIDIOC_QBUF', 'VIDIOC_DQBUF', 'VIDIOC_PREPARE_BUF'])(
    '%s with several planes has an array of them',
    (name) => {
      const number = (v as unknown as Record<string, number>)[name] as number;
      const plan = planOf(admit(number, buffer(CAPTURE_MPLANE, [[v.v4l2_buffer.length, 3]])));
      expect(plan.grants).toEqual([{ address: ARRAY, length: 3 * 64, access: ALWAYS }]);
      expect(plan.relocations).toEqual([{ region: 0, offset: v.v4l2_buffer.m_planes, target: 1 }]);
    },
  );

  it('with too many planes are EINVAL', () => {
    const head = buffer(CAPTURE_MPLANE, [[v.v4l2_buffer.length, 9]]);
    expect(denialOf(admit(v.VIDIOC_DQBUF, head)).errno).toBe(kernel.EINVAL);
  });

  it('of memory of the driver are made', () => {
    const head = bytesWith(256, [
      [v.v4l2_create_buffers.memory, v.V4L2_MEMORY_MMAP],
      [v.v4l2_create_buffers.format_type, CAPTURE],
    ]);
    expect(planOf(admit(v.VIDIOC_CREATE_BUFS, head))).toMatchObject({ grants: [], descriptors: [] });
  });

  it('of memory of the guest are EINVAL, by name', () => {
    const memory = 2;
    const heads = [
      [v.VIDIOC_REQBUFS, bytesWith(20, [[v.v4l2_requestbuffers.memory, memory]])],
      [v.VIDIOC_CREATE_BUFS, bytesWith(256, [[v.v4l2_create_buffers.memory, memory]])],
      [v.VIDIOC_QBUF, buffer(CAPTURE, [[v.v4l2_buffer.memory, memory]])],
    ] as const;
    for (const [command, head] of heads) {
      expect(denialOf(admit(command, head)).errno).toBe(kernel.EINVAL);
      expect(reasonOf(command, head)).toContain('only buffers of MMAP and DMABUF');
    }
  });

  const passed = (command: number, head: Uint8Array): unknown[] =>
    planOf(admit(command, head)).descriptors.map(({ kind, flow, region, offset }) => [
      kind,
      flow,
      region,
      offset,
    ]);

  it('of other drivers are queued by descriptor, and their numbers are told again', () => {
    const single = buffer(CAPTURE, [[v.v4l2_buffer.memory, v.V4L2_MEMORY_DMABUF]]);
    const several = buffer(CAPTURE_MPLANE, [
      [v.v4l2_buffer.memory, v.V4L2_MEMORY_DMABUF],
      [v.v4l2_buffer.length, 2],
    ]);
    const fd = v.v4l2_plane.m_mem_offset;
    for (const command of [v.VIDIOC_QBUF, v.VIDIOC_PREPARE_BUF]) {
      expect(passed(command, single)).toEqual([['dma-buf', 'to-driver', 0, v.v4l2_buffer.m_offset]]);
      expect(passed(command, several)).toEqual([
        ['dma-buf', 'to-driver', 1, fd],
        ['dma-buf', 'to-driver', 1, v.v4l2_plane.SIZE + fd],
      ]);
      expect(passed(command, buffer(CAPTURE, []))).toEqual([]);
    }
    for (const command of [v.VIDIOC_DQBUF, v.VIDIOC_QUERYBUF]) {
      expect(passed(command, single)).toEqual([['dma-buf', 'repeated', 0, v.v4l2_buffer.m_offset]]);
      expect(passed(command, several)).toHaveLength(2);
    }
  });

  it('are exported as descriptors, closed on exec where the guest asks for it', () => {
    for (const flags of [0, 2, kernel.O_CLOEXEC | 2]) {
      const head = bytesWith(v.v4l2_exportbuffer.SIZE, [[v.v4l2_exportbuffer.flags, flags]]);
      expect(planOf(admit(v.VIDIOC_EXPBUF, head)).descriptors).toEqual([
        {
          ...{ region: 0, offset: v.v4l2_exportbuffer.fd, width: 4 },
          ...{ kind: 'dma-buf', flow: 'from-driver', closeOnExec: (flags & kernel.O_CLOEXEC) !== 0 },
        },
      ]);
    }
  });

  it('of a request are answered as by videobuf2 without request support', () => {
    const head = buffer(CAPTURE, [[v.v4l2_buffer.flags, v.V4L2_BUF_FLAG_REQUEST_FD]]);
    expect(denialOf(admit(v.VIDIOC_QBUF, head)).errno).toBe(kernel.EBADR);
    expect(denialOf(admit(v.VIDIOC_PREPARE_BUF, head)).errno).toBe(kernel.EINVAL);
  });
});

describe('other nested structures', () => {
  const edid = (blocks: number): Uint8Array =>
    bytesWith(v.v4l2_edid.SIZE, [
      [v.v4l2_edid.blocks, blocks],
      [v.v4l2_edid.edid, ARRAY],
    ]);
  const window = (clips: number, bitmap: bigint): Uint8Array =>
    bytesWith(v.v4l2_format.SIZE, [
      [v.v4l2_format.type, v.V4L2_BUF_TYPE_VIDEO_OVERLAY],
      [v.v4l2_format.fmt_win_clips, ARRAY],
      [v.v4l2_format.fmt_win_clipcount, clips],
      [v.v4l2_format.fmt_win_bitmap, bitmap],
    ]);

  it('EDID blocks have 128 bytes each, and there are 256 at most', () => {
    expect(planOf(admit(v.VIDIOC_S_EDID, edid(256))).grants).toMatchObject([{ length: 256 * 128 }]);
    expect(planOf(admit(v.VIDIOC_G_EDID, edid(0))).grants).toEqual([]);
    expect(denialOf(admit(v.VIDIOC_G_EDID, edid(257))).errno).toBe(kernel.EINVAL);
  });

  it("an overlay's clips are an array; a bitmap is refused", () => {
    expect(planOf(admit(v.VIDIOC_S_FMT, window(2, 0n))).grants).toMatchObject([
      { address: ARRAY, length: 48 },
    ]);
    expect(planOf(admit(v.VIDIOC_G_FMT, window(0, 0n))).grants).toEqual([]);
    expect(denialOf(admit(v.VIDIOC_TRY_FMT, window(2049, 0n))).errno).toBe(kernel.EINVAL);
    expect(reasonOf(v.VIDIOC_S_FMT, window(1, ARRAY))).toContain('bitmap');
  });

  it("a capture format has no array, whatever lies where an overlay's clips would", () => {
    const head = new Uint8Array(v.v4l2_format.SIZE).fill(0xff);
    new DataView(head.buffer).setUint32(0, CAPTURE, true);
    expect(planOf(admit(v.VIDIOC_S_FMT, head)).grants).toEqual([]);
  });

  it('a framebuffer has no physical address', () => {
    const head = bytesWith(v.v4l2_framebuffer.SIZE, [[v.v4l2_framebuffer.base, 0xf000_0000n]]);
    expect(denialOf(admit(v.VIDIOC_S_FBUF, head)).errno).toBe(kernel.EPERM);
    planOf(admit(v.VIDIOC_S_FBUF, new Uint8Array(v.v4l2_framebuffer.SIZE)));
  });
});

describe('a session', () => {
  /** The settlement of each command in turn, the state of one going into the next. */
  function settleAll(steps: [command: number, head: Uint8Array, outcome?: bigint][], node = 0): Settlement {
    let settlement = policy.complete(callOf({ operation: 'open', node }), new Uint8Array(), 0n);
    for (const [command, head, outcome] of steps) {
      const call = callOf({ command, node, state: settlement.state });
      settlement = policy.complete(call, head, outcome ?? 0n);
    }
    return settlement;
  }
  const requestBuffers = (type: number, count: number): [number, Uint8Array] => [
    v.VIDIOC_REQBUFS,
    bytesWith(20, [
      [v.v4l2_requestbuffers.count, count],
      [v.v4l2_requestbuffers.type, type],
      [v.v4l2_requestbuffers.capabilities, 0xff],
    ]),
  ];
  const stream = (command: number, type: number): [number, Uint8Array] => [
    command,
    bytesWith(4, [[0, type]]),
  ];
  const requirements = (state: bigint, offset: bigint) =>
    planOf(policy.admit(callOf({ operation: 'mmap', state, offset, length: 4096n }), new Uint8Array()))
      .requirements;

  it('has no capabilities that the class refuses', () => {
    const refused = BigInt(v.V4L2_BUF_CAP_SUPPORTS_USERPTR | v.V4L2_BUF_CAP_SUPPORTS_REQUESTS);
    const { masks } = settleAll([requestBuffers(CAPTURE, 0)]);
    expect(masks).toMatchObject([{ region: 0, offset: v.v4l2_requestbuffers.capabilities, width: 4 }]);
    expect((masks[0]?.keep ?? 0n) & 0xffn).toBe(0xffn & ~refused);
  });

  it('learns where its buffers may be mapped', () => {
    const { learn } = settleAll([requestBuffers(CAPTURE, 4), [v.VIDIOC_QUERYBUF, buffer(CAPTURE)]]);
    expect(learn).toEqual([{ table: CAPTURE_OFFSETS, region: 0, offset: v.v4l2_buffer.m_offset, width: 4 }]);
  });

  it('learns the offset of each plane, and of no more than 8', () => {
    const many = buffer(CAPTURE_MPLANE, [[v.v4l2_buffer.length, 1000]]);
    const { learn } = settleAll([requestBuffers(CAPTURE_MPLANE, 4), [v.VIDIOC_QUERYBUF, many]]);
    expect(learn).toHaveLength(8);
    expect(learn[1]).toEqual({
      table: CAPTURE_OFFSETS,
      region: 1,
      offset: 64 + v.v4l2_plane.m_mem_offset,
      width: 4,
    });
  });

  it("learns nothing of another session's buffers", () => {
    expect(settleAll([[v.VIDIOC_QUERYBUF, buffer(CAPTURE)]]).learn).toEqual([]);
    const given = settleAll([requestBuffers(CAPTURE, 4), requestBuffers(CAPTURE, 0)]);
    const later = callOf({ command: v.VIDIOC_QUERYBUF, state: given.state });
    expect(policy.complete(later, buffer(CAPTURE), 0n).learn).toEqual([]);
  });

  it('forgets the offsets of its buffers before the driver frees them, as they will be those of another guest', () => {
    const forgotten = (type: number): number[] => {
      const head = bytesWith(20, [
        [v.v4l2_requestbuffers.type, type],
        [v.v4l2_requestbuffers.memory, v.V4L2_MEMORY_MMAP],
      ]);
      const { forget } = planOf(admit(v.VIDIOC_REQBUFS, head));
      for (const { width } of forget) expect(width).toBe(0);
      return forget.map(({ table }) => table);
    };
    expect(forgotten(CAPTURE)).toEqual([CAPTURE_OFFSETS]);
    expect(forgotten(CAPTURE_MPLANE)).toEqual([CAPTURE_OFFSETS]);
    expect(forgotten(OUTPUT)).toEqual([OUTPUT_OFFSETS]);
  });

  it('learns nothing from a failure', () => {
    const failed: [number, Uint8Array, bigint] = [v.VIDIOC_QUERYBUF, buffer(CAPTURE), -22n];
    expect(settleAll([requestBuffers(CAPTURE, 4), failed]).learn).toEqual([]);
  });

  it('maps by an offset that it has learnt', () => {
    const capture = settleAll([requestBuffers(CAPTURE, 4)]).state;
    const both = settleAll([requestBuffers(CAPTURE, 4), requestBuffers(OUTPUT, 4)]).state;
    // Offsets of buffers are every queue's own: what another device of the guest has at one says nothing.
    const wanted = { source: 0xffffffff, width: 8, errno: kernel.EINVAL, within: 'session' };
    expect(requirements(0n, 0n)).toMatchObject([{ table: CAPTURE_OFFSETS, ...wanted }]);
    expect(requirements(capture, 1n << 30n)).toMatchObject([{ table: CAPTURE_OFFSETS, ...wanted }]);
    expect(requirements(both, 0n)).toMatchObject([{ table: OUTPUT_OFFSETS, ...wanted }]);
    expect(requirements(both, 1n << 30n)).toMatchObject([{ table: CAPTURE_OFFSETS, ...wanted }]);
  });

  const READING = kernel.POLLIN | kernel.POLLRDNORM;
  const WRITING = kernel.POLLOUT | kernel.POLLWRNORM;
  const caps = (bits: number): [number, Uint8Array] => [
    v.VIDIOC_QUERYCAP,
    bytesWith(104, [[v.v4l2_capability.device_caps, bits]]),
  ];

  it('is watched for buffers only while it streams', () => {
    const idle = settleAll([]);
    expect(idle).toMatchObject({ watch: kernel.POLLPRI, idle: kernel.POLLERR });
    const capturing = settleAll([requestBuffers(CAPTURE, 2), stream(v.VIDIOC_STREAMON, CAPTURE)]);
    expect(capturing).toMatchObject({ watch: kernel.POLLPRI | READING, idle: 0 });
    const sending = settleAll([stream(v.VIDIOC_STREAMON, OUTPUT)]);
    expect(sending).toMatchObject({ watch: kernel.POLLPRI | WRITING, idle: 0 });
    const stopped = settleAll([stream(v.VIDIOC_STREAMON, CAPTURE), stream(v.VIDIOC_STREAMOFF, CAPTURE)]);
    expect(stopped).toMatchObject({ watch: kernel.POLLPRI, idle: kernel.POLLERR });
    const freed = settleAll([stream(v.VIDIOC_STREAMON, CAPTURE), requestBuffers(CAPTURE, 0)]);
    expect(freed).toMatchObject({ watch: kernel.POLLPRI, idle: kernel.POLLERR });
  });

  it('seems readable once it has said that it can be read, without asking the driver', () => {
    expect(settleAll([caps(v.V4L2_CAP_READWRITE)])).toMatchObject({ watch: kernel.POLLPRI, idle: READING });
    const output = caps(v.V4L2_CAP_READWRITE | v.V4L2_CAP_VIDEO_OUTPUT);
    expect(settleAll([output])).toMatchObject({ watch: kernel.POLLPRI, idle: WRITING });
    const buffered = settleAll([caps(v.V4L2_CAP_READWRITE), requestBuffers(CAPTURE, 2)]);
    expect(buffered).toMatchObject({ watch: kernel.POLLPRI, idle: kernel.POLLERR });
  });

  it.each<[Operation, number]>([
    ['read', READING],
    ['write', WRITING],
  ])('that has begun to %s is watched for it', (operation, events) => {
    const head = new Uint8Array();
    expect(policy.complete(callOf({ operation }), head, 4096n).watch).toBe(kernel.POLLPRI | events);
    expect(policy.complete(callOf({ operation }), head, -11n).watch).toBe(kernel.POLLPRI | events);
    expect(policy.complete(callOf({ operation }), head, -22n).watch).toBe(kernel.POLLPRI);
  });

  it('of a radio has no queue whose poll could have side effects', () => {
    expect(settleAll([], 2)).toMatchObject({ watch: kernel.POLLPRI | READING, idle: 0 });
  });
});

describe('the arena', () => {
  it('holds nothing of the last call', async () => {
    const { core } = await policyPackage('v4l2');
    const instance = new WebAssembly.Instance(new WebAssembly.Module(core), {
      'postern:device/guest-memory@0.2.0': { read: () => {} },
    });
    const { memory, cabi_realloc, describe, _initialize } = instance.exports as unknown as {
      memory: WebAssembly.Memory;
      cabi_realloc(old: number, oldBytes: number, align: number, bytes: number): number;
      describe(): number;
      _initialize(): void;
    };
    _initialize();
    const first = cabi_realloc(0, 0, 1, 64);
    new Uint8Array(memory.buffer, first, 64).fill(0xff);
    describe();
    const second = cabi_realloc(0, 0, 1, 64);
    expect(second).toBe(first);
    expect([...new Uint8Array(memory.buffer, second, 64)]).toEqual(Array(64).fill(0));
  });
});
