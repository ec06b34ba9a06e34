import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { allOk, examineMachine } from '../../host/cli/doctor-checks.js';
import { compileGuestProgram } from '../../host/cli/guest-program.js';
import { descendantsOf, isAlive, RunningPostern, until } from '../cli/postern.js';
import { Bench } from './support.js';

/** What a guest could leave behind on this machine. */
interface Traces {
  processes: number[];
  mounts: string;
  sharedMemory: string[];
  descriptors: number;
}

function traces(): Traces {
  return {
    processes: descendantsOf(process.pid).sort(),
    mounts: readFileSync('/proc/self/mounts', 'utf8'),
    sharedMemory: readdirSync('/dev/shm').sort(),
    descriptors: readdirSync('/proc/self/fd').length,
  };
}

/** The traces when they have stayed as they are for a while: a worker thread that has ended closes its descriptors when it gets to it. */
async function settledTraces(): Promise<Traces> {
  let last = traces();
  for (let alike = 0; alike < 3; ) {
    await sleep(30);
    const now = traces();
    alike = JSON.stringify(now) === JSON.stringify(last) ? alike + 1 : 0;
    last = now;
  }
  return last;
}

describe.skipIf(!allOk(examineMachine(), 'required'))('the end of a guest', () => {
  let bench: Bench;
  let before: Traces;
  const program = compileGuestProgram('ending');

  beforeAll(async () => {
    bench = await Bench.local();
    // What is made once for all guests is there from now on.
    await bench.guest([program, 'exit', '0']);
    await until(() => descendantsOf(process.pid).every((pid) => !isGuest(pid)), 'the first guest to end');
  });
  afterAll(() => bench.close());
  beforeEach(async () => {
    before = await settledTraces();
  });
  afterEach(async () => {
    await until(
      () => JSON.stringify(traces()) === JSON.stringify(before),
      `the traces to be as before: ${JSON.stringify(before)}, now ${JSON.stringify(traces())}`,
    );
  });

  const isGuest = (pid: number): boolean => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(program);
    } catch {
      return false; // It has ended meanwhile.
    }
  };
  const guests = (): number[] => descendantsOf(process.pid).filter(isGuest);

  it.each([0, 1, 42, 255])('passes the exit status %d on', async (status) => {
    const outcome = await bench.guest([program, 'exit', String(status)]);
    expect(outcome).toMatchObject({ exitCode: status, signal: null, out: '', err: '' });
  });

  it.each([
    ['SIGTERM', 15],
    ['SIGKILL', 9],
    ['SIGSEGV', 11],
    ['SIGABRT', 6],
    ['SIGUSR1', 10],
  ] as const)('passes %s on', async (signal, number) => {
    const outcome = await bench.guest([program, 'signal', String(number)]);
    expect(outcome).toMatchObject({ exitCode: null, signal });
  });

  it('passes standard input and output on', async () => {
    const { out } = await bench.guest([program, 'echo'], { input: 'one\ntwo\n' });
    expect(out).toBe('<one>\n<two>\n');
  });

  it('comes by SIGTERM, which the program may handle', async () => {
    const running = await bench.start([program, 'term']);
    await running.printed('ready');
    running.launcher.kill('SIGTERM');
    expect(await running.end).toMatchObject({ exitCode: 6, signal: null, out: 'ready\nSIGTERM\n' });
  });

  it('comes by SIGTERM, which the program need not handle', async () => {
    const running = await bench.start([program, 'wait']);
    await running.printed('ready');
    running.launcher.kill('SIGTERM');
    expect(await running.end).toMatchObject({ exitCode: null, signal: 'SIGTERM' });
  });

  it('is the end of its orphans', async () => {
    const outcome = await bench.guest([program, 'orphan']);
    expect(outcome).toMatchObject({ exitCode: 0, signal: null });
  });

  it('comes at once when the launcher is killed, with threads asleep in the driver', async () => {
    const running = await bench.start([program, 'threads']);
    await running.printed('ready');
    expect(guests().length).toBeGreaterThanOrEqual(2);
    running.launcher.kill('SIGKILL');
    expect(await running.end).toMatchObject({ exitCode: null, signal: 'SIGKILL' });
  });

  it('comes at once when the program is killed', async () => {
    const running = await bench.start([program, 'threads']);
    await running.printed('ready');
    const isWanted = (pid: number): boolean =>
      readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8') !== '';
    const target = guests().find((pid) => readdirSync(`/proc/${pid}/task`).length > 1 && isWanted(pid));
    process.kill(target as number, 'SIGKILL');
    expect(await running.end).toMatchObject({ exitCode: null, signal: 'SIGKILL' });
  });

  it('leaves nothing behind of ten guests at once', async () => {
    const all = await Promise.all(
      Array.from({ length: 10 }, (_, number) => bench.guest([program, 'exit', String(number)])),
    );
    expect(all.map(({ exitCode }) => exitCode)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it('leaves nothing behind when its driver VM is its own, and the host is killed', async () => {
    const running = new RunningPostern([
      ...['run', '--device', 'video0', '--'],
      ...['sh', '-c', 'v4l2-ctl --stream-mmap >/dev/null 2>&1 & echo ready; wait'],
    ]);
    await running.printed('ready');
    const started = descendantsOf(running.child.pid as number);
    const names = started.map((pid) => readFileSync(`/proc/${pid}/comm`, 'utf8').trim());
    expect(names).toContain('launcher');
    expect(names.some((name) => name.startsWith('qemu'))).toBe(true);
    running.child.kill('SIGKILL');
    expect(await running.end()).toEqual({ status: null, signal: 'SIGKILL' });
    await until(() => !started.some(isAlive), `the processes ${started.join(', ')} to end`);
  });
});
