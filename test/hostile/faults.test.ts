import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import pino from 'pino';
import { afterEach, describe, expect, it } from 'vitest';
import { allOk, examineMachine } from '../../host/cli/doctor-checks.js';
import { compileGuestProgram } from '../../host/cli/guest-program.js';
import type { DriverDomain } from '../../host/driver-vm/domain.js';
import { startDriverVm } from '../../host/driver-vm/driver-vm.js';
import { startLocalDomain } from '../../host/driver-vm/local-domain.js';
import { DomainKeeper } from '../../host/mediator/domain-keeper.js';
import { type GuestReport, runGuest } from '../../host/mediator/guest.js';
import { forgetDomain, type Mediation } from '../../host/mediator/mediation.js';
import { descendantsOf, isAlive, RunningPostern, until } from '../cli/postern.js';
import { CAMERA, RunningGuest, TERMINALS } from '../mediator/support.js';
import { runCrashes } from './crashes.js';

/** A few here; the recorded run has a hundred (`npm run hostile -- --crashes 100`). */
const CRASHES = 3;
/** The watchdog's own times, and a machine under load. */
const HANG_TIMEOUT_MS = 120_000;
/** Much less than the usual deadline, and much more than any answer takes. */
const SHORT_DEADLINE_MS = 1500;

/** A kept domain with guests, and what was logged. */
class Stand {
  readonly records: Record<string, unknown>[] = [];
  readonly #mediations: Mediation[] = [];
  readonly #log = pino({ level: 'info' }, { write: (line) => this.records.push(JSON.parse(line)) });
  readonly keeper: DomainKeeper;

  constructor(open: () => Promise<DriverDomain>) {
    this.keeper = new DomainKeeper({
      open,
      close: async (domain) => {
        forgetDomain(domain);
        await domain.close();
      },
      log: this.#log,
      onLost: async () => {
        await Promise.all(this.#mediations.map((each) => each.loseDomain()));
      },
      onReplaced: async (next) => {
        await Promise.all(this.#mediations.map((each) => each.replaceDomain(next)));
      },
    });
  }

  async start(
    program: string,
    devices: { name: string; path: string }[],
    operationDeadlineMs?: number,
  ): Promise<RunningGuest> {
    const domain = await this.keeper.current;
    return await new Promise((resolve, reject) => {
      const report: Promise<GuestReport> = runGuest({
        ...{ program: compileGuestProgram(program, 'hostile'), args: [], devices, domain, name: program },
        log: this.#log,
        stdio: ['pipe', 'pipe', 'pipe'],
        ...(operationDeadlineMs === undefined ? {} : { operationDeadlineMs }),
        onMediation: (mediation) => this.#mediations.push(mediation),
        onStart: (launcher) => resolve(new RunningGuest(launcher, () => report, this.records)),
      });
      report.catch(reject);
    });
  }

  /** What was logged, as one text. */
  logged(): string {
    return this.records.map((record) => JSON.stringify(record)).join('\n');
  }
}

/** Waits until the guest has lost its device and has it back, from `seen` characters of its output on. */
async function backAgain(guest: RunningGuest, seen: number): Promise<string> {
  const isBack = (): boolean => /lost [\s\S]*back \d+\n/.test(guest.out.slice(seen));
  for (let attempt = 0; attempt < 3 && !isBack(); attempt++)
    await until(isBack, `the guest to be served again; it says: ${guest.out.slice(seen)}`).catch(
      (error: Error) => {
        if (attempt === 2) throw error;
      },
    );
  return guest.out.slice(seen);
}

/** The backend processes below this process, newest last. */
function backends(): number[] {
  return descendantsOf(process.pid).filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/comm`, 'utf8').startsWith('backend-');
    } catch {
      return false; // It has ended meanwhile.
    }
  });
}

describe.skipIf(!allOk(examineMachine(), 'required'))('faults', () => {
  let stand: Stand | undefined;
  const guests: RunningGuest[] = [];

  async function on(open: () => Promise<DriverDomain>): Promise<Stand> {
    stand = new Stand(open);
    await stand.keeper.current;
    return stand;
  }

  afterEach(async () => {
    for (const guest of guests.splice(0)) {
      guest.launcher.kill('SIGCONT');
      guest.launcher.kill('SIGKILL');
      await guest.end.catch(() => {});
    }
    await stand?.keeper.close();
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

  it('a driver VM whose kernel panics: the same, and the log says why', async () => {
    const drivers = ['vivid'];
    const { keeper, logged, start } = withMethods(
      await on(() => startDriverVm({ drivers, shareRoot: true, log: () => {} })),
    );
    const guest = await start('reopener', CAMERA);
    guests.push(guest);
    await guest.printed('back ');
    const seen = guest.out.length;
    const domain = await keeper.current;
    await expect(domain.run(['sh', '-c', 'echo c >/proc/sysrq-trigger; sleep 60'], () => {})).rejects.toThrow(
      'panicked',
    );
    expect(await backAgain(guest, seen)).toMatch(/^lost ENODEV \d+\nback \d+\n/);
    expect(logged()).toContain('its kernel panicked: sysrq triggered crash');
    expect(logged()).toContain('the driver domain is there again');
  });

  it(
    'a driver VM that hangs: found by its watchdog, then the same',
    async () => {
      const { keeper, logged, start } = withMethods(
        await on(() => startDriverVm({ drivers: ['vivid'], log: () => {} })),
      );
      const guest = await start('reopener', CAMERA);
      guests.push(guest);
      await guest.printed('back ');
      const seen = guest.out.length;
      const { pid } = (await keeper.current) as DriverDomain & { pid: number };
      process.kill(pid, 'SIGSTOP');
      expect(await backAgain(guest, seen)).toMatch(/^lost ENODEV \d+\nback \d+\n/);
      expect(logged()).toMatch(/it hung: the backend agent did not answer|operation-overdue/);
    },
    HANG_TIMEOUT_MS,
  );

  it('a local agent that is killed: ENODEV, a new one by itself', async () => {
    const { keeper, start } = withMethods(await on(() => startLocalDomain({ log: () => {} })));
    const guest = await start('terminals', TERMINALS);
    guests.push(guest);
    await guest.printed('back ');
    const seen = guest.out.length;
    const { pid } = (await keeper.current) as DriverDomain & { pid: number };
    process.kill(pid, 'SIGKILL');
    expect(await backAgain(guest, seen)).toMatch(/^lost ENODEV \d+\nback \d+\n/);
  });

  it('a backend process that is killed: its guest process alone notices, and can go on', async () => {
    const { start, logged, keeper } = withMethods(await on(() => startLocalDomain({ log: () => {} })));
    const first = await start('terminals', TERMINALS);
    guests.push(first);
    await first.printed('back ');
    const [victim] = backends();
    const other = await start('terminals', TERMINALS);
    guests.push(other);
    await other.printed('back ');
    const seen = first.out.length;
    const seenOther = other.out.length;
    process.kill(victim as number, 'SIGKILL');
    expect(await backAgain(first, seen)).toMatch(/^lost ENODEV \d+\nback \d+\n/);
    expect(other.out.slice(seenOther)).toBe('');
    expect(logged()).toContain('backend-lost');
    expect(keeper.restarts).toBe(0);
  });

  it('a backend process that hangs: after the deadline its files are dead, and new ones are served', async () => {
    const { start, logged } = withMethods(await on(() => startLocalDomain({ log: () => {} })));
    const guest = await start('terminals', TERMINALS, SHORT_DEADLINE_MS);
    guests.push(guest);
    await guest.printed('back ');
    const seen = guest.out.length;
    for (const pid of backends()) process.kill(pid, 'SIGSTOP');
    expect(await backAgain(guest, seen)).toMatch(/^lost ENODEV \d+\nback \d+\n/);
    expect(logged()).toContain('operation-overdue');
  });

  it('a backend process that is stopped for a moment: its guest waits, and nothing is lost', async () => {
    const { start } = withMethods(await on(() => startLocalDomain({ log: () => {} })));
    const guest = await start('terminals', TERMINALS);
    guests.push(guest);
    await guest.printed('back ');
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

  it('a guest that is stopped, and then killed: nothing of it stays', async () => {
    const { start } = withMethods(await on(() => startLocalDomain({ log: () => {} })));
    const guest = await start('terminals', TERMINALS);
    guests.push(guest);
    await guest.printed('back ');
    const below = descendantsOf(guest.launcher.pid as number);
    for (const pid of below) process.kill(pid, 'SIGSTOP');
    await sleep(50);
    guest.launcher.kill('SIGKILL');
    expect(await guest.end).toMatchObject({ exitCode: null, signal: 'SIGKILL' });
    await until(() => !below.some(isAlive) && backends().length === 0, 'its processes to be gone');
  });

  it('a host that is killed: its guests and its domain go with it', async () => {
    const sharedMemory = readdirSync('/dev/shm').sort();
    const running = new RunningPostern([
      ...['run', '--alone', '--driver-vm', 'local', '--device', 'ptmx', '--'],
      ...['sh', '-c', 'echo ready; sleep 1000'],
    ]);
    await running.printed('ready');
    const started = descendantsOf(running.child.pid as number);
    expect(started.length).toBeGreaterThan(2);
    running.child.kill('SIGKILL');
    expect(await running.end()).toEqual({ status: null, signal: 'SIGKILL' });
    await until(() => !started.some(isAlive), `the processes ${started.join(', ')} to end`);
    expect(readdirSync('/dev/shm').sort()).toEqual(sharedMemory);
  });
});

/** The stand's methods, bound. */
function withMethods(stand: Stand): Pick<Stand, 'keeper' | 'logged' | 'start'> {
  return { keeper: stand.keeper, logged: () => stand.logged(), start: (...words) => stand.start(...words) };
}
