import { describe, expect, it } from 'vitest';
import { allOk, examineMachine } from '../../host/cli/doctor-checks.js';
import { chartsOf, textOf } from './report.js';
import { runSoak } from './run.js';
import { GUEST_NAMES } from './stand.js';

const checks = examineMachine();
const hasDriverVm = allOk(checks, 'required') && allOk(checks, 'driver-vm');
/** Slopes would need an hour's quarter at least. */
const MINUTES = 0.25;
/** Enough for two crashes. */
const CYCLES_MIN = 4;
const TIMEOUT_MS = 600_000;

describe.skipIf(!hasDriverVm)('a soak (needs a driver VM)', () => {
  it('keeps every guest at work through reloads, visitors and crashes', { timeout: TIMEOUT_MS }, async () => {
    const result = await runSoak({
      minutes: MINUTES,
      cyclesMin: CYCLES_MIN,
      cyclesACrash: 2,
      tell: () => {},
    });
    expect({ failed: result.failed, failures: result.failures }).toEqual({ failed: 0, failures: [] });
    expect(result.crashes).toBeGreaterThan(0);
    expect(result.reloads).toBeGreaterThan(0);
    const idle = GUEST_NAMES.filter((name) => !(result.operations[name] ?? 0));
    expect(idle).toEqual([]);
    for (const name of ['camera', 'mapper', 'sound'])
      expect({ name, lost: (result.lost[name] ?? 0) > 0 }).toEqual({ name, lost: true });
    const unseen = result.series.filter(({ points }) => points.length === 0).map(({ series }) => series.name);
    // A guest whose device was away in every sample has no latency to tell.
    expect(unseen.filter((name) => !/ (median|p99)$/.test(name))).toEqual([]);
    for (const chart of Object.values(chartsOf(result))) expect(chart).toContain('<polyline');
    expect(textOf(result)).toContain('descriptors');
  });
});
