import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { allOk, examineMachine } from '../../host/cli/doctor-checks.js';
import { isOnPath } from '../../host/setup/debian-packages.js';
import { descendantsOf, isAlive, postern, RunningPostern, until } from './postern.js';

/** Guests of the local driver domain start in a fraction of a second and need no virtual machine. */
const LOCAL = ['run', '--driver-vm', 'local', '--device', 'ptmx'];

const asGuest = (...command: string[]): string[] => [...LOCAL, '--', ...command];

describe.skipIf(!allOk(examineMachine(), 'required'))('postern run', () => {
  it('prints nothing of its own and passes standard input, output and error', () => {
    const { status, out, err } = postern(asGuest('sh', '-c', 'cat; echo problem >&2'), 'a line\n');
    expect({ status, out, err }).toEqual({ status: 0, out: 'a line\n', err: 'problem\n' });
  });

  it('passes arguments as they are, those that look like options too', () => {
    const { out } = postern([...LOCAL, 'printf', '%s|', '--verbose', 'two words', '']);
    expect(out).toBe('--verbose|two words||');
  });

  it('ends with the guest’s status', () => {
    expect(postern(asGuest('sh', '-c', 'exit 7'))).toMatchObject({ status: 7, signal: null });
  });

  it('ends by the signal that ended the guest', () => {
    expect(postern(asGuest('sh', '-c', 'kill -TERM $$'))).toMatchObject({ status: null, signal: 'SIGTERM' });
  });

  it('ends with the status that shells give a signal that leaves a core file', () => {
    expect(postern(asGuest('sh', '-c', 'ulimit -c 0; kill -SEGV $$'))).toMatchObject({ status: 139 });
  });

  it.each([
    ['no-such-program', 127],
    ['/etc/passwd', 126],
  ])('says that %s cannot be run, with status %d', (program, status) => {
    const outcome = postern(asGuest(program));
    expect(outcome.status).toBe(status);
    expect(outcome.err).toContain(program);
  });

  it('says which devices there are when asked for another', () => {
    const { status, err } = postern(['run', '--driver-vm', 'local', '--device', 'video9', '--', 'true']);
    expect(status).toBe(125);
    expect(err).toMatch(/^postern: The driver domain has no device 'video9'. It has: .*ptmx/);
  });

  it('refuses a device that no policy serves', () => {
    const { status, err } = postern(['run', '--driver-vm', 'local', '--device', 'pts', '--', 'true']);
    expect(status).toBe(125);
    expect(err).toBe("postern: No guest gets the device 'pts': no policy module serves it.\n");
  });

  it('gives the guest the device where it was asked to', () => {
    const { out } = postern([
      ...['run', '--driver-vm', 'local', '--device', 'ptmx=/dev/terminals/master', '--'],
      ...['stat', '-c', '%F %t:%T', '/dev/terminals/master'],
    ]);
    expect(out).toBe('character special file 5:2\n');
  });

  it.each(['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const)('passes %s on', async (signal) => {
    const trap = `trap 'echo got it; exit 3' ${signal.slice('SIG'.length)}`;
    const running = new RunningPostern(
      asGuest('sh', '-c', `${trap}; echo ready; while :; do sleep 0.02; done`),
    );
    await running.printed('ready');
    running.child.kill(signal);
    expect(await running.end()).toEqual({ status: 3, signal: null });
    expect(running.out).toBe('ready\ngot it\n');
  });

  it('leaves no process behind when it is killed', async () => {
    const running = new RunningPostern(asGuest('sh', '-c', 'echo ready; while :; do sleep 0.02; done'));
    await running.printed('ready');
    const started = descendantsOf(running.child.pid as number);
    expect(started.length).toBeGreaterThanOrEqual(3);
    running.child.kill('SIGKILL');
    expect(await running.end()).toEqual({ status: null, signal: 'SIGKILL' });
    await until(() => !started.some(isAlive), `the processes ${started.join(', ')} to end`);
  });

  it('logs denials and the guest’s end to a file, one JSON object a line', () => {
    const folder = mkdtempSync(join(tmpdir(), 'postern-log-'));
    const file = join(folder, 'log');
    const { status, err } = postern([...LOCAL, '--log', file, '--', 'socat', '-u', 'OPEN:/dev/null', 'PTY']);
    const records = readFileSync(file, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    rmSync(folder, { recursive: true });
    expect({ status, err }).toEqual({ status: 0, err: '' });
    expect(records.at(-1)).toMatchObject({
      msg: 'the guest has ended',
      exitCode: 0,
      counters: { faults: 0 },
    });
    expect(records.at(-1).counters.operationsAllowed).toBeGreaterThan(0);
  });

  it('tells people the same with --verbose', () => {
    const { err } = postern([...LOCAL, '--verbose', '--', 'true']);
    expect(err).toMatch(/^postern: info the guest has ended exitCode=0/m);
  });

  const canSetUp = process.getuid?.() === 0 && isOnPath('socat');
  it.skipIf(!canSetUp)('lets socat set up its tunnel with --net-admin, and not without', () => {
    // An address of a network for documentation (RFC 5737): nobody else has it.
    const socat = ['socat', '-u', 'TUN:192.0.2.77/30,up,tun-name=postern77', 'FILE:/dev/null'];
    // Until the address is there, or socat has given up.
    const wait =
      'for i in $(seq 200); do grep -q 192.0.2.77 /proc/net/fib_trie && break; kill -0 $! || break; sleep 0.1; done';
    const count = 'cat /proc/net/fib_trie | grep -c 192.0.2.77';
    const script = `${socat.join(' ')} & ${wait} 2>/dev/null; ${count}; kill $! 2>/dev/null`;
    const tunnel = (...options: string[]): string =>
      postern(['run', '--driver-vm', 'local', ...options, '--', 'sh', '-c', script]).out;
    expect(Number(tunnel('--net-admin'))).toBeGreaterThan(0);
    expect(Number(tunnel())).toBe(0);
  });
});
