import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { makeFolder } from '../../host/package/durable.js';
import { temporaryFolder } from './support.js';

describe('a folder of the store', () => {
  it('is made with those above it, for its owner alone', () => {
    const { folder, remove } = temporaryFolder();
    try {
      const path = join(folder, 'a b', 'c');
      makeFolder(path);
      makeFolder(path);
      for (const made of [path, join(folder, 'a b')]) expect(statSync(made).mode & 0o777).toBe(0o700);
    } finally {
      remove();
    }
  });

  it('is refused where a file system makes none', () => {
    expect(() => makeFolder('/proc/postern/policies')).toThrow('ENOENT');
    expect(existsSync('/proc/postern')).toBe(false);
  });
});
