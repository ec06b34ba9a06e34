import { execFile, execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { allOk, examineMachine } from '../../host/cli/doctor-checks.js';
import { ROOT } from '../../host/root.js';

const run = promisify(execFile);
const NOBODY = 65534;
const POSTERN = join(ROOT, 'dist', 'host', 'cli', 'main.js');
const STREAM = ['--stream-mmap', '--stream-count=3'];
/** Drivers that no other test loads so: what such a VM needs is not in the installation's own cache yet. */
const DRIVERS = ['--driver', 'vivid no_error_inj=1'];
const as = { uid: NOBODY, gid: NOBODY, env: { PATH: process.env.PATH, HOME: '/' } };

/** Why this can't be tried here, or undefined. */
function obstacle(): string | undefined {
  if (process.getuid?.() !== 0) return 'root, to become somebody else';
  try {
    execFileSync(process.execPath, ['-e', `require('node:fs').readFileSync(${JSON.stringify(POSTERN)})`], as);
  } catch {
    return 'a repository that everyone may read';
  }
  try {
    execFileSync('unshare', ['--user', '--mount', '--pid', '--fork', 'true'], as);
  } catch {
    return 'user namespaces without privileges';
  }
  return undefined;
}

const missing = obstacle();
const title = missing === undefined ? 'without root' : `without root (skipped: it needs ${missing})`;

describe.skipIf(missing !== undefined)(title, () => {
  const guest = async (...command: string[]): Promise<string> => {
    const devices = ['--driver-vm', 'local', '--device', 'ptmx'];
    return (await run(process.execPath, [POSTERN, 'run', ...devices, '--', ...command], as)).stdout;
  };

  it('a guarded device file looks like what it stands for, by name and by descriptor', async () => {
    const script = [
      'import os, stat',
      'def show(s): print(stat.S_ISCHR(s.st_mode), os.major(s.st_rdev), os.minor(s.st_rdev))',
      "show(os.stat('/dev/ptmx')); show(os.lstat('/dev/ptmx')); show(os.stat('/dev/../dev/ptmx'))",
      "show(os.fstat(os.open('/dev/ptmx', os.O_RDWR | os.O_NOCTTY)))",
      "print(stat.S_ISREG(os.stat('/etc/passwd').st_mode))",
    ].join('\n');
    expect(await guest('python3', '-c', script)).toBe(`${'True 5 2\n'.repeat(4)}True\n`);
  });

  it('a terminal works end to end', async () => {
    const script = [
      'import os, pty',
      'master, slave = pty.openpty()',
      "os.write(slave, b'hello'); print(os.read(master, 5).decode(), os.isatty(slave))",
    ].join('\n');
    expect(await guest('python3', '-c', script)).toBe('hello True\n');
  });

  it.skipIf(!allOk(examineMachine(), 'driver-vm'))(
    'a camera in a driver VM works end to end, kept by the user, and where that is not possible it is said how',
    async () => {
      const cache = mkdtempSync(join(tmpdir(), 'postern-cache-'));
      chmodSync(cache, 0o777);
      const record = (env: NodeJS.ProcessEnv) =>
        run(process.execPath, [POSTERN, 'run', '--alone', ...DRIVERS, '--', 'v4l2-ctl', ...STREAM], {
          ...as,
          env,
        });
      try {
        await expect(record({ ...as.env, XDG_CACHE_HOME: join(cache, 'kept') })).resolves.toMatchObject({
          stderr: expect.stringContaining('<<<'),
        });
        expect(readdirSync(join(cache, 'kept', 'postern'))).toContain('driver-vm');
        writeFileSync(join(cache, 'file'), '');
        await expect(record({ ...as.env, XDG_CACHE_HOME: join(cache, 'file') })).rejects.toThrow(
          'XDG_CACHE_HOME',
        );
      } finally {
        rmSync(cache, { recursive: true });
      }
    },
  );

  it('the guest is who started it', async () => {
    expect(await guest('id', '-u')).toBe(`${NOBODY}\n`);
  });
});
