import { beforeAll, describe, expect, it } from 'vitest';
import type { PolicyInstance } from '../../host/policy/abi.js';
import * as a from '../../policies/__generated__/asound.js';
import * as kernel from '../../policies/__generated__/kernel.js';
import { bytesWith, callOf, denialOf, memoryOf, planOf, policyInstance } from './support.js';

const CONTROL = 0;
const PCM = 1;
const HWDEP = 3;
const BUFFER = 0x5000_0000n;
const ARGUMENT = 0x7000n;
/** 16 bits, 2 channels: 4 bytes a frame. */
const STEREO = (2n << 32n) | 32n;

let policy: PolicyInstance;

beforeAll(async () => {
  const channels = bytesWith(16, [
    [0, 0x6000_0000n],
    [8, 0n],
  ]);
  policy = await policyInstance('alsa', memoryOf([[BUFFER, channels]]));
});

const admit = (command: number, head: Uint8Array = new Uint8Array(), state = 0n) =>
  policy.admit(callOf({ node: PCM, command, argument: ARGUMENT, state }), head);
const complete = (command: number, head: Uint8Array, state = 0n, node = PCM, outcome = 0n) =>
  policy.complete(callOf({ node, command, state }), head, outcome);
const transfer = (frames: bigint, buffer = BUFFER): Uint8Array =>
  bytesWith(a.snd_xferi.SIZE, [
    [a.snd_xferi.buf, buffer],
    [a.snd_xferi.frames, frames],
  ]);

describe('interleaved frames', () => {
  it('are as many bytes as the hardware parameters said', () => {
    const configured = bytesWith(a.snd_pcm_hw_params.SIZE, [
      [a.FRAME_BITS, 32],
      [a.CHANNELS, 2],
    ]);
    const { state } = complete(a.SNDRV_PCM_IOCTL_HW_PARAMS, configured);
    expect(state).toBe(STEREO);
    const plan = planOf(admit(a.SNDRV_PCM_IOCTL_WRITEI_FRAMES, transfer(100n), state));
    expect(plan).toMatchObject({
      blocking: true,
      head: { toDriver: true, fromDriver: true, fromDriverOnError: true },
      grants: [{ address: BUFFER, length: 400, access: { toDriver: true, fromDriver: false } }],
      relocations: [{ region: 0, offset: a.snd_xferi.buf, target: 1 }],
    });
    const read = planOf(admit(a.SNDRV_PCM_IOCTL_READI_FRAMES, transfer(100n), state));
    expect(read.grants).toMatchObject([{ length: 400, access: { toDriver: true, fromDriver: true } }]);
  });

  it('have no size before the hardware parameters, after they are freed, and when they failed', () => {
    const unconfigured = (state: bigint): number =>
      denialOf(admit(a.SNDRV_PCM_IOCTL_WRITEI_FRAMES, transfer(1n), state)).errno;
    expect(unconfigured(0n)).toBe(kernel.EBADFD);
    const freed = complete(a.SNDRV_PCM_IOCTL_HW_FREE, new Uint8Array(), STEREO).state;
    expect(freed).toBe(0n);
    expect(unconfigured(freed)).toBe(kernel.EBADFD);
    const asked = bytesWith(a.snd_pcm_hw_params.SIZE, [[a.FRAME_BITS, 64]]);
    expect(complete(a.SNDRV_PCM_IOCTL_HW_PARAMS, asked, 0n, PCM, -22n).state).toBe(0n);
  });

  it.each([2n ** 63n, 2n ** 62n, 2n ** 32n, 200_000n])('of %i are too many', (frames) => {
    expect(denialOf(admit(a.SNDRV_PCM_IOCTL_WRITEI_FRAMES, transfer(frames), STEREO)).errno).toBe(
      kernel.ENOMEM,
    );
  });

  it('without a buffer are silence', () => {
    expect(planOf(admit(a.SNDRV_PCM_IOCTL_WRITEI_FRAMES, transfer(9n, 0n), STEREO)).grants).toEqual([]);
  });
});

describe('frames of separate channels', () => {
  it('have a buffer each, or none', () => {
    const plan = planOf(admit(a.SNDRV_PCM_IOCTL_WRITEN_FRAMES, transfer(100n), STEREO));
    expect(plan.grants).toMatchObject([
      { address: BUFFER, length: 16 },
      { address: 0x6000_0000n, length: 200, access: { toDriver: true, fromDriver: false } },
    ]);
    expect(plan.relocations).toEqual([
      { region: 0, offset: a.snd_xfern.bufs, target: 1 },
      { region: 1, offset: 0, target: 2 },
    ]);
  });

  it('are read into them, where they are recorded', () => {
    const { grants } = planOf(admit(a.SNDRV_PCM_IOCTL_READN_FRAMES, transfer(100n), STEREO));
    expect(grants).toMatchObject([
      { address: BUFFER, length: 16 },
      { address: 0x6000_0000n, length: 200, access: { fromDriver: true } },
    ]);
  });

  it('have no more channels than there are regions', () => {
    const state = (64n << 32n) | 1024n;
    expect(denialOf(admit(a.SNDRV_PCM_IOCTL_READN_FRAMES, transfer(1n), state)).errno).toBe(kernel.ENOMEM);
  });
});

describe('controls', () => {
  it('are listed into as much room as the guest has', () => {
    const head = (space: number): Uint8Array =>
      bytesWith(a.snd_ctl_elem_list.SIZE, [
        [a.snd_ctl_elem_list.space, space],
        [a.snd_ctl_elem_list.pids, BUFFER],
      ]);
    const plan = planOf(admit(a.SNDRV_CTL_IOCTL_ELEM_LIST, head(3)));
    expect(plan.grants).toMatchObject([{ address: BUFFER, length: 3 * a.snd_ctl_elem_id.SIZE }]);
    expect(planOf(admit(a.SNDRV_CTL_IOCTL_ELEM_LIST, head(0))).grants).toEqual([]);
    expect(denialOf(admit(a.SNDRV_CTL_IOCTL_ELEM_LIST, head(0x400_0001))).errno).toBe(kernel.ENOMEM);
  });

  it('have values of a length of their own behind the head', () => {
    const head = (length: number): Uint8Array =>
      bytesWith(a.snd_ctl_tlv.SIZE, [[a.snd_ctl_tlv.length, length]]);
    const plan = planOf(admit(a.SNDRV_CTL_IOCTL_TLV_READ, head(4096)));
    expect(plan.grants).toMatchObject([{ address: ARGUMENT + 8n, length: 4096, access: plan.head }]);
    expect(plan.relocations).toEqual([]);
    expect(denialOf(admit(a.SNDRV_CTL_IOCTL_TLV_READ, head(0xffff_fffc))).errno).toBe(kernel.ENOMEM);
  });

  it.each([a.SNDRV_CTL_IOCTL_ELEM_ADD, a.SNDRV_CTL_IOCTL_ELEM_REPLACE, a.SNDRV_CTL_IOCTL_ELEM_REMOVE])(
    'are not made or removed by guests: %i',
    (command) => {
      expect(denialOf(admit(command, new Uint8Array((command >> 16) & 0x3fff))).errno).toBe(kernel.EPERM);
    },
  );

  it('are locked by nobody: a lock would keep every other guest from them', () => {
    const denial = denialOf(admit(a.SNDRV_CTL_IOCTL_ELEM_LOCK, new Uint8Array(64)));
    expect(denial.errno).toBe(kernel.EPERM);
  });

  it('are watched while they are subscribed to', () => {
    const subscribe = (value: number) =>
      complete(a.SNDRV_CTL_IOCTL_SUBSCRIBE_EVENTS, bytesWith(4, [[0, value]]), 0n, CONTROL);
    expect(subscribe(1).watch & kernel.POLLIN).toBe(kernel.POLLIN);
    expect(subscribe(0).watch).toBe(0);
  });
});

it('a stream gets its parameters while nothing else of it is under way: by them transfers are reckoned', () => {
  expect(planOf(admit(a.SNDRV_PCM_IOCTL_HW_PARAMS, new Uint8Array(a.snd_pcm_hw_params.SIZE))).alone).toBe(
    true,
  );
  expect(planOf(admit(a.SNDRV_PCM_IOCTL_HW_REFINE, new Uint8Array(a.snd_pcm_hw_params.SIZE))).alone).toBe(
    false,
  );
});

describe('mapping', () => {
  const map = (offset: number, protection: number, state = 0n, node = PCM) =>
    policy.admit(
      callOf({ node, operation: 'mmap', command: protection, offset: BigInt(offset), length: 4096n, state }),
      new Uint8Array(),
    );
  const both = kernel.PROT_READ | kernel.PROT_WRITE;

  it('has status to read and control to write, by the old offsets and the new', () => {
    planOf(map(a.SNDRV_PCM_MMAP_OFFSET_STATUS_OLD, kernel.PROT_READ));
    planOf(map(a.SNDRV_PCM_MMAP_OFFSET_STATUS_NEW, kernel.PROT_READ));
    planOf(map(a.SNDRV_PCM_MMAP_OFFSET_CONTROL_OLD, both));
    planOf(map(a.SNDRV_PCM_MMAP_OFFSET_CONTROL_NEW, both));
    expect(denialOf(map(a.SNDRV_PCM_MMAP_OFFSET_STATUS_NEW, both)).errno).toBe(kernel.EACCES);
    for (const offset of [4096, 0x84000000, 0x80001000])
      expect(denialOf(map(offset, kernel.PROT_READ)).errno).toBe(kernel.EINVAL);
    for (const node of [CONTROL, 2, HWDEP])
      expect(denialOf(map(0, kernel.PROT_READ, 0n, node)).errno).toBe(kernel.EINVAL);
  });

  it('has data from its start', () => {
    planOf(map(a.SNDRV_PCM_MMAP_OFFSET_DATA, both));
  });
});

describe('what is refused', () => {
  it('names a descriptor, loads firmware, or changes something for everyone', () => {
    expect(denialOf(admit(a.SNDRV_PCM_IOCTL_LINK)).errno).toBe(kernel.EBADF);
    expect(denialOf(admit(a.SNDRV_HWDEP_IOCTL_DSP_LOAD)).errno).toBe(kernel.EPERM);
    expect(denialOf(admit(a.SNDRV_TIMER_IOCTL_GPARAMS)).errno).toBe(kernel.EPERM);
  });

  it('follows the timer of another', () => {
    const head = (timerClass: number): Uint8Array =>
      bytesWith(a.snd_timer_select.SIZE, [[a.snd_timer_select.id_dev_class, timerClass]]);
    expect(denialOf(admit(a.SNDRV_TIMER_IOCTL_SELECT, head(0))).errno).toBe(kernel.EINVAL);
    planOf(admit(a.SNDRV_TIMER_IOCTL_SELECT, head(1)));
  });

  it('reads or writes a hardware-dependent device', () => {
    for (const operation of ['read', 'write'] as const)
      expect(
        denialOf(policy.admit(callOf({ node: HWDEP, operation, length: 4n }), new Uint8Array())).errno,
      ).toBe(kernel.EINVAL);
  });
});
