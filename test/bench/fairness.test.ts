import { describe, expect, it } from 'vitest';
import { allOk, examineMachine } from '../../host/cli/doctor-checks.js';
import { floodedIn } from './fairness.js';
import { onStage } from './stage.js';

/** A ratio of few calls says little on a machine that does something else meanwhile: it may be taken again. */
const RETRIES = 3;
const TURNS = 3;
/** Twice what is promised, for so short a look; `npm run bench -- fairness` takes the figure. */
const RATIO_MAX = 10;
const checks = examineMachine();

describe('a guest beside one that floods the same device', () => {
  it.skipIf(!allOk(checks, 'required'))(
    'is served nearly as before, and so is the flood, by the local driver domain',
    { retry: RETRIES },
    () => isServed(false),
  );

  it.skipIf(!allOk(checks, 'required') || !allOk(checks, 'driver-vm'))(
    'is served nearly as before, and so is the flood, by a driver VM (needs one)',
    { retry: RETRIES },
    () => isServed(true),
  );

  async function isServed(byVm: boolean): Promise<void> {
    const figures = await onStage(true, async (stage) =>
      floodedIn(byVm ? await stage.vm() : await stage.local(), TURNS),
    );
    for (const { p99Ratio, floodPerSecond } of Object.values(figures)) {
      expect(p99Ratio).toBeLessThanOrEqual(RATIO_MAX);
      expect(floodPerSecond).toBeGreaterThan(0);
    }
  }
});
