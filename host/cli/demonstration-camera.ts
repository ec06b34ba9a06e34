import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type pino from 'pino';
import type { DriverDomain } from '../driver-vm/domain.js';
import { ROOT } from '../root.js';
import { convertLastFrame } from './frame.js';
import { renderReport } from './report-table.js';
import { runShown, say } from './shown-guest.js';

/** Two seconds of the virtual camera. */
const FRAMES = 60;
const FRAMES_PER_SECOND = 30;
const SHAPE = { width: 640, height: 360 };
const MS_PER_SECOND = 1000;
const OUTPUT_FOLDER = 'out';
const RECORDING = join(OUTPUT_FOLDER, 'frames.rgb');
const PICTURE = join(OUTPUT_FOLDER, 'frame.png');
const DEVICES = [{ name: 'video0', path: '/dev/video0' }];

/** Asks the camera about itself, records it, and keeps the last frame as a picture. */
export async function showCamera(domain: DriverDomain, log: pino.Logger): Promise<void> {
  await runShown({
    domain,
    log,
    devices: DEVICES,
    command: ['v4l2-ctl', '--device', '/dev/video0', '--all'],
  });
  mkdirSync(join(ROOT, OUTPUT_FOLDER), { recursive: true });
  const startedMs = Date.now();
  const report = await runShown({ domain, log, devices: DEVICES, command: captureCommand() });
  const seconds = (Date.now() - startedMs) / MS_PER_SECOND;
  const frames = keepLastFrame();
  say(`\n\nThe last of ${frames} frames is in ${PICTURE}.\n`);
  say(renderReport(report, [['frames per second, start included', (frames / seconds).toFixed(1)]]));
}

function captureCommand(): string[] {
  const format = `width=${SHAPE.width},height=${SHAPE.height},pixelformat=RGB3`;
  const settings = ['--set-fmt-video', format, '--set-parm', String(FRAMES_PER_SECOND)];
  const stream = ['--stream-mmap', `--stream-count=${FRAMES}`, `--stream-to=${RECORDING}`];
  return ['v4l2-ctl', '--device', '/dev/video0', ...settings, ...stream];
}

/** The recording is large and goes when its picture is there. */
function keepLastFrame(): number {
  const recording = join(ROOT, RECORDING);
  const frames = convertLastFrame(recording, join(ROOT, PICTURE), SHAPE);
  rmSync(recording);
  return frames;
}
