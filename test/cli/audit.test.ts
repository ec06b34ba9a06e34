import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { postern } from './postern.js';

/** Opens a terminal, asks for its number, and does two things that it may not: TIOCSTI, and a command that nobody knows. */
const GUEST = `
import os, fcntl
terminal = os.open("/dev/ptmx", os.O_RDWR)
fcntl.ioctl(terminal, 0x80045430, bytes(4))
for command in (0x5412, 0x5499):
    try: fcntl.ioctl(terminal, command, bytes(1))
    except OSError as error: print(error.errno)
os.write(terminal, b"secret")
`;

let folder: string;
let log: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'postern-audit-'));
  log = join(folder, 'decisions.log');
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('postern run --audit-log', () => {
  it('logs what a guest was allowed and denied, in a chain that verifies', () => {
    const audit = ['--audit-log', log, '--audit-arguments'];
    const run = postern(['run', '--driver-vm', 'local', ...audit, '--', 'python3', '-c', GUEST]);
    expect(run).toMatchObject({ status: 0, err: '', out: '1\n25\n' });
    const verified = postern(['audit', 'verify', log, '--expect-head', `${log}.head`, '--json']);
    expect(verified.status).toBe(0);
    const { kinds, faults } = JSON.parse(verified.out) as {
      kinds: Record<string, number>;
      faults: unknown[];
    };
    expect({ kinds, faults }).toMatchObject({
      kinds: { segment: 1, decision: 4, refusal: 1, ended: 1 },
      faults: [],
    });
    const text = readFileSync(log, 'utf8');
    expect(text).toContain('"command":"TIOCSTI"');
    expect(text).toMatch(/"kind":"refusal".*"commandNumber":"0x00005499".*"outcome":"ENOTTY"/);
    expect(text).not.toContain(Buffer.from('secret').toString('hex'));
  });

  it('is replayed by the same module without a change, and a changed log is refused', () => {
    const replayed = postern(['replay', log, '--policy', 'pty', '--json']);
    expect(replayed.status).toBe(0);
    expect(JSON.parse(replayed.out)).toMatchObject({ class: 'pty', decisions: 4, judged: 4, changes: [] });
    const spoilt = join(folder, 'spoilt.log');
    writeFileSync(spoilt, readFileSync(log, 'utf8').replace('"verdict":"deny"', '"verdict":"allow"'));
    const verified = postern(['audit', 'verify', spoilt]);
    expect(verified.status).toBe(1);
    expect(verified.out).toContain('is not the one that was written');
    expect(postern(['replay', spoilt, '--policy', 'pty'])).toMatchObject({ status: 125 });
  });

  it('is not replayed by a module of a class that it has nothing of', () => {
    const { status, err } = postern(['replay', log, '--policy', 'tun']);
    expect(status).toBe(125);
    expect(err).toContain("The log has no decision of the class 'tun'");
  });

  it('refuses options about a log that is not there', () => {
    const { status, err } = postern(['run', '--driver-vm', 'local', '--audit-sample', '3', '--', 'true']);
    expect(status).toBe(125);
    expect(err).toContain('give --audit-log FILE too');
  });
});

describe('postern policy test, bench and diff, and postern audit check', () => {
  it('try a class, and say that all is well', () => {
    const test = postern(['policy', 'test', 'media', '--calls', '200']);
    expect(test.status).toBe(0);
    expect(test.out).toMatch(/(\d+) of \1 vectors are answered as they say/);
    expect(test.out).toContain('200 generated calls (seed 1) break no rule');
    const check = postern(['audit', 'check', 'media', '--calls', '200', '--json']);
    expect(check.status).toBe(0);
    expect(JSON.parse(check.out)).toMatchObject({ name: 'media', kept: true, calls: 200 });
    const bench = postern(['policy', 'bench', 'media', '--json']);
    const { costs } = JSON.parse(bench.out) as {
      costs: { command: string; medianNs: number; p99Ns: number }[];
    };
    expect(costs.map(({ command }) => command.split(' ')[0])).toContain('MEDIA_IOC_G_TOPOLOGY');
    for (const { medianNs, p99Ns } of costs) expect(p99Ns).toBeGreaterThanOrEqual(medianNs);
  });

  it('tell wider from equal by their exit status', () => {
    expect(postern(['policy', 'diff', 'media', 'media', '--calls', '200'])).toMatchObject({ status: 0 });
    const wider = postern(['policy', 'diff', 'media', 'tun', '--calls', '200']);
    expect(wider.status).toBe(2);
    expect(wider.out).toContain('permits more');
    expect(wider.out).toContain('TUNSETIFF, command');
  });

  it('refuse a module that is not there, and name those that are', () => {
    const { status, err } = postern(['audit', 'check', 'nonsense']);
    expect(status).toBe(125);
    expect(err).toMatch(/no policy module 'nonsense'.*v4l2/);
  });
});
