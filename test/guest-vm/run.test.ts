import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { verifyLog } from '../../host/audit/verify.js';
import { allOk, examineMachine } from '../../host/cli/doctor-checks.js';
import { descendantsOf, isAlive, MAIN, postern, RunningPostern, until } from '../cli/postern.js';

/** Node itself ignores the signal, so the status is what shells report of it. */
const SIGPIPE_STATUS = 141;
const VM_RUN = ['vm', 'run', '--device', 'video0'];
const folder = mkdtempSync(join(tmpdir(), 'postern-vm-run-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.skipIf(!allOk(examineMachine(), 'required'))('postern vm run', () => {
  it('passes standard input, both outputs and the exit status', () => {
    const script = 'cat; pwd; test -c /dev/video0 && echo yes >&2; exit 7';
    const { status, out, err } = postern([...VM_RUN, '--', 'sh', '-c', script], 'into the VM\n');
    expect(out).toBe(`into the VM\n${process.cwd()}\n`);
    expect(err).toBe('yes\n');
    expect(status).toBe(7);
  });

  it('ends by the signal that ended the program, and its decisions are in the log that was asked for', () => {
    const path = join(folder, 'decisions.log');
    const script = 'v4l2-ctl --get-ctrl=brightness; v4l2-ctl --stream-user --stream-count=1; kill -KILL $$';
    const logged = [...VM_RUN, '--audit-log', path, '--', 'sh', '-c', script];
    const { status, signal, out } = postern(logged);
    expect({ status, signal }).toEqual({ status: null, signal: 'SIGKILL' });
    expect(out).toMatch(/^brightness: \d+/);
    const head = JSON.parse(readFileSync(`${path}.head`, 'utf8'));
    expect(verifyLog([path], head)).toMatchObject({ faults: [] });
    const lines: Record<string, unknown>[] = readFileSync(path, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    const decided = lines.filter(({ kind }) => kind === 'decision');
    const asked = { guest: 'sh', class: 'v4l2' };
    expect(decided).toContainEqual(
      expect.objectContaining({ ...asked, command: 'VIDIOC_QUERYCAP', verdict: 'allow', outcome: 0 }),
    );
    expect(decided).toContainEqual(
      expect.objectContaining({ ...asked, command: 'VIDIOC_REQBUFS', verdict: 'deny', outcome: 'EINVAL' }),
    );
    // A process number of the guest's kernel names none of this machine's programs.
    expect(decided.filter((line) => 'program' in line)).toEqual([]);
  });

  it('ends by the signal that it gets, both VMs with it', async () => {
    const running = new RunningPostern([...VM_RUN, '--', 'sh', '-c', 'echo up; exec sleep 1000']);
    try {
      await running.printed('up');
      const pid = running.child.pid as number;
      const below = descendantsOf(pid);
      expect(below.length).toBeGreaterThanOrEqual(2);
      running.child.kill('SIGTERM');
      expect(await running.end()).toEqual({ status: null, signal: 'SIGTERM' });
      await until(() => !below.some(isAlive), 'both VMs to end');
    } finally {
      running.child.kill('SIGKILL');
    }
  });

  it('ends with the status of SIGPIPE when nobody reads what its program writes, both VMs with it', async () => {
    const child = spawn(process.execPath, [MAIN, ...VM_RUN, '--', 'yes'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    try {
      await once(child.stdout, 'data');
      const below = descendantsOf(child.pid as number);
      const exit = once(child, 'exit');
      child.stdout.destroy();
      expect(await exit).toEqual([SIGPIPE_STATUS, null]);
      await until(() => !below.some(isAlive), 'both VMs to end');
    } finally {
      child.kill('SIGKILL');
    }
  });

  it('refuses a device that is not there, by name', () => {
    const { status, err } = postern(['vm', 'run', '--device', 'video99', '--', 'true']);
    expect(status).toBe(125);
    expect(err).toContain("The driver domain has no device 'video99'");
  });
});
