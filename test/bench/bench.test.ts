import { describe, expect, it } from 'vitest';
import { allOk, examineMachine } from '../../host/cli/doctor-checks.js';
import { benchStream } from './stream.js';
import { benchUntouched } from './untouched.js';

/** Ratios of one run say little on a machine that does something else meanwhile: they may be taken again. */
const RETRIES = 3;
const checks = examineMachine();
const hasDriverVm = allOk(checks, 'required') && allOk(checks, 'driver-vm');

describe('what a guest pays', () => {
  it.skipIf(!hasDriverVm)(
    'nothing of a camera’s frame rate (needs a driver VM)',
    { retry: RETRIES },
    async () => {
      const sizes = Object.values(await benchStream(true));
      expect(sizes.length).toBeGreaterThan(0);
      for (const { ratio, guestLost } of sizes) {
        expect(ratio).toBeGreaterThanOrEqual(0.98);
        expect(guestLost).toBeLessThanOrEqual(1);
      }
    },
  );

  it('at most a twentieth of ordinary input and output in blocks of 64 KiB', { retry: RETRIES }, async () => {
    const { ioRatio } = await benchUntouched(true);
    expect(ioRatio).toBeLessThanOrEqual(1.05);
  });
});
