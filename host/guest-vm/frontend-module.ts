import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { cp, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Kernel, Progress } from '../driver-vm/kernel.js';
import { runTool } from '../driver-vm/tools.js';
import { newWorkFolder } from '../driver-vm/work-folder.js';
import { ROOT } from '../root.js';
import { digestOf, filesBelow } from '../setup/stamp.mjs';

/** The module's name, as modprobe takes it. */
export const FRONTEND_MODULE = 'postern_frontend';
const SOURCES = join(ROOT, 'native', 'frontend-linux');
const PROTOCOL = join(ROOT, 'native', 'protocol', 'vm_frontend.h');
const HEADERS_FOLDER = join(ROOT, '.cache', 'kernel-headers');
const MODULE_FOLDER = join(ROOT, '.cache', 'frontend');

/** Packages of the headers of one kernel: what is built for it, what it shares with its flavours, and the build's own programs. */
const headerPackages = (release: string): string[] => [
  `linux-headers-${release}`,
  `linux-headers-${release.replace(/-amd64$/, '-common')}`,
  `linux-kbuild-${release.split('.').slice(0, 2).join('.')}`,
];

/**
 * Provides the frontend module for a kernel, built from native/frontend-linux against Debian's headers of the same release.
 * @returns the folder that holds it
 * @throws Error with apt's or the compiler's words
 */
export async function ensureFrontendModule({ release }: Kernel, progress: Progress): Promise<string> {
  const folder = join(MODULE_FOLDER, release);
  const stamp = join(folder, 'stamp');
  const digest = digestOf(ROOT, [...filesBelow(SOURCES), PROTOCOL], release);
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === digest) return folder;
  const headers = await ensureHeaders(release, progress);
  progress('building the frontend module of guest VMs');
  const work = await newWorkFolder(MODULE_FOLDER, 'build');
  try {
    await cp(SOURCES, work, { recursive: true });
    await cp(PROTOCOL, join(work, 'protocol', 'vm_frontend.h'));
    await runTool('make', ['-s', '-C', headers, `M=${work}`, 'modules'], 'Install gcc-12 and make.');
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { recursive: true });
    await rename(join(work, `${FRONTEND_MODULE}.ko`), join(folder, `${FRONTEND_MODULE}.ko`));
    await writeFile(stamp, digest);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return folder;
}

/** Debian's headers of a kernel, unpacked and never installed. The folder to build in. */
export async function ensureHeaders(release: string, progress: Progress): Promise<string> {
  const folder = join(HEADERS_FOLDER, release);
  const build = join(folder, 'usr', 'src', `linux-headers-${release}`);
  if (existsSync(build)) return build;
  progress(`downloading linux-headers-${release}`);
  const work = await newWorkFolder(HEADERS_FOLDER, 'headers');
  try {
    const advice = 'Check the network, run `apt-get update`, and try again.';
    const download = ['-o', 'APT::Sandbox::User=', 'download', ...headerPackages(release)];
    await runTool('apt-get', download, advice, work);
    const unpacked = join(work, 'unpacked');
    for (const archive of readdirSync(work).filter((name) => name.endsWith('.deb')))
      await runTool('dpkg', ['-x', join(work, archive), unpacked], 'Remove the download and try again.');
    const makefile = join(unpacked, 'usr', 'src', `linux-headers-${release}`, 'Makefile');
    await pointAtItself(makefile, join(folder, 'usr', 'src'));
    await rm(folder, { recursive: true, force: true });
    await rename(unpacked, folder);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return build;
}

/** Debian's Makefile names its own place below /usr/src. */
async function pointAtItself(makefile: string, place: string): Promise<void> {
  await writeFile(makefile, readFileSync(makefile, 'utf8').replaceAll('/usr/src/', `${place}/`));
}
