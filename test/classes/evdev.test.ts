import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { allOk, examineMachine } from '../../host/cli/doctor-checks.js';
import { everyServedDevice, offeredDevices } from '../../host/cli/driver-domain.js';
import { compileGuestProgram } from '../../host/cli/guest-program.js';
import type { DriverVm, InputEvent } from '../../host/driver-vm/driver-vm.js';
import { Vms } from '../vm/support.js';
import { Running } from './input-programs.js';

const checks = examineMachine();
const hasDriverVm = allOk(checks, 'required') && allOk(checks, 'driver-vm');

/** The first input device is the machine's own keyboard controller; then come QEMU's keyboard, mouse and tablet. */
const KEYBOARD = 'input/event1';
const vms = new Vms();
let guestVm: DriverVm;
let directVm: DriverVm;
let events: string;
let feedback: string;

beforeAll(async () => {
  if (!hasDriverVm) return;
  events = compileGuestProgram('events', 'guests-input');
  feedback = compileGuestProgram('feedback', 'guests-input');
  guestVm = await vms.start({ drivers: ['virtio-input', 'uinput'] });
  directVm = await vms.start({ drivers: ['virtio-input', 'uinput'], shareRoot: true });
});
afterAll(() => vms.closeAll());

function press(key: string): InputEvent[] {
  return [true, false].map((down) => ({ type: 'key', data: { down, key: { type: 'qcode', data: key } } }));
}

/** Types on the VM's keyboard; the last key ends the programs. */
async function type(vm: DriverVm): Promise<void> {
  for (const key of ['a', 'b', 'f12']) await vm.sendInput(press(key));
}

/** What `events WAY` prints when keys are typed after it has said that it is ready. */
async function typed(vm: DriverVm, way: string, guest: boolean): Promise<string> {
  const command = [events, way, `/dev/${KEYBOARD}`];
  const running = guest ? Running.asGuest(vm, [KEYBOARD], command) : Running.beside(vm, command);
  await running.printed('ready');
  await type(vm);
  return await running.end();
}

const A_AND_F12 = /^1 30 1\n1 30 0\n1 48 1\n1 48 0\n1 88 1\n1 88 0\n/m;

describe.skipIf(!hasDriverVm)('an input device', () => {
  it.each(['blocking', 'polled', 'sigio', 'grabbed'])('is read as beside the driver: %s', async (way) => {
    const guest = await typed(guestVm, way, true);
    expect(guest).toMatch(A_AND_F12);
    expect(guest).toBe(await typed(directVm, way, false));
  });

  it('answers commands as beside the driver', async () => {
    const guest = await typed(guestVm, 'ask', true);
    expect(guest).toContain('EVIOCGNAME(63): 21 ok\nQEMU Virtio Keyboard .\n');
    expect(guest).toMatch(/ready: 0 ok\n1 88 1\n1 88 0\nEVIOCREVOKE/);
    expect(guest).toMatch(/EVIOCREVOKE: 0 ok\nread: -1 ENODEV\n$/);
    expect(guest).toBe(await typed(directVm, 'ask', false));
  });

  it('that one guest has grabbed is busy for another, and free again after it', async () => {
    const holder = Running.asGuest(guestVm, [KEYBOARD], [events, 'grabbed', `/dev/${KEYBOARD}`]);
    await holder.printed('ready');
    const contend = (): Promise<string> =>
      Running.asGuest(guestVm, [KEYBOARD], [events, 'contend', `/dev/${KEYBOARD}`]).end();
    expect(await contend()).toBe('EVIOCGRAB: -1 EBUSY\n');
    await type(guestVm);
    expect(await holder.end()).toMatch(A_AND_F12);
    expect(await contend()).toBe('EVIOCGRAB: 0 ok\n');
  });

  it('does not let a guest type for others', async () => {
    const reader = Running.asGuest(guestVm, [KEYBOARD], [events, 'blocking', `/dev/${KEYBOARD}`]);
    await reader.printed('ready');
    const writer = Running.asGuest(guestVm, [KEYBOARD], [events, 'inject', `/dev/${KEYBOARD}`]);
    expect(await writer.end()).toBe('inject: -1 EPERM\n');
    await type(guestVm);
    expect(await reader.end()).toMatch(/^ready: 0 ok\n1 30 1\n/);
  });
});

describe.skipIf(!hasDriverVm)('the keys of a driver VM', () => {
  const held = (down: boolean, ...keys: string[]): InputEvent[] =>
    keys.map((key) => ({ type: 'key', data: { down, key: { type: 'qcode', data: key } } }));

  it.each([
    ['Ctrl-Alt-Del', 'ctrl', 'alt', 'delete'],
    ['Alt-SysRq-B', 'alt', 'sysrq', 'b'],
  ])('restart nothing: %s', async (_name, ...keys) => {
    const reader = Running.asGuest(guestVm, [KEYBOARD], [events, 'blocking', `/dev/${KEYBOARD}`]);
    await reader.printed('ready');
    for (const key of keys) await guestVm.sendInput(held(true, key));
    await guestVm.sendInput(held(false, ...keys));
    await type(guestVm);
    expect(await reader.end()).toMatch(A_AND_F12);
  });
});

describe.skipIf(!hasDriverVm)('a device that a program makes', () => {
  /** The input devices of the VM now. */
  const nodes = async (): Promise<string[]> =>
    (await guestVm.devices()).map(({ name }) => name).filter((name) => name.startsWith('input/event'));
  const linesOf = (output: string, who: string): string[] =>
    output
      .split('\n')
      .filter((line) => line.startsWith(`${who}: `))
      .map((line) => line.replace(/made input\d+$/, 'made inputN'));

  it('is given to those only who ask for uinput by its name', async () => {
    const offered = await offeredDevices(guestVm);
    expect(offered.find(({ device }) => device.name === 'uinput')?.policy?.package.manifest.name).toBe(
      'uinput',
    );
    expect((await everyServedDevice(guestVm)).map(({ name }) => name)).not.toContain('uinput');
  });

  it('plays the effects of another guest, as beside the driver', async () => {
    const before = await nodes();
    const device = Running.asGuest(guestVm, ['uinput'], [feedback, 'device']);
    await device.printed('made');
    const [made = ''] = (await nodes()).filter((name) => !before.includes(name));
    const reader = Running.asGuest(guestVm, [made], [events, 'blocking', `/dev/${made}`]);
    await reader.printed('ready');
    const effect = Running.asGuest(guestVm, [made], [feedback, 'effect', `/dev/${made}`]);
    const guests = (await effect.end()) + (await device.end());
    expect(await nodes()).toEqual(before);
    expect(await reader.end()).toBe('ready: 0 ok\n1 288 1\n1 288 0\nread: -1 ENODEV\n');
    const script =
      '"$0" device & until [ -c /dev/input/event4 ]; do :; done; "$0" effect /dev/input/event4; wait';
    const direct = await Running.beside(directVm, ['sh', '-c', script, feedback]).end();
    for (const who of ['device', 'effect']) expect(linesOf(guests, who), who).toEqual(linesOf(direct, who));
    expect(linesOf(guests, 'device')).toContain(
      'device: upload of effect 0, type 50, replay 500, strong 4711',
    );
    expect(linesOf(guests, 'device')).toContain('device: effect 0 plays 3');
    expect(linesOf(guests, 'effect')).toContain('effect: below/the/desk, 4 effects');
    expect(linesOf(guests, 'effect')).toContain('effect: unwanted -1');
  });
});
