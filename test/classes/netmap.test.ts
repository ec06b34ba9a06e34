import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { allOk, examineMachine } from '../../host/cli/doctor-checks.js';
import { buildNetmapModule, kernelHeaders } from '../../host/cli/netmap-module.js';
import { Bench, type Cases } from '../mediator/support.js';

const checks = examineMachine();
const hasDriverVm = allOk(checks, 'required') && allOk(checks, 'driver-vm');
const headers = kernelHeaders();
const CASES = [
  ...['by commands', 'by poll', 'by select', 'by epoll', 'time limits', 'signals', 'beside another file'],
  ...['unbound', 'nonsense in a ring'],
];

/** Without the headers of the driver VM's kernel (linux-headers-amd64) there is no module to build. */
describe.skipIf(!hasDriverVm || headers === '')('a guest with netmap', () => {
  let bench: Bench;
  let guest: Cases;
  let direct: Cases;

  beforeAll(async () => {
    const modules = buildNetmapModule(headers);
    bench = await Bench.vm(['netmap'], true, modules);
    const devices = [{ name: 'netmap', path: '/dev/netmap' }];
    direct = await bench.directCases('packets', [], 'netmap');
    guest = await bench.guestCases('packets', { devices }, [], 'netmap');
  });
  afterAll(() => bench?.close());

  it.each(CASES)('%s: as beside the driver', (name) => {
    expect(guest.get(name)).toEqual(direct.get(name));
    expect(guest.get(name)).not.toEqual([]);
  });

  it('carries all packets, however it waits for them', () => {
    for (const how of ['by poll', 'by select', 'by epoll'])
      expect(guest.get(how)).toEqual(['500 packets, 500 as sent', 'the sender: exit 0']);
    expect(guest.get('by commands')).toEqual([
      'before TXSYNC: nothing',
      'before RXSYNC: nothing',
      '10 packets, 10 as sent',
    ]);
  });
});
