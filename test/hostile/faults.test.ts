import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { allOk, examineMachine } from '../../host/cli/doctor-checks.js';
import { startDriverVm } from '../../host/driver-vm/driver-vm.js';
import { startLocalDomain } from '../../host/driver-vm/local-domain.js';
import { until } from '../cli/postern.js';
import { CAMERA, type RunningGuest, TERMINALS } from '../mediator/support.js';
import { runCrashes } from './crashes.js';
import { backends, Stand } from './stand.js';

/** A few here; the recorded run has a hundred (`npm run hostile -- --crashes 100`). */
const CRASHES = 3;
/** The watchdog's own times, and a machine under load. */
const HANG_TIMEOUT_MS = 120_000;
/** Much less than the usual deadline, and much more than any answer takes. */
const SHORT_DEADLINE_MS = 1500;
/** What a guest prints that has lost its device and got it back. */
const LOST_AND_BACK = /^lost ENODEV \d+\nback \d+\n/;

/** Waits until the guest has lost its device and has it back, from `seen` characters of its output on. */
async function backAgain(guest: RunningGuest, seen: number): Promise<string> {
  const isBack = (): boolean => /lost [\s\S]*back \d+\n/.test(guest.out.slice(seen));
  for (let attempt = 0; attempt < 3 && !isBack(); attempt++)
    await until(isBack, 'the guest to be served again').catch((error: Error) => {
      if (attempt === 2) throw new Error(`${error.message} It says: ${guest.out.slice(seen)}`);
    });
  return guest.out.slice(seen);
}

describe.skipIf(!allOk(examineMachine(), 'required'))('faults of a driver domain', () => {
  let stand: Stand | undefined;

  const onVm = async (shareRoot = false): Promise<Stand> => {
    stand = await Stand.open(() => startDriverVm({ drivers: ['vivid'], shareRoot, log: () => {} }));
    return stand;
  };
  const onLocal = async (): Promise<Stand> => {
    stand = await Stand.open(() => startLocalDomain({ log: () => {} }));
    return stand;
  };
  const served = async (program: string, on: Stand, operationDeadlineMs?: number): Promise<RunningGuest> => {
    const devices = program === 'terminals' ? TERMINALS : CAMERA;
    const deadline = operationDeadlineMs === undefined ? {} : { operationDeadlineMs };
    const guest = await on.start({ program, devices, ...deadline });
    await guest.printed('back ');
    return guest;
  };

  afterEach(async () => {
    await stand?.close();
    stand = undefined;
  });

  it('a driver VM that is killed: ENODEV, a new one by itself, nothing left behind', async () => {
    const { crashes, leaks, failures, streams } = await runCrashes(CRASHES, () => {});
    expect(crashes.map(({ errno }) => errno)).toEqual(Array.from({ length: CRASHES }, () => 'ENODEV'));
    expect(crashes.every(({ lostMs, backMs }) => lostMs > 0 && backMs > lostMs)).toBe(true);
    expect(leaks).toEqual([]);
    expect(failures).toEqual([]);
    expect(streams).toBeGreaterThan(CRASHES);
  });

  it('a driver VM whose kernel panics: the same, and the log says why; before, a jump of its clock is not even seen', async () => {
    const on = await onVm(true);
    const guest = await served('reopener', on);
    const seen = guest.out.length;
    const domain = await on.keeper.current;
    for (const date of ['2001-01-01', '2037-12-31']) {
      expect(await domain.run(['date', '-s', date], () => {})).toEqual({ code: 0, signal: null });
      await sleep(100);
    }
    expect(guest.out.slice(seen)).toBe('');
    await expect(domain.run(['sh', '-c', 'echo c >/proc/sysrq-trigger; sleep 60'], () => {})).rejects.toThrow(
      'panicked',
    );
    expect(await backAgain(guest, seen)).toMatch(LOST_AND_BACK);
    expect(on.logged()).toContain('its kernel panicked: sysrq triggered crash');
    expect(on.logged()).toContain('the driver domain is there again');
  });

  it('a driver that hangs in the VM: after the deadline its files are dead, and new ones are served', async () => {
    const on = await onVm(true);
    const guest = await served('reopener', on, SHORT_DEADLINE_MS);
    const seen = guest.out.length;
    const domain = await on.keeper.current;
    const stopAll = 'cd /proc; for p in [0-9]*; do grep -q ^backend- $p/comm && kill -STOP $p; done; :';
    expect(await domain.run(['sh', '-c', stopAll], () => {})).toEqual({ code: 0, signal: null });
    expect(await backAgain(guest, seen)).toMatch(LOST_AND_BACK);
    expect(on.logged()).toContain('operation-overdue');
    expect(on.keeper.restarts).toBe(0);
  });

  it(
    'a driver VM that hangs: found by its watchdog, then the same',
    async () => {
      const on = await onVm();
      const guest = await served('reopener', on);
      const seen = guest.out.length;
      process.kill(await on.process(), 'SIGSTOP');
      expect(await backAgain(guest, seen)).toMatch(LOST_AND_BACK);
      expect(on.logged()).toMatch(/it hung: the backend agent did not answer|operation-overdue/);
    },
    HANG_TIMEOUT_MS,
  );

  it('a driver VM or a local agent that is stopped for a moment: guests wait, and nothing is lost', async () => {
    for (const open of [onVm, onLocal]) {
      const on = await open();
      const guest = await served(open === onVm ? 'reopener' : 'terminals', on);
      const seen = guest.out.length;
      for (let round = 0; round < 3; round++) {
        process.kill(await on.process(), 'SIGSTOP');
        await sleep(200);
        process.kill(await on.process(), 'SIGCONT');
        await sleep(100);
      }
      guest.launcher.stdin?.end();
      expect(await guest.end).toMatchObject({ exitCode: 0 });
      expect(guest.out.slice(seen)).toBe('');
      await on.close();
    }
    stand = undefined;
  });

  it('a local agent that is killed: ENODEV, a new one by itself', async () => {
    const on = await onLocal();
    const guest = await served('terminals', on);
    const seen = guest.out.length;
    process.kill(await on.process(), 'SIGKILL');
    expect(await backAgain(guest, seen)).toMatch(LOST_AND_BACK);
  });

  it('a backend process that is killed: its guest process alone notices, and can go on', async () => {
    const on = await onLocal();
    const first = await served('terminals', on);
    const [victim] = backends();
    const other = await served('terminals', on);
    const seen = first.out.length;
    const seenOther = other.out.length;
    process.kill(victim as number, 'SIGKILL');
    expect(await backAgain(first, seen)).toMatch(LOST_AND_BACK);
    expect(other.out.slice(seenOther)).toBe('');
    expect(on.logged()).toContain('backend-lost');
    expect(on.keeper.restarts).toBe(0);
  });

  it('a backend process that hangs: after the deadline its files are dead, and new ones are served', async () => {
    const on = await onLocal();
    const guest = await served('terminals', on, SHORT_DEADLINE_MS);
    const seen = guest.out.length;
    for (const pid of backends()) process.kill(pid, 'SIGSTOP');
    expect(await backAgain(guest, seen)).toMatch(LOST_AND_BACK);
    expect(on.logged()).toContain('operation-overdue');
  });

  it('a backend process that is stopped for a moment: its guest waits, and nothing is lost', async () => {
    const on = await onLocal();
    const guest = await served('terminals', on);
    const seen = guest.out.length;
    for (let round = 0; round < 5; round++) {
      for (const pid of backends()) process.kill(pid, 'SIGSTOP');
      await sleep(100);
      for (const pid of backends()) process.kill(pid, 'SIGCONT');
      await sleep(50);
    }
    expect(guest.out.slice(seen)).toBe('');
    guest.launcher.stdin?.end();
    expect(await guest.end).toMatchObject({ exitCode: 0 });
  });
});
