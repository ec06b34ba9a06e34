import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { allOk, examineMachine } from '../../host/cli/doctor-checks.js';
import { compileGuestProgram } from '../../host/cli/guest-program.js';
import type { DriverVm, InputEvent } from '../../host/driver-vm/driver-vm.js';
import { startDriverVm } from '../../host/driver-vm/driver-vm.js';
import { loadPolicies } from '../../host/policy/store.js';
import { withSharing } from '../../host/serve/source.js';
import { until } from '../cli/postern.js';
import { type ServedGuest, TestHost } from './in-process.js';

const checks = examineMachine();
const hasDriverVm = allOk(checks, 'required') && allOk(checks, 'driver-vm');

const KEYBOARD = 'input/event1';
const CARD = 'dri/card0';
/** What test/guests-input/events.c prints of a key pressed and let go: linux/input-event-codes.h. */
const KEYS = { a: '1 30 1\n1 30 0\n', b: '1 48 1\n1 48 0\n', c: '1 46 1\n1 46 0\n', f12: '1 88 1\n1 88 0\n' };
type Key = keyof typeof KEYS;

let vm: DriverVm;
let host: TestHost;

async function startHost(driver: string, deviceClass: string, shareRoot = false): Promise<void> {
  vm = await startDriverVm({ drivers: [driver], shareRoot, log: () => {} });
  const built = {
    inForce: async () => ({ policies: loadPolicies(), unfit: [] }),
    candidates: async () => ({ policies: [], unfit: [] }),
    before: async () => undefined,
    refused: () => [],
    quarantine: async () => {},
    watch: () => () => {},
  };
  const shared = withSharing(built, new Map([[deviceClass, 'foreground']]));
  host = await TestHost.start((await shared.inForce()).policies, vm);
}

afterEach(() => host.close());

describe.skipIf(!hasDriverVm)('input of a class that is shared by foreground', () => {
  const events = compileGuestProgram('events', 'guests-input');

  beforeEach(() => startHost('virtio-input', 'evdev'));

  const reader = async (way: string): Promise<ServedGuest> => {
    const guest = host.guestWith([KEYBOARD], events, way, `/dev/${KEYBOARD}`);
    await guest.printed('ready');
    return guest;
  };

  /** Types a key, and waits until the guest in front has it. */
  async function type(key: Key, inFront: ServedGuest): Promise<void> {
    const before = inFront.out.length;
    for (const down of [true, false]) {
      const event: InputEvent = { type: 'key', data: { down, key: { type: 'qcode', data: key } } };
      await vm.sendInput([event]);
    }
    await until(() => inFront.out.slice(before).includes(KEYS[key]), `the key ${key}`);
  }

  it.each([
    ['blocking', 'polled'],
    ['polled', 'sigio'],
    ['sigio', 'blocking'],
  ])('is the front guest’s alone, as the front changes: %s and %s', async (one, other) => {
    const [first, second] = [await reader(one), await reader(other)];
    expect((await host.guests()).map(({ foreground }) => foreground)).toEqual([true, false]);
    await type('a', first);
    await host.bring('guest-2');
    await type('b', second);
    await type('c', second);
    await host.bring('guest');
    await type('a', first);
    await type('f12', first);
    const firstOut = await first.end();
    // The front is the other's again, for the first has ended.
    await until(async () => (await host.guests())[0]?.foreground === true, 'the second to be in front');
    await type('f12', second);
    const secondOut = await second.end();
    const keysOf = (out: string): string => out.replace(/^(?!1 \d+ [01]$).*\n/gm, '');
    expect(keysOf(firstOut)).toBe(KEYS.a + KEYS.a + KEYS.f12);
    expect(keysOf(secondOut)).toBe(KEYS.b + KEYS.c + KEYS.f12);
  });

  it('goes to the front also when a guest behind has grabbed the device, which has it again when it returns', async () => {
    const [first, second] = [await reader('grabbed'), await reader('blocking')];
    await type('a', first);
    await host.bring('guest-2');
    await type('b', second);
    await host.bring('guest');
    await type('c', first);
    await type('f12', first);
    const out = await first.end();
    expect(out).toContain(`${KEYS.a}${KEYS.c}${KEYS.f12}EVIOCGRAB 0: 0 ok\n`);
    await until(async () => (await host.guests())[0]?.foreground === true, 'the second to be in front');
    await type('f12', second);
    expect(await second.end()).toContain(`${KEYS.b}${KEYS.f12}`);
  });

  it('can’t be grabbed, nor looked at by its state, from behind: that waits', async () => {
    const first = await reader('blocking');
    const second = host.guestWith([KEYBOARD], events, 'contend', `/dev/${KEYBOARD}`);
    await until(async () => (await host.guests()).length === 2, 'the second guest');
    await type('a', first);
    await type('b', first);
    expect(second.out).toBe('');
    await host.bring('guest-2');
    expect(await second.end()).toBe('EVIOCGRAB: 0 ok\n');
    await until(async () => (await host.guests())[0]?.foreground === true, 'the first to be in front');
    await type('f12', first);
    expect(await first.end()).toContain(KEYS.a + KEYS.b + KEYS.f12);
  });

  it('that a guest behind waits for ends with a signal, as ever', async () => {
    const first = await reader('blocking');
    const second = host.guestWith(
      [KEYBOARD],
      'timeout',
      '--foreground',
      '1',
      events,
      'blocking',
      `/dev/${KEYBOARD}`,
    );
    await second.printed('ready');
    expect(await second.ended).toMatchObject({ exitCode: 124 });
    await type('f12', first);
    await first.end();
  });

  it('is brought to nobody who is not there', async () => {
    await expect(host.bring('nobody')).rejects.toThrow("There is no guest 'nobody'. There is: none.");
  });
});

describe.skipIf(!hasDriverVm)('pictures of a class that is shared by foreground', () => {
  beforeEach(() => startHost('virtio-gpu', 'drm'));

  const shows = (mode: string): ServedGuest =>
    host.guestWith([CARD], 'stdbuf', '-oL', 'modetest', '-M', 'virtio_gpu', '-s', `34:${mode}`);

  /** Waits until the screen has that mode, with modetest's pattern, whose first bar is grey. */
  async function seen(mode: string): Promise<Buffer> {
    for (;;) {
      const { width, height, rgb } = await vm.picture();
      if (`${width}x${height}` === mode && rgb.readUIntBE((4 * width + 4) * 3, 3) === 0xc0c0c0) return rgb;
    }
  }

  it('are the front guest’s, whose last comes back with it', async () => {
    const first = shows('1024x768');
    const before = await seen('1024x768');
    const second = shows('800x600');
    await second.printed('setting mode 800x600');
    expect((await seen('1024x768')).equals(before)).toBe(true);
    await host.bring('guest-2');
    await seen('800x600');
    await host.bring('guest');
    expect((await seen('1024x768')).equals(before)).toBe(true);
    await host.bring('guest-2');
    await seen('800x600');
    second.write('\n');
    expect(await second.end()).not.toMatch(/failed/);
    expect((await seen('1024x768')).equals(before)).toBe(true);
    first.write('\n');
    expect(await first.end()).not.toMatch(/failed/);
  });
});
