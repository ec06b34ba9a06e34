import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { runCommand } from './command.js';
import type { Note } from './progress.js';

export interface DebianPackage {
  name: string;
  /** What does not work without it. */
  purpose: string;
}

/** What Postern takes from Debian (bookworm); nothing of it is copied into this repository. */
export const DEBIAN_PACKAGES: readonly DebianPackage[] = [
  { name: 'gcc', purpose: 'native builds' },
  { name: 'g++', purpose: 'native builds' },
  { name: 'make', purpose: 'native builds' },
  { name: 'python3', purpose: 'native builds (node-gyp)' },
  { name: 'linux-libc-dev', purpose: 'native builds and policy layouts (kernel headers)' },
  { name: 'qemu-system-x86', purpose: 'driver VM' },
  { name: 'busybox-static', purpose: 'driver VM (initramfs)' },
  { name: 'kmod', purpose: 'driver VM (module dependencies)' },
  { name: 'v4l-utils', purpose: 'demonstration and V4L2 compliance' },
  { name: 'evtest', purpose: 'input device compliance' },
  { name: 'alsa-utils', purpose: 'ALSA compliance' },
  { name: 'socat', purpose: 'demonstration without a driver VM' },
  { name: 'libdrm-dev', purpose: 'policy layouts (DRM headers)' },
  { name: 'libdrm-tests', purpose: 'DRM compliance (modetest)' },
  { name: 'qemu-system-gui', purpose: 'driver VM with a graphics card that renders (virtio-gpu-gl)' },
  { name: 'xvfb', purpose: 'driver VM with a graphics card that renders (virtio-gpu-gl)' },
  { name: 'libgl1-mesa-dri', purpose: 'driver VM with a graphics card that renders (virtio-gpu-gl)' },
  { name: 'libegl-dev', purpose: 'rendering compliance' },
  { name: 'libgles-dev', purpose: 'rendering compliance' },
  { name: 'libgbm-dev', purpose: 'rendering compliance' },
  { name: 'kmscube', purpose: 'rendering compliance' },
  { name: 'libegl-mesa0', purpose: 'rendering compliance' },
  { name: 'linux-headers-amd64', purpose: 'a kernel module for tests (netmap)' },
  { name: 'libvirt-clients', purpose: 'a test of the domain for libvirt' },
  { name: 'chromium', purpose: 'tests of the isolation report in a browser' },
  { name: 'zsh', purpose: 'tests of shell completion' },
  { name: 'fish', purpose: 'tests of shell completion' },
  { name: 'clang', purpose: 'sanitizer tests' },
  { name: 'libclang-rt-14-dev', purpose: 'sanitizer tests' },
];

/** The packages of DEBIAN_PACKAGES that dpkg does not have installed; all of them where there is no dpkg. */
export function missingDebianPackages(): DebianPackage[] {
  const names = DEBIAN_PACKAGES.map(({ name }) => name);
  // biome-ignore lint/suspicious/noTemplateCurlyInString: the placeholders are dpkg-query's own.
  const format = '${db:Status-Status} ${Package}\\n';
  const query = spawnSync('dpkg-query', ['-W', '-f', format, ...names], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const installed = new Set((query.stdout ?? '').split('\n'));
  return DEBIAN_PACKAGES.filter(({ name }) => !installed.has(`installed ${name}`));
}

/** The command that a person would type to install `packages`. */
export function installationCommand(packages: readonly DebianPackage[]): string {
  return `apt-get update && apt-get install -y --no-install-recommends ${packages.map(({ name }) => name).join(' ')}`;
}

/** Why this process cannot install Debian packages, or '' when it can. */
export function installationObstacle(): string {
  if (!isOnPath('apt-get')) return 'there is no apt-get on this machine';
  if (process.getuid?.() !== 0) return 'installing packages needs root';
  return '';
}

/**
 * Installs `packages` by apt-get.
 * @throws Error with apt-get's own words
 */
export async function installDebianPackages(packages: readonly DebianPackage[], note: Note): Promise<void> {
  await updatePackageLists(note);
  const names = packages.map(({ name }) => name);
  await aptGet(['install', '-y', '--no-install-recommends', ...names], note);
}

/**
 * Fetches apt's lists of packages anew.
 * @throws Error with apt-get's own words
 */
export async function updatePackageLists(note: Note): Promise<void> {
  await aptGet(['update'], note);
}

async function aptGet(parameters: readonly string[], note: Note): Promise<void> {
  const environment = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  await runCommand('apt-get', parameters, { environment, onLine: note });
}

/** Whether `program` is an executable file in one of PATH's folders. */
export function isOnPath(program: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
