import { spawn, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { allOk, examineMachine } from '../../host/cli/doctor-checks.js';
import { compileGuestProgram } from '../../host/cli/guest-program.js';
import { startDriverVm } from '../../host/driver-vm/driver-vm.js';
import { startLocalDomain } from '../../host/driver-vm/local-domain.js';
import { LINES_AT_ONCE, LINES_PER_SECOND } from '../../host/mediator/log-budget.js';
import type { Mediation } from '../../host/mediator/mediation.js';
import { ROOT } from '../../host/root.js';
import { descendantsOf, isAlive, MAIN, RunningPostern, until } from '../cli/postern.js';
import { CAMERA, RunningGuest, TERMINALS } from '../mediator/support.js';
import { backends, leaksSince, Stand, traces } from './stand.js';

/** How often guests are killed, at a moment that nobody chooses; so many milliseconds after their launcher's start at the latest. */
const KILLS = { local: 20, vm: 6 } as const;
const MOMENT_MAX_MS = { local: 150, vm: 600 } as const;
/** Each guest starts within a fraction of a second, on a machine that has nothing else to do. */
const KILLS_TIMEOUT_MS = 240_000;
const UNKNOWN_COMMANDS = 50_000;
const ROUNDS = 20;
/** What the host holds at once while it makes a placeholder: its two ends, and what they meet by (`native/addon/placeholder.cc`). */
const DESCRIPTORS_OF_AN_OPEN = 3;
const DESCRIPTORS_MAX = 4096;

describe.skipIf(!allOk(examineMachine(), 'required'))('faults of guests and of the host', () => {
  let stand: Stand | undefined;

  const onLocal = async (): Promise<Stand> => {
    stand = await Stand.open(() => startLocalDomain({ log: () => {} }));
    return stand;
  };

  afterEach(async () => {
    await stand?.close();
    stand = undefined;
  });

  it('a guest that is stopped, and then killed: nothing of it stays', async () => {
    const guest = await (await onLocal()).start({ program: 'terminals', devices: TERMINALS });
    await guest.printed('back ');
    const below = descendantsOf(guest.launcher.pid as number);
    for (const pid of below) process.kill(pid, 'SIGSTOP');
    await sleep(50);
    guest.launcher.kill('SIGKILL');
    expect(await guest.end).toMatchObject({ exitCode: null, signal: 'SIGKILL' });
    await until(() => !below.some(isAlive) && backends().length === 0, 'its processes to be gone');
  });

  it.each([
    {
      place: 'local',
      program: 'terminals',
      devices: TERMINALS,
      open: () => startLocalDomain({ log: () => {} }),
    },
    {
      place: 'vm',
      program: 'streamer',
      devices: CAMERA,
      open: () => startDriverVm({ drivers: ['vivid'], log: () => {} }),
    },
  ] as const)(
    'guests that are killed at any moment, $place: nothing of them stays, and the next one is served',
    async ({ place, program, devices, open }) => {
      stand = await Stand.open(open);
      const start = async (): Promise<RunningGuest> =>
        await (stand as Stand).start({ program, devices: [...devices] });
      // What the first guest of a process needs once is there from now on.
      (await start()).launcher.kill('SIGKILL');
      await until(() => backends().length === 0, 'the first guest to be gone');
      const before = traces();
      for (let kill = 0; kill < KILLS[place]; kill++) {
        const guest = await start();
        await sleep(Math.random() * MOMENT_MAX_MS[place]);
        guest.launcher.kill('SIGKILL');
        // A mediator that finds no launcher any more says so.
        const end = await guest.end.catch((error: Error) => error);
        if (end instanceof Error) expect(end.message).toMatch(/launcher|guest/);
        else expect(end).toMatchObject({ exitCode: null, signal: 'SIGKILL' });
      }
      expect(await leaksSince(before)).toEqual([]);
      expect(stand.keeper.restarts).toBe(0);
      const guest = await stand.start({
        ...{ program: place === 'vm' ? 'reopener' : 'terminals', devices: [...devices] },
      });
      await guest.printed('back ');
    },
    KILLS_TIMEOUT_MS,
  );

  it('a mediator that fails: its guest is killed, and others go on', async () => {
    const on = await onLocal();
    let mediation: Mediation | undefined;
    const first = await on.start({
      ...{ program: 'terminals', devices: TERMINALS },
      onMediation: (made) => {
        mediation = made;
      },
    });
    const other = await on.start({ program: 'terminals', devices: TERMINALS });
    await Promise.all([first.printed('back '), other.printed('back ')]);
    const seen = other.out.length;
    const ended = first.end.catch((error: Error) => error.message);
    // No tape is that short: what throws here throws in the worker, as a defect of its own would.
    await mediation?.record('pty', new SharedArrayBuffer(0));
    expect(await ended).toContain('typed array');
    await until(() => first.launcher.signalCode === 'SIGKILL', 'its guest to be killed');
    await until(() => backends().length === 1, 'its backend process to be gone');
    expect(first.out).not.toContain('lost');
    expect(other.out.slice(seen)).toBe('');
    other.launcher.stdin?.end();
    expect(await other.end).toMatchObject({ exitCode: 0 });
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

  it('a host that is stopped for a moment: its guest waits, and nothing is lost', async () => {
    const program = compileGuestProgram('terminals', 'hostile');
    const guest = hostOf(['--', program]);
    await guest.printed('back ');
    const seen = guest.out.length;
    for (let round = 0; round < 3; round++) {
      guest.launcher.kill('SIGSTOP');
      await sleep(300);
      guest.launcher.kill('SIGCONT');
      await sleep(100);
    }
    guest.launcher.stdin?.end();
    expect(await guest.end).toMatchObject({ exitCode: 0, signal: null });
    expect(guest.out.slice(seen)).toBe('');
  });

  it.each([60, 100, 150, 500])(
    'a host that may have %i descriptors: it does not start, and says why',
    async (descriptors) => {
      const before = traces();
      const { exitCode, out, err } = await hostOf(['--', 'true'], descriptors).end;
      expect(exitCode).not.toBe(0);
      expect(out).toBe('');
      expect(err).toMatch(/EMFILE|too many (open files|files open)|descriptors/i);
      expect(await leaksSince(before)).toEqual([]);
    },
  );

  it.each([0, 1, 2, 3, 8])(
    'a host that has %i descriptors left while it serves: an open fails, and works again when there are some',
    async (left) => {
      const guest = hostOf(['--', compileGuestProgram('hoarder', 'hostile')]);
      await guest.printed('ready');
      const host = guest.launcher.pid as number;
      limitDescriptors(host, limitThatLeaves(host, left));
      guest.launcher.stdin?.write('go\n');
      await guest.printed('refused');
      // With fewer than an open takes, it is not enough that the guest has closed its files: theirs may have been beyond the limit.
      if (left < DESCRIPTORS_OF_AN_OPEN) limitDescriptors(host, DESCRIPTORS_MAX);
      guest.launcher.stdin?.write('go\n');
      const { exitCode, out, err } = await guest.end;
      expect({ exitCode, out, err }).toEqual({
        ...{ exitCode: 0, err: '' },
        out: expect.stringMatching(/^ready\nrefused (EMFILE|ENFILE)\nagain\n$/),
      });
    },
  );

  it('a ring that is full: whatever waits for room is done, and nothing is lost', async () => {
    const guest = await (await onLocal()).start({
      ...{ program: 'full_ring', args: [String(ROUNDS)], devices: TERMINALS },
    });
    expect(await guest.end).toMatchObject({ exitCode: 0, err: '' });
    expect(guest.out.match(/^round$/gm)).toHaveLength(ROUNDS);
    expect(guest.out).toContain('beyond ENOMEM');
  });

  it('a guest that floods the log: a bounded number of lines, and how many are left out', async () => {
    const on = await onLocal();
    const began = performance.now();
    const guest = await on.start({
      ...{ program: 'unknown_commands', args: [String(UNKNOWN_COMMANDS)], devices: TERMINALS },
    });
    expect(await guest.end).toMatchObject({ exitCode: 0, out: `refused ${UNKNOWN_COMMANDS}\n` });
    const seconds = (performance.now() - began) / 1000;
    const noted = on.records.filter(({ msg }) => msg === 'noted');
    const leftOut = on.records.filter(({ msg }) => msg === 'lines are left out');
    expect(noted.length).toBeGreaterThanOrEqual(LINES_AT_ONCE);
    expect(noted.length).toBeLessThanOrEqual(LINES_AT_ONCE + LINES_PER_SECOND * seconds + 1);
    const counted = leftOut.reduce((sum, { lines }) => sum + Number(lines), 0);
    expect(noted.length + counted).toBe(UNKNOWN_COMMANDS);
  });
});

describe('a clock that jumps', () => {
  /** Where the time of day is for people, or sets a clock that nobody here measures by. */
  const FOR_PEOPLE: Readonly<Record<string, string>> = {
    'host/driver-vm/control-client.ts': 'tells a driver VM the time of day',
    'host/driver-vm/snapshot.ts': 'when a snapshot was used last, by its file times',
    'native/agent/control.c': 'sets the clock of a driver VM',
  };
  const FOLDERS = ['host/mediator', 'host/driver-vm', 'host/serve', 'host/guest-vm', 'host/policy', 'native'];
  const TIME_OF_DAY =
    /CLOCK_REALTIME|\bgettimeofday\b|[^_a-z]time\s*\(\s*(NULL|nullptr|0)\s*\)|system_clock|Date\.now\(|new Date\(/;

  it('is nothing to what measures, waits or decides: the time of day is not asked for', () => {
    const sources = FOLDERS.flatMap((folder) =>
      readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
        .filter((name) => /\.(ts|c|cc|h)$/.test(name) && !/(^|\/)(build|test_[^/]*)(\/|$)/.test(name))
        .map((name) => join(folder, name)),
    );
    expect(sources.length).toBeGreaterThan(100);
    const asking = sources.filter((path) =>
      TIME_OF_DAY.test(readFileSync(join(ROOT, path), 'utf8').replace(/\/\*[\s\S]*?\*\//g, '')),
    );
    expect(asking.sort()).toEqual(Object.keys(FOR_PEOPLE).sort());
  });
});

function limitDescriptors(pid: number, limit: number): void {
  expect(spawnSync('prlimit', ['--pid', `${pid}`, `--nofile=${limit}:${DESCRIPTORS_MAX}`]).status).toBe(0);
}

/** The limit below which a process has just so many free numbers: the kernel compares numbers, it does not count descriptors. */
function limitThatLeaves(pid: number, left: number): number {
  const used = new Set(readdirSync(`/proc/${pid}/fd`).map(Number));
  for (let limit = 0, free = 0; ; limit++) {
    if (used.has(limit)) continue;
    if (free === left) return limit;
    free++;
  }
}

/** `postern run` with a local domain of its own, and with standard input that stays open. */
function hostOf(command: string[], descriptorsMax?: number): RunningGuest {
  const parameters = ['run', '--alone', '--driver-vm', 'local', '--device', 'ptmx', ...command];
  const [program, args] =
    descriptorsMax === undefined
      ? [process.execPath, [MAIN, ...parameters]]
      : ['prlimit', [`--nofile=${descriptorsMax}:${descriptorsMax}`, process.execPath, MAIN, ...parameters]];
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  const ended = new Promise<{ exitCode: number | null; signal: NodeJS.Signals | null }>((resolve) => {
    child.once('exit', (exitCode, signal) => resolve({ exitCode, signal }));
  });
  return new RunningGuest(child, () => ended as never, []);
}
