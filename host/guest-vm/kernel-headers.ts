import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Progress } from '../driver-vm/kernel.js';
import { runTool } from '../driver-vm/tools.js';
import { newWorkFolder } from '../driver-vm/work-folder.js';
import { ROOT } from '../root.js';

const HEADERS_FOLDER = join(ROOT, '.cache', 'kernel-headers');

/** Packages of the headers of one kernel: what is built for it, what it shares with its flavours, and the build's own programs. */
const headerPackages = (release: string): string[] => [
  `linux-headers-${release}`,
  `linux-headers-${release.replace(/-amd64$/, '-common')}`,
  `linux-kbuild-${release.split('.').slice(0, 2).join('.')}`,
];

/** The folder of a kernel's headers that are installed on this machine; '' where there are none. */
export function installedHeaders(release: string): string {
  const folder = `/usr/src/linux-headers-${release}`;
  return existsSync(join(folder, 'Makefile')) ? folder : '';
}

/**
 * Debian's headers of a kernel: those that are installed, else unpacked below `.cache` and never installed. The folder to build in.
 * @throws Error with apt's words
 */
export async function ensureHeaders(release: string, progress: Progress): Promise<string> {
  const installed = installedHeaders(release);
  if (installed !== '') return installed;
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

/**
 * Builds the kernel module whose sources and Kbuild file are in `folder`, which also gets what the build leaves.
 * @throws Error with the compiler's words
 */
export async function buildModule(headers: string, folder: string): Promise<void> {
  await runTool('make', ['-s', '-C', headers, `M=${folder}`, 'modules'], 'Install gcc-12 and make.');
}
