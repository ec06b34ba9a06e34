import { type ChildProcess, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync, rmSync } from 'node:fs';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CONFINE, unprivileged } from '../../host/driver-vm/qemu.js';
import { until } from '../cli/postern.js';

/** Landlock since 5.13; its rules on networks since 6.7, on signals since 6.12 (landlock(7)). Those of an older kernel can't be tried. */
const LANDLOCK_ABI = landlockAbi();
const CREATED = join(tmpdir(), `postern-confined-${process.pid}`);
const SHARED = `/dev/shm/postern-confined-${process.pid}`;
const CONFINE_DESCRIPTOR = 3;

let victim: ChildProcess;
let server: Server;
const datagrams = createSocket('udp4');

/** What a QEMU that its VM has taken over may try, in Python; each succeeds for an unconfined process of the same user. */
const ATTEMPTS: Record<string, () => string> = {
  'reading a file that everyone may read': () => "open('/etc/passwd').read()",
  'listing this machine’s files': () => "os.listdir('/')",
  'making a file': () => `open('${CREATED}', 'w')`,
  'making a file in memory that others see': () => `open('${SHARED}', 'w')`,
  'reading of another process': () => `open('/proc/${victim.pid}/environ').read()`,
  'looking at this machine’s settings': () => "open('/proc/sys/kernel/hostname').read()",
  'tracing another process of its user': () =>
    `check(ctypes.CDLL(None, use_errno=True).ptrace(16, ${victim.pid}, 0, 0))`,
  'signalling another process of its user': () => `os.kill(${victim.pid}, 0)`,
  'a connection to this machine': () =>
    `socket.create_connection(('127.0.0.1', ${(server.address() as AddressInfo).port}))`,
  'a datagram to this machine': () =>
    `socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', ${datagrams.address().port}))`,
  'dumping core': () => 'assert resource.getrlimit(resource.RLIMIT_CORE)[1] != 0',
};

const PROBE = `
import ctypes, os, resource, socket
def check(result):
    if result != 0: raise OSError(ctypes.get_errno(), 'failed')
`;

/** How an attempt ends, confined or only as the user without privileges that it is in both cases. */
async function tried(attempt: string, confined: boolean): Promise<{ status: number | null; err: string }> {
  const confine = openSync(CONFINE, 'r');
  const way = confined
    ? [`/proc/self/fd/${CONFINE_DESCRIPTOR}`, '--close', String(CONFINE_DESCRIPTOR), '--']
    : [];
  const { command, commandArguments } = unprivileged(
    [...way, '/usr/bin/python3', '-c', `${PROBE}${attempt}\n`],
    'KILL',
  );
  const child = spawn(command, commandArguments, {
    stdio: ['ignore', 'ignore', 'pipe', confine],
    cwd: '/',
  });
  closeSync(confine);
  let err = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    err += text;
  });
  const [status] = (await once(child, 'close')) as [number | null];
  return { status, err };
}

function landlockAbi(): number {
  const [major = 0, minor = 0] = readFileSync('/proc/sys/kernel/osrelease', 'utf8').split('.').map(Number);
  if (major > 6 || (major === 6 && minor >= 12)) return 6;
  return major === 6 && minor >= 7 ? 4 : 1;
}

beforeAll(async () => {
  const { command, commandArguments } = unprivileged(['sleep', '600'], 'KILL');
  victim = spawn(command, commandArguments, { stdio: 'ignore' });
  server = createServer((connection) => connection.destroy()).listen(0, '127.0.0.1');
  datagrams.bind(0, '127.0.0.1');
  await Promise.all([once(server, 'listening'), once(datagrams, 'listening')]);
  // setpriv becomes the other user before it becomes sleep.
  await until(() => readFileSync(`/proc/${victim.pid}/comm`, 'utf8') === 'sleep\n', 'the victim to run');
});
afterAll(() => {
  victim.kill('SIGKILL');
  server.close();
  datagrams.close();
  for (const path of [CREATED, SHARED]) rmSync(path, { force: true });
});

describe('a QEMU that its VM has taken over', () => {
  it.each(Object.keys(ATTEMPTS))('can’t succeed with %s, as it could otherwise', async (name) => {
    const attempt = ATTEMPTS[name]?.() ?? '';
    expect({ alone: await tried(attempt, false) }).toEqual({ alone: { status: 0, err: '' } });
    if (name.startsWith('signalling') && LANDLOCK_ABI < 6) return;
    const { status, err } = await tried(attempt, true);
    expect(status).toBe(1);
    expect(err).toMatch(
      /PermissionError|OSError: \[Errno (1|13|101)\]|ConnectionRefused|Network is unreachable|AssertionError/,
    );
  });

  it('has no capability, and can’t get one', async () => {
    const lines = ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'].map(
      (name) => `${name}:\t${'0'.repeat(16)}`,
    );
    const look = `status = open('/proc/self/status').read()
for line in ${JSON.stringify(lines)} + ['NoNewPrivs:\\t1']: assert line in status, line`;
    expect(await tried(look, true)).toEqual({ status: 0, err: '' });
  });
});
