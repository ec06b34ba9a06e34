import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { allOk, examineMachine } from '../../host/cli/doctor-checks.js';
import { everyServedDevice } from '../../host/cli/driver-domain.js';
import type { DriverVm } from '../../host/driver-vm/driver-vm.js';
import { Bench, type Cases, caseNames } from '../mediator/support.js';

const checks = examineMachine();
const hasDriverVm = allOk(checks, 'required') && allOk(checks, 'driver-vm');
/** One camera, and two graphics cards: one that shares memory and fences, one with a screen. */
const DRIVERS = ['vivid n_devs=1', 'vgem', 'virtio-gpu'];

/** What each case must show wherever it runs, so that no two failures are taken for agreement. */
const SHOWN: Record<string, string[]> = {
  'exported buffers': ['same bytes: 1', 'written through: 7', 'written: 0', 'still mapped: 91'],
  'from the camera into vgem': ['told as given: 1, bytes 230400', 'same picture: 1, not black: 1'],
  'from the camera into virtio_gpu': ['same picture: 1, not black: 1'],
  "the camera's buffers in vgem": ['same file: 1, same number: 0', 'same pages: 1', 'the other one: 1'],
  'strange numbers': [' import: EBADF', ' import: EINVAL', ' queue: EINVAL', ' as a fence: EINVAL'],
  fences: ['fence: none', 'third: 1, none', 'fences 1: unbound of vgem, status 0', 'told: 1', 'fence: IN '],
  copies: ['mapped by the child: 1', 'same pages: 1', 'child: exit 0', 'written by the child: 34'],
  sent: ['same picture: 1', 'used by the other: 1', 'child: exit 0'],
  prepared: ['nonsense: EINVAL', 'prepared: 0', 'as given: 1', 'queued: 0'],
  'closed in use': ['a frame: 0', 'it is there: 1'],
};

describe.skipIf(!hasDriverVm)('descriptors that pass between drivers', () => {
  let bench: Bench<DriverVm>;
  let guest: Cases;
  let direct: Cases;

  beforeAll(async () => {
    bench = await Bench.vm(DRIVERS, true);
    direct = await bench.directCases('passing');
    guest = await bench.guestCases('passing', { devices: await everyServedDevice(bench.domain) });
  });
  afterAll(() => bench.close());

  it.each(caseNames('passing'))('%s: as beside the drivers', (name) => {
    expect(guest.get(name)).toEqual(direct.get(name));
    expect(guest.get(name)).toEqual(expect.arrayContaining(SHOWN[name] ?? ['what it must show']));
  });
});
