import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { allOk, examineMachine } from '../../host/cli/doctor-checks.js';
import { schemaFaults } from '../../host/policy/checked-json.js';
import { atMoment, describeMachine } from './machine.js';
import type { Figures } from './record.js';
import { Stage } from './stage.js';
import { benchStream } from './stream.js';
import { BENCHMARKS, NAMES, type Name } from './suite.js';
import { benchUntouched } from './untouched.js';

/** On a machine that does something else meanwhile the ratios of one run say little, and a sound card may give up: once more, then. */
const RETRIES = 3;
/** These are run below, by what they are to show. */
const SHOWN: ReadonlySet<Name> = new Set(['stream', 'untouched']);
/** Tested with what it measures: test/serve/reload.test.ts. */
const ELSEWHERE: ReadonlySet<Name> = new Set(['reload']);
const TEST_MS_MAX = 180_000;
const checks = examineMachine();
const hasDriverVm = allOk(checks, 'required') && allOk(checks, 'driver-vm');

const stage = new Stage(true);
beforeAll(async () => {
  if (hasDriverVm) await stage.guestVm();
}, TEST_MS_MAX);
afterAll(() => stage.close());

/** Demands that a benchmark's result is what `--json` promises. */
function demandContract(figures: Partial<Figures>): void {
  expect(schemaFaults({ machine: describeMachine(), measured: {}, ...figures }, 'bench.schema.json')).toEqual(
    [],
  );
}

describe('what a guest pays', () => {
  it.skipIf(!hasDriverVm)(
    'nothing of a camera’s frame rate (needs a driver VM)',
    { retry: RETRIES, timeout: TEST_MS_MAX },
    async () => {
      const stream = await benchStream(stage);
      demandContract({ stream });
      expect(Object.keys(stream).length).toBeGreaterThan(0);
      for (const { ratio, guestLost, guestCpuUs, directCpuUs } of Object.values(stream)) {
        expect(ratio).toBeGreaterThanOrEqual(0.98);
        expect(guestLost).toBeLessThanOrEqual(1);
        expect(guestCpuUs).toBeGreaterThan(0);
        expect(directCpuUs).toBeGreaterThan(0);
      }
    },
  );

  it('at most a twentieth of ordinary input and output in blocks of 64 KiB', { retry: RETRIES }, async () => {
    const untouched = await benchUntouched(stage);
    demandContract({ untouched });
    expect(untouched.ioRatio).toBeLessThanOrEqual(1.05);
  });
});

describe('the benchmark', () => {
  const others = NAMES.filter((name) => !SHOWN.has(name) && !ELSEWHERE.has(name));

  it.skipIf(!hasDriverVm).each(others)(
    '%s gives what schemas/bench.schema.json has (needs a driver VM)',
    { retry: RETRIES, timeout: TEST_MS_MAX },
    async (name) => {
      const { result, moment } = await atMoment<unknown>(() => BENCHMARKS[name](stage));
      demandContract({ measured: { [name]: moment }, [name]: result });
    },
  );
});
