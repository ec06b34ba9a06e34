import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { allOk, examineMachine } from '../../host/cli/doctor-checks.js';
import { descendantsOf, postern, RunningPostern, until } from '../cli/postern.js';
import { gone, ServedHost } from './support.js';

/** The user of no files, in Debian's base-passwd. */
const NOBODY = 65534;
const WAITS = ['sh', '-c', 'echo ready; while :; do sleep 0.02; done'];

/** What the host answers to bytes on its socket. */
function say(host: ServedHost, bytes: string): Promise<string> {
  const connection = connect(host.socket);
  connection.end(bytes);
  return text(connection);
}

describe.skipIf(!allOk(examineMachine(), 'required'))('postern serve', () => {
  let host: ServedHost;

  beforeEach(async () => {
    host = await ServedHost.start();
  });
  afterEach(() => host.close());

  it('runs guests with the command’s own input, output, folder, environment and status', () => {
    const program = 'cat; pwd; echo $POSTERN_TEST; echo problem >&2; exit 7';
    process.env.POSTERN_TEST = 'kept';
    const { status, out, err } = postern(
      ['run', '--socket', host.socket, '--', 'perl', '-e', PERL, program],
      'a line\n',
    );
    delete process.env.POSTERN_TEST;
    expect({ status, out, err }).toEqual({
      status: 7,
      out: `opened\na line\n${process.cwd()}\nkept\n`,
      err: 'problem\n',
    });
  });

  it('gives several guests its devices, and lists them with what they did', async () => {
    const guests = [host.guest('perl', '-e', HOLDS), host.guest('perl', '-e', HOLDS)];
    for (const guest of guests) await guest.printed('opened');
    const listed = host.guests();
    expect(listed.map(({ name }) => name).sort()).toEqual(['perl', 'perl-2']);
    for (const { pid, counters, modules } of listed) {
      expect(statSync(`/proc/${pid}`).isDirectory()).toBe(true);
      expect(counters.sessions).toBe(1);
      expect(modules).toContainEqual(expect.objectContaining({ class: 'pty', version: expect.any(String) }));
    }
    expect(host.command('guests').out).toMatch(/^guest +process .*\nperl/);
    for (const guest of guests) guest.child.kill('SIGTERM');
    for (const guest of guests) await guest.end();
    expect(host.guests()).toEqual([]);
  });

  it('tells the command what was denied, where it wants to know', () => {
    const { err } = host.command(
      'run',
      '--verbose',
      '--',
      'perl',
      '-e',
      'open(my $f, "+<", "/dev/ptmx"); ioctl($f, 0x12345678, 0)',
    );
    expect(err).toContain('postern: warn noted');
    expect(err).toContain('0x12345678');
  });

  it('is found at the usual place, unless a command wants a driver domain of its own', async () => {
    const before = process.env.XDG_RUNTIME_DIR;
    process.env.XDG_RUNTIME_DIR = host.folder;
    const guest = new RunningPostern(['run', '--', ...WAITS]);
    const alone = new RunningPostern(['run', '--driver-vm', 'local', '--', ...WAITS]);
    const listed = postern(['guests', '--json']);
    try {
      for (const each of [guest, alone]) await each.printed('ready');
      expect(listed.status).toBe(0);
      expect(host.guests().map(({ name }) => name)).toEqual(['sh']);
    } finally {
      process.env.XDG_RUNTIME_DIR = before;
      if (before === undefined) delete process.env.XDG_RUNTIME_DIR;
      for (const each of [guest, alone]) each.child.kill('SIGKILL');
    }
  });

  it('says how to start a host where there is none', () => {
    const { status, err } = postern(['guests', '--socket', '/nowhere/host.sock']);
    expect({ status, err }).toEqual({
      status: 125,
      err: 'postern: No host listens at /nowhere/host.sock. Start one: postern serve.\n',
    });
  });

  it('refuses a second host at the same socket, and goes on', () => {
    const { status, err } = host.command('serve', '--driver-vm', 'local');
    expect(status).toBe(125);
    expect(err).toBe(
      `postern: Another host serves at ${host.socket}. End it first, or serve elsewhere by --socket PATH.\n`,
    );
    expect(host.run('true').status).toBe(0);
  });

  it('lets nobody but its user in', () => {
    expect(statSync(host.socket).mode & 0o777).toBe(0o600);
  });

  it.skipIf(process.getuid?.() !== 0)(
    'answers no other user, even where one could connect (needs root)',
    () => {
      for (const path of [host.folder, dirname(host.socket), host.socket]) chmodSync(path, 0o777);
      const ask =
        'const c = require(\'net\').connect(process.argv[1], () => c.write(\'P{"request":"guests"}\\n\'));' +
        "c.on('data', (d) => process.stdout.write(d)); c.on('error', () => {}); c.on('connect', () => console.log('connected'))";
      const as = (uid: number): string =>
        spawnSync(process.execPath, ['-e', ask, host.socket], { uid, gid: uid, cwd: '/', encoding: 'utf8' })
          .stdout;
      expect(as(0)).toBe('connected\n{"reply":"guests","guests":[]}\n');
      expect(as(NOBODY)).toBe('connected\n');
    },
  );

  it('refuses devices and programs as a command alone would', () => {
    const device = host.command('run', '--device', 'video9', '--', 'true');
    expect(device.status).toBe(125);
    expect(device.err).toMatch(/^postern: The driver domain has no device 'video9'. It has: .*ptmx/);
    expect(host.run('no-such-program').status).toBe(127);
  });

  it.each([
    ['no JSON', 'P{"request"\n', 'This is no request'],
    [
      'an unknown request',
      'P{"request":"dance"}\n',
      'This is no request as schemas/serve.schema.json describes it',
    ],
    ['a field too many', 'P{"request":"guests","all":true}\n', 'must NOT have additional properties'],
    [
      'a run without a launcher',
      'P{"request":"run","name":"x","devices":null,"networkAdministration":false,"tells":false}\n',
      'A run must bring its control socket.',
    ],
  ])('answers %s with what is wrong', async (_name, bytes, expected) => {
    const reply = JSON.parse(await say(host, bytes));
    expect(reply).toEqual({ reply: 'failed', message: expect.stringContaining(expected) });
  });

  it.each([
    ['no greeting', 'X{"request":"guests"}\n'],
    ['nothing', ''],
    ['an endless line', `P${'x'.repeat(2 << 20)}`],
  ])('ends a connection that brings %s, and goes on', async (_name, bytes) => {
    expect(await say(host, bytes).catch(() => '')).toBe('');
    expect(host.guests()).toEqual([]);
  });

  it('forgets a guest whose command was killed', async () => {
    const guest = host.guest(...WAITS);
    await guest.printed('ready');
    const started = descendantsOf(guest.child.pid as number);
    expect(started.length).toBeGreaterThanOrEqual(3);
    guest.child.kill('SIGKILL');
    await gone(started);
    await until(() => host.guests().length === 0, 'the host to forget the guest');
  });

  it('ends its guests first when it is asked to end, and removes its socket', async () => {
    const trap = "trap 'echo told; exit 3' TERM; echo ready; while :; do sleep 0.02; done";
    const guest = host.guest('sh', '-c', trap);
    await guest.printed('ready');
    const started = descendantsOf(host.pid);
    host.process.child.kill('SIGTERM');
    expect(await guest.end()).toEqual({ status: 3, signal: null });
    expect(guest.out).toBe('ready\ntold\n');
    expect(await host.process.end()).toEqual({ status: 0, signal: null });
    expect(existsSync(host.socket)).toBe(false);
    await gone(started);
  });

  it('is killed: its guests end, nothing is left, and another takes its place', async () => {
    const guest = host.guest(...WAITS);
    await guest.printed('ready');
    const started = [...descendantsOf(host.pid), ...descendantsOf(guest.child.pid as number)];
    host.process.child.kill('SIGKILL');
    expect(await guest.end()).toEqual({ status: 125, signal: null });
    await gone(started);
    expect(existsSync(host.socket)).toBe(true);
    expect(host.run('true').err).toContain('No host listens at');
    await host.restart();
    expect(host.run('true').status).toBe(0);
  });

  it('goes on with a new driver domain when the old one has died', async () => {
    const guest = host.guest('perl', '-e', HOLDS);
    await guest.printed('opened');
    const agents = descendantsOf(host.pid);
    expect(agents.length).toBeGreaterThan(0);
    process.kill(agents[0] as number, 'SIGKILL');
    await until(() => host.run('perl', '-e', PERL, 'exit 0').out === 'opened\n', 'a new driver domain');
    expect(host.guests().map(({ name }) => name)).toEqual(['perl']);
    guest.child.kill('SIGTERM');
    await guest.end();
  });
});

/** Opens a terminal, says so, and becomes the shell command that it is given. */
const PERL =
  '$| = 1; print open(my $f, "+<", "/dev/ptmx") ? "opened\\n" : "refused: $!\\n"; close $f; exec "sh", "-c", $ARGV[0]';
/** Holds a terminal open until it is ended. */
const HOLDS = '$| = 1; print open(my $f, "+<", "/dev/ptmx") ? "opened\\n" : "refused: $!\\n"; sleep 100';
