import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { closeDomain, everyServedDevice } from '../../host/cli/driver-domain.js';
import type { DriverDomain } from '../../host/driver-vm/domain.js';
import { startDriverVm } from '../../host/driver-vm/driver-vm.js';
import { native } from '../../host/native.js';
import { asGuest } from '../bench/programs.js';

const RATE_HZ = 48_000;
const FRAME_BYTES = 4;
const WAV_HEADER_BYTES = 44;
const TIMEOUT_MS = 120_000;
/**
 * A card plays and records by the clock: where the machine is late, it runs dry, and a recording has a gap that no driver's user is to blame for.
 * Bytes that are changed or lost on the way are so each time.
 */
const BY_THE_CLOCK = { timeout: TIMEOUT_MS, retry: 3 };
const FORMAT = ['-q', '-t', 'raw', '-f', 'S16_LE', '-c', '2', '-r', String(RATE_HZ)];

let folder: string;
let domain: DriverDomain | undefined;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'postern-sound-'));
});
afterEach(async () => {
  if (domain !== undefined) await closeDomain(domain);
  domain = undefined;
  rmSync(folder, { recursive: true });
});

/** Two seconds of noise: no run of it comes twice, and no frame is silent. */
function noise(): Buffer {
  const block = (index: number): Buffer => createHash('sha256').update(String(index)).digest();
  const blocks = (2 * RATE_HZ * FRAME_BYTES) / 32;
  return Buffer.concat(Array.from({ length: blocks }, (_, index) => block(index))).map(
    (byte) => byte | 1,
  ) as Buffer;
}

/** The part of a recording that starts where `played` starts, as long as `played` is. */
function alignedWith(played: Buffer, recording: Buffer): Buffer {
  const start = recording.indexOf(played.subarray(0, 256));
  expect(start, 'where the recording has what was played').toBeGreaterThanOrEqual(0);
  return recording.subarray(start, start + played.length);
}

async function start(driver: string, recording?: number): Promise<(...command: string[]) => Promise<string>> {
  const vm = await startDriverVm({
    drivers: [driver],
    log: () => {},
    ...(recording === undefined ? {} : { recording }),
  });
  domain = vm;
  const devices = await everyServedDevice(vm);
  return (...command) => asGuest(vm, devices, command);
}

describe('snd-aloop', () => {
  it.each([
    ['by read and write', []],
    ['by mmap', ['-M']],
  ])('carries what one guest plays to another, bit by bit, %s', BY_THE_CLOCK, async (_, options) => {
    const guest = await start('snd-aloop');
    const [played, captured] = [join(folder, 'played'), join(folder, 'captured')];
    writeFileSync(played, noise());
    await Promise.all([
      guest('arecord', ...FORMAT, ...options, '-D', 'hw:0,1', '-d', '5', captured),
      guest('sh', '-c', `sleep 1; exec aplay ${[...FORMAT, ...options, '-D', 'hw:0,0', played].join(' ')}`),
    ]);
    const sent = readFileSync(played);
    expect(alignedWith(sent, readFileSync(captured)).equals(sent)).toBe(true);
  });

  it('has a stream for one guest at a time, and another for the next', BY_THE_CLOCK, async () => {
    const guest = await start('snd-aloop');
    const listening = guest('arecord', ...FORMAT, '-D', 'hw:0,1,3', '-d', '4', join(folder, 'captured'));
    const second = guest(
      'sh',
      '-c',
      `sleep 1; arecord -N ${FORMAT.join(' ')} -D hw:0,1,3 -d 1 /dev/null 2>&1 || true`,
    );
    const other = guest('sh', '-c', `sleep 1; arecord ${FORMAT.join(' ')} -D hw:0,1,4 -d 1 ${folder}/other`);
    expect(await second).toContain('Device or resource busy');
    await Promise.all([listening, other]);
    expect(readFileSync(join(folder, 'other'))).toHaveLength(RATE_HZ * FRAME_BYTES);
  });

  it('tells a guest of a control that another guest has changed', BY_THE_CLOCK, async () => {
    const guest = await start('snd-aloop');
    const [monitored] = await Promise.all([
      guest('sh', '-c', 'stdbuf -oL timeout 4 alsactl monitor hw:0 || true'),
      guest('sh', '-c', 'sleep 1; amixer -q cset numid=1 90000'),
    ]);
    expect(monitored).toContain('PCM Rate Shift 100000');
  });
});

describe('snd-hda-intel', () => {
  it.each([
    ['by write', []],
    // Its buffer is no ordinary memory of the kernel's (VM_PFNMAP): the guest shares its pages all the same.
    ['by mmap', ['-M']],
  ])('plays into the recording, bit by bit, what a guest plays %s', BY_THE_CLOCK, async (_, options) => {
    const recording = native.memfd('postern-recording', 0);
    try {
      const guest = await start('snd-hda-intel', recording);
      const played = join(folder, 'played');
      writeFileSync(played, noise());
      expect(await guest('amixer', 'sset', 'Master', '100%', 'unmute')).toContain('[100%] [0.00dB] [on]');
      await guest('aplay', ...FORMAT, ...options, '-D', 'hw:0,0', played);
      await closeDomain(domain as DriverDomain);
      domain = undefined;
      const sent = readFileSync(played);
      const heard = readFileSync(`/proc/self/fd/${recording}`).subarray(WAV_HEADER_BYTES);
      expect(alignedWith(sent, heard).equals(sent)).toBe(true);
    } finally {
      native.closeDescriptor(recording);
    }
  });
});

describe('snd-virmidi', () => {
  it('carries MIDI from one guest to another, and has no sequencer for guests', BY_THE_CLOCK, async () => {
    const vm = await startDriverVm({ drivers: ['snd-virmidi'], shareRoot: true, log: () => {} });
    domain = vm;
    const devices = await everyServedDevice(vm);
    expect(devices.map(({ name }) => name)).toContain('snd/midiC0D1');
    expect(devices.map(({ name }) => name)).not.toContain('snd/seq');
    const sequencer = [{ name: 'snd/seq', path: '/dev/snd/seq' }];
    await expect(asGuest(vm, sequencer, ['true'])).rejects.toThrow(
      "No guest gets the device 'snd/seq': the sequencer is one bus of all its clients",
    );
    // What is played on the first device is heard on the second.
    const connect = ['aconnect', 'Virtual Raw MIDI 0-0:0', 'Virtual Raw MIDI 0-1:0'];
    expect(await vm.run(connect, () => {})).toEqual({ code: 0, signal: null });
    const [heard] = await Promise.all([
      asGuest(vm, devices, ['sh', '-c', 'timeout 4 amidi -p hw:0,1 -d; true']),
      asGuest(vm, devices, ['sh', '-c', 'sleep 1; amidi -p hw:0,0 -S "90 3c 40 f0 7d 01 02 f7"']),
    ]);
    expect(heard.replace(/\s/g, '')).toBe('903C40F07D0102F7');
  });
});
