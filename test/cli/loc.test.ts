import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT } from '../../host/root.js';

const POLICIES = join(ROOT, 'policies');

function loc(...parameters: string[]): string {
  const program = join(ROOT, 'dist', 'host', 'cli', 'loc.js');
  const { status, stdout } = spawnSync(process.execPath, [program, ...parameters], { encoding: 'utf8' });
  expect(status).toBe(0);
  return stdout;
}

const linesOf = (file: string): number => readFileSync(join(POLICIES, file), 'utf8').split('\n').length - 1;

const classFiles = readdirSync(POLICIES).filter((file) => file.endsWith('.ts'));

describe('npm run loc', () => {
  it('counts every line of the class-specific code, of the kit, of the host and of the native parts', () => {
    const counts = JSON.parse(loc('--json'));
    expect(Object.keys(counts)).toEqual(['classSpecific', 'sdk', 'host', 'native']);
    expect(counts.classSpecific).toBe(classFiles.map(linesOf).reduce((sum, lines) => sum + lines));
    for (const count of Object.values(counts)) expect(count).toBeGreaterThan(100);
  });

  it('tells each class, and the sum of those that the paper has', () => {
    const text = loc();
    expect(text).toMatch(new RegExp(`^v4l2\\s+${linesOf('v4l2.ts')}\\s`, 'm'));
    expect(text).toMatch(/^media \(extra\)\s+\d+/m);
    const sum = Number(text.match(/^the paper's classes\s+(\d+)/m)?.[1]);
    expect(sum).toBe(
      classFiles
        .filter((file) => !/^(dma-buf|media|pty)\b/.test(file))
        .map(linesOf)
        .reduce((total, lines) => total + lines),
    );
    // The bound is the program's own: the paper's number of lines for the same classes.
    const bound = Number(text.match(/The paper's classes are within the bound of (\d+)/)?.[1]);
    expect(sum).toBeLessThanOrEqual(bound);
  });
});
