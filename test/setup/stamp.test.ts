import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { digestOf, filesBelow, readStamp, writeStamp } from '../../host/setup/stamp.mjs';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'postern-stamp-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe('digestOf', () => {
  it('changes with content, with names and with the salt, and with nothing else', () => {
    const [a, b] = [join(folder, 'a'), join(folder, 'b')];
    writeFileSync(a, 'same');
    writeFileSync(b, 'same');
    const first = digestOf(folder, [a]);
    expect(digestOf(folder, [a])).toBe(first);
    expect(digestOf(folder, [b])).not.toBe(first);
    expect(digestOf(folder, [a], 'another compiler')).not.toBe(first);
    writeFileSync(a, 'other');
    expect(digestOf(folder, [a])).not.toBe(first);
  });

  it('takes a file that has vanished for an absent one', () => {
    const gone = join(folder, 'gone');
    expect(digestOf(folder, [gone])).toMatch(/^[0-9a-f]{64}$/);
    writeFileSync(gone, 'back');
    expect(digestOf(folder, [gone])).not.toBe(digestOf(folder, []));
  });
});

describe('filesBelow', () => {
  it('goes into folders, sorted, and leaves out the folders that hold results', () => {
    for (const name of ['src', 'build', 'node_modules']) {
      mkdirSync(join(folder, name));
      writeFileSync(join(folder, name, 'file.ts'), '');
    }
    writeFileSync(join(folder, 'a.txt'), '');
    expect(filesBelow(folder)).toEqual([join(folder, 'a.txt'), join(folder, 'src', 'file.ts')]);
    expect(filesBelow(folder, (path) => path.endsWith('.ts'))).toEqual([join(folder, 'src', 'file.ts')]);
  });
});

describe('stamps', () => {
  it('are empty where no step has succeeded, and keep the digest after it has', () => {
    const stamp = join(folder, 'deep', 'stamp');
    expect(readStamp(stamp)).toBe('');
    writeStamp(stamp, 'abc');
    expect(readStamp(stamp)).toBe('abc');
  });
});
