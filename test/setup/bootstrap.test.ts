import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ROOT } from '../../host/root.js';

const BOOTSTRAP = join('host', 'setup', 'bootstrap.mjs');

function bootstrap(
  root: string,
  ...parameters: string[]
): { status: number | null; out: string; err: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, BOOTSTRAP), ...parameters], {
    encoding: 'utf8',
  });
  return { status, out: stdout, err: stderr };
}

describe('the set-up of this repository', () => {
  it('has nothing to do the second time', () => {
    bootstrap(ROOT);
    expect(bootstrap(ROOT)).toEqual({ status: 0, out: '', err: 'Everything is set up.\n' });
  });

  it('refuses an unknown target and names those that exist', () => {
    const { status, err } = bootstrap(ROOT, 'strat');
    expect(status).toBe(1);
    expect(err).toContain(
      "Unknown target 'strat': expected setup, build, start, compliance, bench, hostile, soak, fuzz, mutants, loc, test.",
    );
  });
});

describe('compiling', () => {
  let root = '';
  const source = (name: string): string => join(root, 'host', name);
  const compiled = (name: string): boolean => existsSync(join(root, 'dist', 'host', name));

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'postern-bootstrap-'));
    for (const name of ['package.json', 'package-lock.json', 'tsconfig.json', 'host/setup'])
      cpSync(join(ROOT, name), join(root, name), {
        recursive: true,
        filter: (path) => !path.endsWith('.ts'),
      });
    symlinkSync(join(ROOT, 'node_modules'), join(root, 'node_modules'));
    mkdirSync(join(root, 'test'));
    writeFileSync(source('first.ts'), 'export const first: number = 1;\n');
  });
  afterEach(() => rmSync(root, { recursive: true }));

  it('happens when a source is new or changed, and leaves no result without a source', () => {
    expect(bootstrap(root, 'build')).toMatchObject({ status: 0, err: expect.stringContaining('Compiling') });
    expect(compiled('first.js')).toBe(true);
    expect(bootstrap(root, 'build')).toEqual({ status: 0, out: '', err: '' });
    rmSync(source('first.ts'));
    writeFileSync(source('second.ts'), 'export const second: number = 2;\n');
    expect(bootstrap(root, 'build')).toMatchObject({ status: 0, err: expect.stringContaining('Compiling') });
    expect([compiled('first.js'), compiled('first.js.map'), compiled('second.js')]).toEqual([
      false,
      false,
      true,
    ]);
  });

  it('fails with the compiler’s words, and does not count as done', () => {
    writeFileSync(source('first.ts'), "export const first: number = 'one';\n");
    for (const _attempt of [1, 2]) {
      const { status, err } = bootstrap(root, 'build');
      expect(status).toBe(1);
      expect(err).toContain("Type 'string' is not assignable to type 'number'");
    }
  });
});
