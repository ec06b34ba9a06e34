import { copyFileSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { presentKernel } from '../driver-vm/kernel.js';
import { buildModule, installedHeaders } from '../guest-vm/kernel-headers.js';
import { ROOT } from '../root.js';

const SOURCES = join(ROOT, 'test', 'netmap');
const MODULES = join(ROOT, '.cache', 'test-modules');

/** The installed kernel headers that a module for the driver VM is built with; '' where there are none. */
export function kernelHeaders(): string {
  return installedHeaders(presentKernel()?.release ?? '');
}

/**
 * Builds the stand-in for the netmap module. The folder that has it, for `--modules`.
 * @throws Error with the compiler's words
 */
export async function buildNetmapModule(headers: string): Promise<string> {
  mkdirSync(MODULES, { recursive: true });
  for (const file of readdirSync(SOURCES)) copyFileSync(join(SOURCES, file), join(MODULES, file));
  await buildModule(headers, MODULES);
  return MODULES;
}
