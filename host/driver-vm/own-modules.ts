import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Kernel } from './kernel.js';
import { runTool } from './tools.js';

/** A module's file, or undefined where the folder has none of that name: the kernel's own is meant then. */
export type FindOwnModule = (name: string) => OwnModule | undefined;

export interface OwnModule {
  file: string;
  /** Names of the modules that must be loaded before it. */
  depends(): Promise<string[]>;
}

const NO_MODULES: FindOwnModule = () => undefined;

/**
 * A folder of kernel modules (NAME.ko) that are used in place of the kernel's own of the same names.
 * @throws Error when the folder is not there
 */
export function ownModules(folder: string | undefined, { release }: Kernel): FindOwnModule {
  if (folder === undefined) return NO_MODULES;
  const path = checkedFolder(folder);
  const files = new Map(
    readdirSync(path)
      .filter((file) => file.endsWith('.ko'))
      .map((file): [string, string] => [canonical(file.slice(0, -'.ko'.length)), join(path, file)]),
  );
  return (name) => {
    const file = files.get(canonical(name));
    return file === undefined ? undefined : { file, depends: () => dependsOf(file, release) };
  };
}

/**
 * The kernel with the image that the folder holds as `vmlinux`, if it does: an ELF image with a PVH entry, of the same release.
 * @throws Error when the folder is not there
 */
export function withOwnImage(kernel: Kernel, folder: string | undefined): Kernel {
  if (folder === undefined) return kernel;
  const vmlinux = join(checkedFolder(folder), 'vmlinux');
  if (!existsSync(vmlinux)) return kernel;
  return { ...kernel, vmlinux, digest: createHash('sha256').update(readFileSync(vmlinux)).digest('hex') };
}

function checkedFolder(folder: string): string {
  const path = resolve(folder);
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) return path;
  throw new Error(`${path} is no folder: --modules expects one with kernel modules (NAME.ko).`);
}

/** Module names have - and _ in common (modprobe(8)). */
function canonical(name: string): string {
  return name.replaceAll('-', '_');
}

async function dependsOf(file: string, release: string): Promise<string[]> {
  const advice = 'It must be an uncompressed kernel module.';
  const [builtFor = ''] = (await runTool('modinfo', ['-F', 'vermagic', file], advice)).split(' ');
  if (builtFor.trim() !== release)
    throw new Error(
      `${file} is built for kernel ${builtFor.trim() || 'unknown'}, but the driver VM has ${release}. Build it for that one ` +
        `(Debian's package linux-headers-${release} has what that needs).`,
    );
  const depends = await runTool('modinfo', ['-F', 'depends', file], advice);
  return depends.trim().split(',').filter(Boolean);
}
