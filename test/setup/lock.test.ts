import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { withLock } from '../../host/setup/lock.mjs';

let folder = '';
let lockFile = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'postern-lock-'));
  lockFile = join(folder, 'cache', 'setup.lock');
});
afterEach(() => rmSync(folder, { recursive: true }));

const unheard = (text: string): never => {
  throw new Error(`nobody had to be waited for: ${text}`);
};

describe('withLock', () => {
  it('names its holder while the work runs, and leaves nothing', async () => {
    const seen = await withLock(lockFile, async () => readFileSync(lockFile, 'utf8'), unheard);
    expect(seen).toBe(`${process.pid}\n`);
    expect(readdirSync(join(folder, 'cache'))).toEqual([]);
  });

  it('is given back when the work fails', async () => {
    const failing = withLock(lockFile, () => Promise.reject(new Error('no compiler')), unheard);
    await expect(failing).rejects.toThrow('no compiler');
    expect(existsSync(lockFile)).toBe(false);
  });

  it('lets one in at a time', async () => {
    const order: string[] = [];
    const waits: string[] = [];
    const enter = (name: string) => async () => {
      order.push(`${name} in`);
      await new Promise((resolve) => setTimeout(resolve, 20));
      order.push(`${name} out`);
    };
    const say = (text: string): void => {
      waits.push(text);
    };
    await Promise.all([withLock(lockFile, enter('a'), say), withLock(lockFile, enter('b'), say)]);
    expect(order).toEqual(['a in', 'a out', 'b in', 'b out']);
    expect(waits).toEqual([`Waiting for another set-up (process ${process.pid}) to finish.`]);
  });

  it('is taken over from a process that is gone', async () => {
    const { pid } = spawnSync('true');
    await withLock(lockFile, async () => undefined, unheard);
    writeFileSync(lockFile, `${pid}\n`);
    const waits: string[] = [];
    await withLock(
      lockFile,
      async () => undefined,
      (text) => waits.push(text),
    );
    expect(existsSync(lockFile)).toBe(false);
  });
});
