import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { PNG } from 'pngjs';
import { describe, expect, it } from 'vitest';
import { allOk, examineMachine } from '../../host/cli/doctor-checks.js';
import { ROOT } from '../../host/root.js';

const checks = examineMachine();
const hasDriverVm = allOk(checks, 'required') && allOk(checks, 'driver-vm');
const PICTURE = join(ROOT, 'out', 'frame.png');
/** vivid's test pattern, from the left: the bars' colours, at three quarters of full brightness. */
const BARS = ['white', 'yellow', 'cyan', 'green', 'magenta', 'red', 'blue', 'black'] as const;
const BAR_CHANNELS: Readonly<Record<(typeof BARS)[number], readonly [number, number, number]>> = {
  white: [1, 1, 1],
  yellow: [1, 1, 0],
  cyan: [0, 1, 1],
  green: [0, 1, 0],
  magenta: [1, 0, 1],
  red: [1, 0, 0],
  blue: [0, 0, 1],
  black: [0, 0, 0],
};

describe.skipIf(!hasDriverVm)('npm start', () => {
  it('records the camera of the driver VM and keeps a picture of its colour bars', () => {
    rmSync(PICTURE, { force: true });
    const start = join(ROOT, 'dist', 'host', 'cli', 'start.js');
    const { status, stdout } = spawnSync(process.execPath, [start], { encoding: 'utf8' });
    expect(status).toBe(0);
    expect(stdout).toMatch(/^\tDriver name +: vivid$/m);
    expect(stdout).toContain('The last of 60 frames is in out/frame.png.');
    expect(stdout).toMatch(/^pages mapped +[1-9]\d*$/m);
    expect(stdout).toMatch(/^policy faults +0$/m);
    expect(existsSync(join(ROOT, 'out', 'frames.rgb'))).toBe(false);
    expect(barsOf(PNG.sync.read(readFileSync(PICTURE)))).toEqual(BARS);
  });
});

/** The colours in the middle of each eighth of the picture's lower part, which bears no text. */
function barsOf({ width, height, data }: { width: number; height: number; data: Buffer }): string[] {
  const row = Math.floor(height * 0.9);
  return BARS.map((_bar, index) => {
    const pixel = (row * width + Math.floor(((index + 0.5) * width) / BARS.length)) * 4;
    const channels = [...data.subarray(pixel, pixel + 3)].map((value) => (value > 96 ? 1 : 0));
    return (
      BARS.find((name) => BAR_CHANNELS[name].every((value, channel) => value === channels[channel])) ?? 'none'
    );
  });
}
