import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { allOk, examineMachine } from '../../host/cli/doctor-checks.js';
import { everyServedDevice } from '../../host/cli/driver-domain.js';
import { compileGuestProgram, RENDER_LIBRARIES } from '../../host/cli/guest-program.js';
import type { DriverVm } from '../../host/driver-vm/driver-vm.js';
import { isOnPath } from '../../host/setup/debian-packages.js';
import { Bench, type GuestOutcome } from '../mediator/support.js';

const checks = examineMachine();
const hasDriverVm = allOk(checks, 'required') && allOk(checks, 'driver-vm') && isOnPath('Xvfb');
const NODE = '/dev/dri/renderD128';
const FRAMES = 24;
/** Mesa submits a frame's commands and waits for its pixels: 2 operations. Far more would be a loop that polls. */
const FRAME_OPERATIONS_MAX = 6;

let bench: Bench<DriverVm>;
let program: string;

async function guest(frames: number): Promise<GuestOutcome> {
  return await bench.guest([program, NODE, String(frames)], {
    devices: await everyServedDevice(bench.domain),
  });
}

describe.skipIf(!hasDriverVm)('a Mesa program on a render node with virgl', () => {
  beforeAll(async () => {
    program = compileGuestProgram('render', 'guests', RENDER_LIBRARIES);
    bench = await Bench.vm(['virtio-gpu-gl'], true);
  });
  afterAll(() => bench?.close());

  it('draws as a guest what it draws beside the driver, pixel by pixel', async () => {
    const { out, exitCode } = await guest(FRAMES);
    expect(exitCode).toBe(0);
    expect(out).toMatch(/^renderer virgl/m);
    // The texture's first and last texel, and the triangle's middle.
    expect(out).toMatch(/^frame 0 [0-9a-f]{16} 0,0:000080ff 255,191:fcfc80ff 128,96:8080feff$/m);
    const sums = [...out.matchAll(/^frame \d+ ([0-9a-f]{16})/gm)].map(([, sum]) => sum);
    expect(new Set(sums).size).toBe(FRAMES);
    const direct = await bench.beside([
      'sh',
      '-c',
      `MESA_SHADER_CACHE_DISABLE=true ${program} ${NODE} ${FRAMES}`,
    ]);
    expect(out).toBe(direct);
  });

  it('draws for two guests at once', async () => {
    const [one, other] = await Promise.all([guest(FRAMES), guest(FRAMES)]);
    expect(one.out).toMatch(new RegExp(`^frame ${FRAMES - 1} `, 'm'));
    expect(other.out).toBe(one.out);
  });

  it('needs a few operations a frame', async () => {
    const [few, many] = [await guest(FRAMES), await guest(3 * FRAMES)];
    const operations = many.counters.operationsAllowed - few.counters.operationsAllowed;
    expect(operations / (2 * FRAMES)).toBeGreaterThan(0);
    expect(operations / (2 * FRAMES)).toBeLessThanOrEqual(FRAME_OPERATIONS_MAX);
    expect(many.counters.operationsDenied).toBe(0);
  });
});
