import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { PolicyPackage } from '../../host/policy/store.js';
import { loadVectors } from '../../host/policy/vectors.js';
import { Preparer } from '../../host/serve/prepare.js';
import { isAlive, until } from '../cli/postern.js';
import { policyPackage } from '../policy/support.js';
import { variant } from './variants.js';

/** The niceness's place in /proc/PID/stat, counted after the command's name (proc_pid_stat(5)). */
const NICE_FIELD = 16;
const PARENT_FIELD = 1;

describe('what makes a module ready', () => {
  let pty: PolicyPackage;
  const preparer = new Preparer();

  beforeAll(async () => {
    pty = await policyPackage('pty');
  });
  afterEach(() => preparer.close());

  it('tries it in a process of its own, all of whose threads give way to guests, and which ends with the host', async () => {
    const { module, digest } = await preparer.prepare({ ...variant(pty, 1), vectors: loadVectors('pty') });
    expect(module).toBeInstanceOf(WebAssembly.Module);
    expect(digest).toBe(variant(pty, 1).digest);
    const trial = trialProcess();
    const threads = readdirSync(`/proc/${trial}/task`);
    expect(threads.length).toBeGreaterThan(1);
    const own = Number(statOf('self')[NICE_FIELD]);
    for (const thread of threads)
      expect(Number(statOf(`${trial}/task/${thread}`)[NICE_FIELD])).toBe(Math.min(19, own + 10));
    await preparer.prepare(variant(pty, 2));
    expect(trialProcess()).toBe(trial);
    await preparer.close();
    await until(() => !isAlive(trial), 'the process that tries modules to end');
  });

  it('says so when that process ends, and has another the next time', async () => {
    await preparer.prepare(variant(pty, 1));
    const first = trialProcess();
    process.kill(first, 'SIGSTOP');
    const prepared = preparer.prepare(variant(pty, 2));
    process.kill(first, 'SIGKILL');
    await expect(prepared).rejects.toThrow('The process that tries the module has ended.');
    await preparer.prepare(variant(pty, 2));
    const second = trialProcess();
    expect(second).not.toBe(first);
    process.kill(second, 'SIGKILL');
    await until(() => !existsSync(`/proc/${second}`), 'the process to end');
    await new Promise(setImmediate);
    await preparer.prepare(variant(pty, 1));
    expect(trialProcess()).not.toBe(second);
  });
});

/** Of this process's children the one that tries modules. */
function trialProcess(): number {
  const found = readdirSync('/proc').find(
    (pid) =>
      /^\d+$/.test(pid) &&
      commandOf(pid).includes('trial-process') &&
      Number(statOf(pid)[PARENT_FIELD]) === process.pid,
  );
  if (found === undefined) throw new Error('No process tries modules.');
  return Number(found);
}

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
}

function statOf(path: string): string[] {
  return readFileSync(`/proc/${path}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
}
