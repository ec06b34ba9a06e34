import { existsSync, readFileSync } from 'node:fs';
import { cp, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ownCache, SHARED_CACHE } from '../cache.js';
import type { Kernel, Progress } from '../driver-vm/kernel.js';
import { newWorkFolder } from '../driver-vm/work-folder.js';
import { ROOT } from '../root.js';
import { digestOf, filesBelow } from '../setup/stamp.mjs';
import { buildModule, ensureHeaders } from './kernel-headers.js';

/** The module's name, as modprobe takes it. */
export const FRONTEND_MODULE = 'postern_frontend';
const SOURCES = join(ROOT, 'native', 'frontend-linux');
const PROTOCOL = join(ROOT, 'native', 'protocol', 'vm_frontend.h');

/**
 * Provides the frontend module for a kernel, built from native/frontend-linux against Debian's headers of the same release.
 * @returns the folder that holds it
 * @throws Error with apt's or the compiler's words
 */
export async function ensureFrontendModule(kernel: Kernel, progress: Progress): Promise<string> {
  return await ensureVmModule(
    kernel,
    { name: FRONTEND_MODULE, sources: SOURCES, kept: 'frontend' },
    progress,
  );
}

/** A module for guest VMs: its name, the folder of its sources, and that below `.cache` where it is kept. */
export interface VmModule {
  name: string;
  sources: string;
  kept: string;
}

/**
 * Provides a module that speaks the frontend's protocol, for a kernel.
 * @returns the folder that holds it
 * @throws Error with apt's or the compiler's words
 */
export async function ensureVmModule(
  { release }: Kernel,
  { name, sources, kept }: VmModule,
  progress: Progress,
): Promise<string> {
  const digest = digestOf(ROOT, [...filesBelow(sources), PROTOCOL], release);
  const isUpToDate = (built: string): boolean =>
    existsSync(join(built, 'stamp')) && readFileSync(join(built, 'stamp'), 'utf8') === digest;
  const modules = join(ownCache(), kept);
  const folder = join(modules, release);
  const built = [join(SHARED_CACHE, kept, release), folder].find(isUpToDate);
  if (built !== undefined) return built;
  const headers = await ensureHeaders(release, progress);
  progress(`building the module ${name} for guest VMs`);
  const work = await newWorkFolder(modules, 'build');
  try {
    await cp(sources, work, { recursive: true });
    await cp(PROTOCOL, join(work, 'protocol', 'vm_frontend.h'));
    await buildModule(headers, work);
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { recursive: true });
    await rename(join(work, `${name}.ko`), join(folder, `${name}.ko`));
    await writeFile(join(folder, 'stamp'), digest);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return folder;
}
