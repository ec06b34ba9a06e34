import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { presentKernel } from '../driver-vm/kernel.js';
import { ROOT } from '../root.js';

const SOURCES = join(ROOT, 'test', 'netmap');
const MODULES = join(ROOT, '.cache', 'test-modules');

/** The installed kernel headers that a module for the driver VM is built with; '' where there are none. */
export function kernelHeaders(): string {
  const folder = `/usr/src/linux-headers-${presentKernel()?.release ?? ''}`;
  return existsSync(join(folder, 'Makefile')) ? folder : '';
}

/**
 * Builds the stand-in for the netmap module. The folder that has it, for `--modules`.
 * @throws Error with the compiler's words
 */
export function buildNetmapModule(headers: string): string {
  mkdirSync(MODULES, { recursive: true });
  for (const file of readdirSync(SOURCES)) copyFileSync(join(SOURCES, file), join(MODULES, file));
  const { status, stdout, stderr } = spawnSync('make', ['-s', '-C', headers, `M=${MODULES}`, 'modules'], {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`The stand-in for netmap does not compile:\n${stdout}${stderr}`);
  return MODULES;
}
