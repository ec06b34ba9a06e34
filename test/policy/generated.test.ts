import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { CONTRACT_TYPES, generateContractTypes } from '../../host/policy/contract-types.js';
import { FIELD_NAMES, fieldName, generateFieldNames } from '../../host/policy/field-names.js';
import { generateLayouts, macrosOf, staleLayouts, staleOf } from '../../host/policy/layouts.js';
import { ROOT } from '../../host/root.js';
import * as asound from '../../policies/__generated__/asound.js';
import * as drm from '../../policies/__generated__/drm.js';
import * as tun from '../../policies/__generated__/if_tun.js';
import * as input from '../../policies/__generated__/input.js';
import * as tty from '../../policies/__generated__/ioctls.js';
import * as media from '../../policies/__generated__/media.js';
import * as uinput from '../../policies/__generated__/uinput.js';
import * as videodev2 from '../../policies/__generated__/videodev2.js';
import * as virtgpu from '../../policies/__generated__/virtgpu_drm.js';
import { policyInstance, policyPackage } from './support.js';

const valuesOf = (module: object): Record<string, number> => module as Record<string, number>;
/** One class, two headers. */
const DRM_VALUES = { ...valuesOf(drm), ...valuesOf(virtgpu) };

/**
 * FIO* belong to every file, and the host answers them for all classes. The count is what Linux 6.1's header has, so that a pattern
 * that matches nothing is noticed.
 */
const CLASSES: [
  name: string,
  header: string,
  macros: RegExp,
  values: Record<string, number>,
  count: number,
][] = [
  ['v4l2', 'linux/videodev2.h', /^VIDIOC_\w+$/, valuesOf(videodev2), 82],
  ['pty', 'asm-generic/ioctls.h', /^(?:TC[GSXF]\w+|TIO(?!CPKT_|CSER_TEMT)\w+)$/, valuesOf(tty), 60],
  ['media', 'linux/media.h', /^MEDIA_(?:IOC|REQUEST_IOC)_\w+$/, valuesOf(media), 8],
  ['alsa', 'sound/asound.h', /^SNDRV_(?:HWDEP|PCM|RAWMIDI|TIMER|CTL)_IOCTL_\w+$/, valuesOf(asound), 80],
  ['tun', 'linux/if_tun.h', /^TUN(?:SET|GET|ATTACH|DETACH)\w+$/, valuesOf(tun), 21],
  ['evdev', 'linux/input.h', /^EVIOC\w+$/, valuesOf(input), 16],
  ['uinput', 'linux/uinput.h', /^UI_(?!FF_)\w+$/, valuesOf(uinput), 20],
  ['drm', 'libdrm/drm.h', /^DRM_IOCTL_(?!BASE$)\w+$/, DRM_VALUES, 106],
  ['drm', 'libdrm/virtgpu_drm.h', /^DRM_IOCTL_VIRTGPU_\w+$/, DRM_VALUES, 9],
];

describe('the generated layouts', () => {
  it('are those of the installed headers', () => {
    expect(staleLayouts()).toEqual([]);
  });

  it('are stale when a fact differs, and not when only the package version does', () => {
    const layouts = generateLayouts();
    const changed = layouts.map(({ path, text }) => ({
      path,
      text: text.replace('SIZE: u32 = 208', 'SIZE: u32 = 204'),
    }));
    const renamed = layouts.map(({ path, text }) => ({
      path,
      text: text.replace(/linux-libc-dev \S+/, 'linux-libc-dev 9'),
    }));
    expect(staleOf(changed)).toEqual(['policies/__generated__/videodev2.ts']);
    expect(staleOf(renamed)).toEqual([]);
  });

  it("name the package that each manifest's uapi names", async () => {
    for (const [name, header] of CLASSES) {
      const file = header.replace(/.*\/(\w+)\.h/, '$1.ts');
      const text = readFileSync(join(ROOT, 'policies', '__generated__', file), 'utf8');
      expect(text).toContain(`// of ${(await policyPackage(name)).manifest.uapi};`);
    }
  });
});

describe('the types of the contract', () => {
  it('are those that jco makes of the WIT', async () => {
    expect(readFileSync(join(ROOT, CONTRACT_TYPES), 'utf8')).toBe(await generateContractTypes());
  });
});

describe.each(CLASSES)('the table of %s', (name, header, macros, values, count) => {
  it(`has every command of ${header}, by the number the header gives`, async () => {
    const { commands } = (await policyInstance(name)).describe();
    const wanted = macrosOf(header, macros);
    expect(wanted.length).toBeGreaterThanOrEqual(count);
    const missing = wanted.filter((macro) => !commands.some(({ number }) => number === values[macro]));
    expect(missing).toEqual([]);
    for (const command of commands) expect(values[command.name], command.name).toBe(command.number);
  });

  it('has each command once, and a reason for each refusal', async () => {
    const { commands, reasons, class: className } = (await policyInstance(name)).describe();
    expect(new Set(commands.map(({ number }) => number)).size).toBe(commands.length);
    expect(new Set(reasons).size).toBe(reasons.length);
    for (const { refused } of commands) expect(refused).toBeLessThan(reasons.length);
    expect(className).toBe(name);
    expect(reasons[0]).toBe('');
  });

  it('stays within the envelope', async () => {
    const { manifest } = await policyPackage(name);
    const { commands } = (await policyInstance(name)).describe();
    const { argumentBytesMax, ioctlTypes } = manifest.envelope;
    const types = ioctlTypes.map((type) => type.charCodeAt(0));
    for (const { head, number } of commands) {
      expect(head).toBeLessThanOrEqual(argumentBytesMax);
      expect(types).toContain((number >>> 8) & 0xff);
    }
  });
});

describe('the names of fields', () => {
  it('are what the headers and the layouts give', () => {
    expect(readFileSync(join(ROOT, FIELD_NAMES), 'utf8')).toBe(generateFieldNames());
  });

  it('are paths in the command’s structure', () => {
    expect(fieldName('VIDIOC_REQBUFS', videodev2.v4l2_requestbuffers.memory)).toBe(
      'v4l2_requestbuffers.memory',
    );
    expect(fieldName('VIDIOC_QBUF', videodev2.v4l2_buffer.m_planes)).toBe('v4l2_buffer.m.planes');
    expect(fieldName('VIDIOC_QBUF', 1)).toBeUndefined();
    expect(fieldName('VIDIOC_NONSENSE', 0)).toBeUndefined();
  });
});
