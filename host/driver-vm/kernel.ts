import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ROOT } from '../root.js';
import { runTool } from './tools.js';
import { extractVmlinux } from './vmlinux.js';
import { newWorkFolder } from './work-folder.js';

/** Debian's package that depends on the current kernel's package, whose name carries the ABI number. */
const META_PACKAGE = 'linux-image-amd64';
const KERNEL_FOLDER = join(ROOT, '.cache', 'kernel');
const RECORD_FILE = join(KERNEL_FOLDER, 'kernel.json');

/** A kernel that is unpacked below `.cache/kernel`, never installed. */
export interface Kernel {
  /** As `uname -r` says it, such as 6.1.0-56-amd64. */
  release: string;
  /** The ELF image for QEMU's PVH boot. */
  vmlinux: string;
  /** SHA-256 of the image, in hex: part of a snapshot's key. */
  digest: string;
  /** The folder that holds lib/modules/<release>, with depmod's files. */
  modulesRoot: string;
}

/** What is happening now, in a few words. */
export type Progress = (text: string) => void;

/**
 * Provides Debian's kernel and modules. With the kernel in place it costs one small read.
 * @throws Error when this machine has no apt, no package lists, or no network
 */
export async function ensureKernel(progress: Progress): Promise<Kernel> {
  const present = presentKernel();
  if (present !== undefined) return present;
  const work = await newWorkFolder(KERNEL_FOLDER, 'kernel');
  try {
    return await fetchInto(work, progress);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** The kernel that an earlier set-up has left, if it is whole. */
export function presentKernel(): Kernel | undefined {
  if (!existsSync(RECORD_FILE)) return undefined;
  const { release, digest } = JSON.parse(readFileSync(RECORD_FILE, 'utf8')) as Kernel;
  const kernel = { release, digest, ...placesOf(join(KERNEL_FOLDER, release)) };
  const isWhole =
    existsSync(kernel.vmlinux) && existsSync(join(kernel.modulesRoot, 'lib', 'modules', release));
  return isWhole ? kernel : undefined;
}

function placesOf(folder: string): Pick<Kernel, 'vmlinux' | 'modulesRoot'> {
  return { vmlinux: join(folder, 'vmlinux'), modulesRoot: folder };
}

async function fetchInto(work: string, progress: Progress): Promise<Kernel> {
  progress("asking for the kernel package's name");
  const packageName = await currentKernelPackage();
  progress(`downloading ${packageName}`);
  const archive = await download(packageName, work);
  progress(`unpacking ${packageName}`);
  const unpacked = join(work, 'unpacked');
  await runTool('dpkg', ['-x', archive, unpacked], 'Remove the download and try again.');
  const release = await onlyEntryOf(join(unpacked, 'lib', 'modules'));
  progress('listing the module dependencies');
  await runTool('depmod', ['-b', unpacked, release], 'Install the package kmod.');
  progress('extracting vmlinux');
  const digest = await putVmlinux(unpacked, release);
  await dropWhatIsNotUsed(unpacked);
  return await putInPlace(unpacked, release, digest);
}

async function currentKernelPackage(): Promise<string> {
  const advice = 'The driver VM needs Debian: run `apt-get update` and try again.';
  const listing = await runTool('apt-cache', ['depends', META_PACKAGE], advice);
  const name = listing.match(/^\s*Depends:\s+(linux-image-[\w.+-]+)$/m)?.[1];
  if (name === undefined)
    throw new Error(`apt-cache names no kernel that ${META_PACKAGE} depends on. ${advice}`);
  return name;
}

async function download(packageName: string, folder: string): Promise<string> {
  const advice = 'Check the network, run `apt-get update`, and try again.';
  // Without a sandbox user: that user could not write into a folder that only this user may enter.
  await runTool('apt-get', ['-o', 'APT::Sandbox::User=', 'download', packageName], advice, folder);
  const archive = (await readdir(folder)).find((name) => name.endsWith('.deb'));
  if (archive === undefined) throw new Error(`apt-get has downloaded no file for ${packageName}. ${advice}`);
  return join(folder, archive);
}

async function onlyEntryOf(folder: string): Promise<string> {
  const [entry, ...others] = await readdir(folder);
  if (entry === undefined || others.length > 0) {
    throw new Error(
      `${folder} holds ${others.length === 0 ? 'nothing' : 'several entries'}: expected one kernel.`,
    );
  }
  return entry;
}

async function putVmlinux(unpacked: string, release: string): Promise<string> {
  const vmlinux = await extractVmlinux(await readFile(join(unpacked, 'boot', `vmlinuz-${release}`)));
  await writeFile(placesOf(unpacked).vmlinux, vmlinux, { mode: 0o644 });
  return createHash('sha256').update(vmlinux).digest('hex');
}

async function dropWhatIsNotUsed(unpacked: string): Promise<void> {
  for (const part of ['boot', 'usr']) await rm(join(unpacked, part), { recursive: true, force: true });
}

/** The record comes last: with it, the kernel is whole. */
async function putInPlace(unpacked: string, release: string, digest: string): Promise<Kernel> {
  const folder = join(KERNEL_FOLDER, release);
  await rm(folder, { recursive: true, force: true });
  await rename(unpacked, folder);
  const record = join(unpacked, '..', 'kernel.json');
  await writeFile(record, `${JSON.stringify({ release, digest })}\n`);
  await rename(record, RECORD_FILE);
  return { release, digest, ...placesOf(folder) };
}
