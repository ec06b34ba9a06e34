import { ensureKernel, presentKernel } from '../driver-vm/kernel.js';
import { installationObstacle, updatePackageLists } from './debian-packages.js';
import { withProgress } from './progress.js';

/**
 * Provides the driver VM's kernel. Where apt cannot find or fetch the package, its lists may be absent or old: where this
 * process may, it updates them and tries once more.
 * @returns whether anything had to be done
 * @throws Error with apt's own words
 */
export async function provideKernel(): Promise<boolean> {
  if (presentKernel() !== undefined) return false;
  await withProgress('Fetching the kernel of the driver VM', async (note) => {
    try {
      await ensureKernel(note);
    } catch (error) {
      if (installationObstacle() !== '') throw error;
      await updatePackageLists(note);
      await ensureKernel(note);
    }
  });
  return true;
}
