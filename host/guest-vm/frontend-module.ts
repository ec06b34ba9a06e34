import { existsSync, readFileSync } from 'node:fs';
import { cp, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Kernel, Progress } from '../driver-vm/kernel.js';
import { newWorkFolder } from '../driver-vm/work-folder.js';
import { ROOT } from '../root.js';
import { digestOf, filesBelow } from '../setup/stamp.mjs';
import { buildModule, ensureHeaders } from './kernel-headers.js';

/** The module's name, as modprobe takes it. */
export const FRONTEND_MODULE = 'postern_frontend';
const SOURCES = join(ROOT, 'native', 'frontend-linux');
const PROTOCOL = join(ROOT, 'native', 'protocol', 'vm_frontend.h');
const MODULE_FOLDER = join(ROOT, '.cache', 'frontend');

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
    await buildModule(headers, work);
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { recursive: true });
    await rename(join(work, `${FRONTEND_MODULE}.ko`), join(folder, `${FRONTEND_MODULE}.ko`));
    await writeFile(stamp, digest);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return folder;
}
