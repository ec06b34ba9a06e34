import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { archiveOf } from '../../host/driver-vm/cpio.js';

const folder = mkdtempSync(join(tmpdir(), 'postern-cpio-'));
afterAll(() => rmSync(folder, { recursive: true }));

describe('the archive', () => {
  it('is unpacked by another program', () => {
    const contents = [0, 1, 2, 3, 4, 5, 4096].map((bytes) => Buffer.alloc(bytes, `${bytes}`));
    const archive = archiveOf([
      { path: 'etc', mode: 0o755 },
      ...contents.map((content) => ({ path: `etc/file-${content.length}`, mode: 0o640, content })),
    ]);
    execFileSync('busybox', ['cpio', '-id'], {
      cwd: folder,
      input: archive,
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    for (const content of contents) {
      const path = join(folder, 'etc', `file-${content.length}`);
      expect(readFileSync(path).equals(content)).toBe(true);
      expect(statSync(path).mode & 0o777).toBe(0o640);
    }
  });

  it('depends on nothing but its entries', () => {
    const entries = [{ path: 'init', mode: 0o755, content: Buffer.from('x') }];
    expect(archiveOf(entries).equals(archiveOf(entries))).toBe(true);
  });
});
