import { beforeAll, describe, expect, it } from 'vitest';
import type { PolicyInstance } from '../../host/policy/abi.js';
import * as e from '../../policies/__generated__/input.js';
import * as kernel from '../../policies/__generated__/kernel.js';
import * as u from '../../policies/__generated__/uinput.js';
import { bytesWith, callOf, denialOf, memoryOf, planOf, policyInstance } from './support.js';

const SIZE_SHIFT = 16;
const NESTED_AT = 0x5000_0000n;
const BOTH = { toDriver: true, fromDriver: true, fromDriverOnError: false };
const IN = { toDriver: true, fromDriver: false, fromDriverOnError: false };
const OUT = { toDriver: false, fromDriver: true, fromDriverOnError: false };

let evdev: PolicyInstance;

beforeAll(async () => {
  evdev = await policyInstance('evdev');
});

const admit = (command: number, head: Uint8Array = new Uint8Array()) =>
  evdev.admit(callOf({ command, argument: 0x7000n }), head);
const sized = (command: number, size: number): number => (command | (size << SIZE_SHIFT)) >>> 0;

describe('commands whose size the caller chooses', () => {
  it.each([
    e.EVIOCGNAME,
    e.EVIOCGPHYS,
    e.EVIOCGUNIQ,
    e.EVIOCGPROP,
    e.EVIOCGMTSLOTS,
    e.EVIOCGKEY,
    e.EVIOCGLED,
    e.EVIOCGSND,
    e.EVIOCGSW,
    e.EVIOCGBIT,
    e.EVIOCGBIT + e.EV_MAX,
    e.EVIOCGABS,
    e.EVIOCGABS + e.ABS_MAX,
  ])('%i: the head is as long as the command says', (command) => {
    for (const size of [4, 256, 16383])
      expect(planOf(admit(sized(command, size), new Uint8Array(size))).head).toEqual(BOTH);
    expect(denialOf(admit(sized(command, 256), new Uint8Array(255))).errno).toBe(kernel.EINVAL);
  });

  it('without a size are refused: their argument would be a pointer that nobody has looked at', () => {
    for (const command of [e.EVIOCGNAME, e.EVIOCGMTSLOTS, e.EVIOCGABS])
      expect(denialOf(admit(command, new Uint8Array(16383))).errno).toBe(kernel.EINVAL);
  });

  it('have room for what the driver reads, whatever they say', () => {
    expect(denialOf(admit(sized(e.EVIOCGMTSLOTS, 3), new Uint8Array(3))).errno).toBe(kernel.EINVAL);
  });

  it.each([
    ['the repetition of keys', e.EVIOCSREP],
    ['what a key means', e.EVIOCSKEYCODE],
    ['what a key means, by scan code', e.EVIOCSKEYCODE_V2],
    ['the range of an axis', sized(e.EVIOCSABS, 24)],
    ['the range of the last axis, in an older form', sized(e.EVIOCSABS + e.ABS_MAX, 20)],
  ])('do not change for every guest %s', (_, command) => {
    const denial = denialOf(admit(command, new Uint8Array((command >>> 16) & 0x3fff)));
    expect(denial.errno).toBe(kernel.EPERM);
    expect(evdev.describe().reasons[denial.reason]).toContain('for every guest');
  });

  it.each([e.EVIOCGBIT - 1, e.EVIOCGABS + e.ABS_MAX + 1, e.EVIOCSABS - 1])(
    '%i is none of them',
    (command) => {
      expect(denialOf(admit(sized(command, 8), new Uint8Array(8))).errno).toBe(kernel.ENOTTY);
    },
  );
});

describe('nested structures of an input device', () => {
  const mask = (size: number): Uint8Array =>
    bytesWith(e.input_mask.SIZE, [
      [e.input_mask.codes_size, size],
      [e.input_mask.codes_ptr, NESTED_AT],
    ]);

  it.each([
    [e.EVIOCGMASK, OUT],
    [e.EVIOCSMASK, IN],
  ])('%i has a mask of the codes', (command, access) => {
    const plan = planOf(admit(command, mask(96)));
    expect(plan.grants).toEqual([{ address: NESTED_AT, length: 96, access }]);
    expect(plan.relocations).toEqual([{ region: 0, offset: e.input_mask.codes_ptr, target: 1 }]);
    expect(plan.head).toEqual(IN);
    expect(planOf(admit(command, mask(0))).grants).toEqual([]);
    expect(denialOf(admit(command, mask(4097))).errno).toBe(kernel.EINVAL);
  });

  const effect = (type: number, waveform: number, samples: number): Uint8Array =>
    bytesWith(e.ff_effect.SIZE, [
      [e.ff_effect.type, type],
      [e.ff_effect.u_periodic_waveform, waveform],
      [e.ff_effect.u_periodic_custom_len, samples],
      [e.ff_effect.u_periodic_custom_data, NESTED_AT],
    ]);

  it('has samples in an effect of a custom waveform only', () => {
    const plan = planOf(admit(e.EVIOCSFF, effect(e.FF_PERIODIC, e.FF_CUSTOM, 6)));
    expect(plan.grants).toEqual([{ address: NESTED_AT, length: 12, access: IN }]);
    expect(plan.head).toEqual(BOTH);
    expect(plan.blocking).toBe(true);
    expect(planOf(admit(e.EVIOCSFF, effect(e.FF_PERIODIC, e.FF_CUSTOM - 1, 6))).grants).toEqual([]);
    expect(planOf(admit(e.EVIOCSFF, effect(e.FF_PERIODIC - 1, e.FF_CUSTOM, 6))).grants).toEqual([]);
    const tooMany = admit(e.EVIOCSFF, effect(e.FF_PERIODIC, e.FF_CUSTOM, 0x8000_0001));
    expect(denialOf(tooMany).errno).toBe(kernel.EINVAL);
  });
});

describe('what is written to an input device', () => {
  const write = (...types: number[]) => {
    const events = bytesWith(
      types.length * e.input_event.SIZE,
      types.map((type, index): [number, number] => [index * e.input_event.SIZE + e.input_event.type, type]),
    );
    return evdev.admit(callOf({ operation: 'write', length: BigInt(events.length) }), events);
  };

  it('may be for the device: lights, sounds, effects', () => {
    planOf(write(e.EV_LED, e.EV_SYN, e.EV_SND, e.EV_FF));
  });

  it.each([1, 2, 3, 4, 5, e.EV_REP, 22, 23, 31, 32, 0x101, 0xffff])(
    'may not be an event of type %i, anywhere',
    (type) => {
      expect(denialOf(write(e.EV_LED, e.EV_SYN, type)).errno).toBe(kernel.EPERM);
      expect(denialOf(write(type)).field).toBe(e.input_event.type);
    },
  );
});

describe('uinput', () => {
  /** A text that ends at the last byte of the only memory that the guest has. */
  const TEXT = new TextEncoder().encode('usb-1.2/input0\0');
  const END = 0x5000_1000n;
  const at = (text: Uint8Array) => ({ memory: memoryOf([[END - BigInt(text.length), text]]), text });
  const setPhys = async ({ memory, text }: ReturnType<typeof at>) => {
    const uinput = await policyInstance('uinput', memory);
    return uinput.admit(
      callOf({ command: u.UI_SET_PHYS, argument: END - BigInt(text.length) }),
      new Uint8Array(),
    );
  };

  it('takes the text of a physical path as far as its end, and nothing behind it', async () => {
    const plan = planOf(await setPhys(at(TEXT)));
    expect(plan.grants).toEqual([{ address: END - 15n, length: 15, access: IN }]);
    expect(plan.relocations).toEqual([{ region: 0xfffffffe, offset: 0, target: 1 }]);
  });

  it('takes no text without an end, and none that cannot be read', async () => {
    expect(denialOf(await setPhys(at(new Uint8Array(1100).fill(112)))).errno).toBe(kernel.EINVAL);
    expect(denialOf(await setPhys(at(new Uint8Array(100).fill(112)))).errno).toBe(kernel.EFAULT);
  });

  it("does not tell another guest's address", async () => {
    const uinput = await policyInstance('uinput');
    const { SIZE } = u.uinput_ff_upload;
    const { masks } = uinput.complete(callOf({ command: u.UI_BEGIN_FF_UPLOAD }), new Uint8Array(SIZE), 0n);
    expect(masks.map(({ offset, width, keep }) => ({ offset, width, keep }))).toEqual([
      { offset: u.uinput_ff_upload.effect_u_periodic_custom_data, width: 8, keep: 0n },
      { offset: u.uinput_ff_upload.old_u_periodic_custom_data, width: 8, keep: 0n },
    ]);
  });

  it('passes what is a number as a number', async () => {
    const uinput = await policyInstance('uinput');
    for (const command of [u.UI_SET_EVBIT, u.UI_SET_KEYBIT, u.UI_SET_PROPBIT, u.UI_DEV_CREATE]) {
      const plan = planOf(uinput.admit(callOf({ command, argument: 1n }), new Uint8Array()));
      expect(plan).toMatchObject({ grants: [], relocations: [] });
    }
  });
});
