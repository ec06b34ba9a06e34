import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import {
  DEBIAN_PACKAGES,
  installationCommand,
  installationObstacle,
  installDebianPackages,
  isOnPath,
  missingDebianPackages,
} from '../../host/setup/debian-packages.js';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'postern-debian-'));
  mkdirSync(join(folder, 'bin'));
  vi.stubEnv('PATH', join(folder, 'bin'));
});
afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true });
});

/** A program of that name on an otherwise empty PATH. */
function standIn(name: string, script: string): void {
  const path = join(folder, 'bin', name);
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
}

describe('missingDebianPackages', () => {
  it('names what dpkg does not have installed', () => {
    const others = DEBIAN_PACKAGES.filter(({ name }) => name !== 'gcc' && name !== 'kmod');
    const lines = [...others.map(({ name }) => `installed ${name}`), 'config-files kmod'];
    standIn('dpkg-query', `cat <<END\n${lines.join('\n')}\nEND\nexit 1`);
    vi.stubEnv('PATH', `${join(folder, 'bin')}:/bin:/usr/bin`);
    expect(missingDebianPackages().map(({ name }) => name)).toEqual(['gcc', 'kmod']);
  });

  it('names everything where there is no dpkg', () => {
    expect(missingDebianPackages()).toEqual(DEBIAN_PACKAGES);
  });
});

describe('installationObstacle', () => {
  it('is the absence of apt-get', () => {
    expect(isOnPath('apt-get')).toBe(false);
    expect(installationObstacle()).toBe('there is no apt-get on this machine');
  });

  it('is not being root', () => {
    standIn('apt-get', '');
    vi.spyOn(process, 'getuid').mockReturnValue(1000);
    expect(installationObstacle()).toBe('installing packages needs root');
    vi.spyOn(process, 'getuid').mockReturnValue(0);
    expect(installationObstacle()).toBe('');
  });
});

describe('installDebianPackages', () => {
  const wanted = [{ name: 'kmod', purpose: 'test' }];

  it('updates the lists, then installs without questions and without recommendations', async () => {
    standIn('apt-get', `echo "$DEBIAN_FRONTEND $*" >> ${folder}/calls; echo working`);
    const notes: string[] = [];
    await installDebianPackages(wanted, (text) => notes.push(text));
    expect(readFileSync(join(folder, 'calls'), 'utf8')).toBe(
      'noninteractive update\nnoninteractive install -y --no-install-recommends kmod\n',
    );
    expect(notes).toEqual(['working', 'working']);
  });

  it('fails with apt-get’s own words', async () => {
    standIn('apt-get', 'echo "E: Unable to fetch" >&2; exit 100');
    await expect(installDebianPackages(wanted, () => undefined)).rejects.toThrow(
      "'apt-get update' failed (status 100)\n  E: Unable to fetch",
    );
  });
});

describe('installationCommand', () => {
  it('is what a person would type', () => {
    expect(installationCommand([{ name: 'kmod', purpose: 'test' }])).toBe(
      'apt-get update && apt-get install -y --no-install-recommends kmod',
    );
  });
});
