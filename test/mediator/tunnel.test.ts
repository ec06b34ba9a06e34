import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { allOk, examineMachine } from '../../host/cli/doctor-checks.js';
import { Bench, type Cases } from './support.js';

const SAME = ['attaching', 'packets', 'waiting for a packet'];
const canRun = allOk(examineMachine(), 'required') && process.getuid?.() === 0;

/** Setting up an interface takes root, here as on every machine. */
describe.skipIf(!canRun)('a guest with a tunnel', () => {
  let bench: Bench;
  let guest: Cases;
  let direct: Cases;

  beforeAll(async () => {
    bench = await Bench.local();
    const devices = [{ name: 'net/tun', path: '/dev/net/tun' }];
    direct = await bench.directCases('tunnel', SAME);
    guest = await bench.guestCases('tunnel', { devices, networkAdministration: true });
  });
  afterAll(() => bench.close());

  it.each(SAME)('%s: as on this machine', (name) => {
    expect(guest.get(name)).toEqual(direct.get(name));
    expect(guest.get(name)).not.toEqual([]);
  });

  it('sends and gets packets', () => {
    const round = [
      ...['sendto: 8', 'poll: 1', "36 bytes, protocol 17, port 7777, 'question'"],
      ...['write: 36', 'recv: 8', "'answer!!'"],
    ];
    expect(guest.get('packets')).toEqual([
      ...[...round, ...round, ...round],
      ...['empty: EAGAIN', 'a packet that is none: EINVAL'],
    ]);
  });

  it('is refused what outlives it or belongs to others', () => {
    expect(guest.get('refused on purpose')).toEqual([
      ...['several queues: EINVAL', 'TUNSETPERSIST: EPERM', 'TUNSETOWNER: EPERM', 'TUNSETGROUP: EPERM'],
      ...['TUNSETQUEUE: EINVAL', 'an unknown command: ENOTTY', 'TUNGETFEATURES: 0'],
      'several queues offered: 0',
    ]);
  });
});
