import { describe, expect, it } from 'vitest';
import { type Device, parseDevices } from '../../host/driver-vm/devices.js';

const CAMERA: Device = {
  name: 'video0',
  major: 81,
  minor: 0,
  subsystem: 'video4linux',
  sysfs: '/devices/platform/vivid.0/video4linux/video0',
  files: { dev: '81:0\n', name: 'vivid-000-vid-cap\n' },
  links: { subsystem: '../../../../../class/video4linux' },
};

function parse(list: unknown): Device[] {
  return parseDevices(Buffer.from(JSON.stringify(list)));
}

function parseWith(change: Record<string, unknown>): Device[] {
  return parse([{ ...CAMERA, ...change }]);
}

describe('the device list', () => {
  it('is read', () => {
    const tun = { ...CAMERA, name: 'net/tun', sysfs: '' };
    expect(parse([CAMERA, tun])).toEqual([CAMERA, tun]);
    expect(parse([])).toEqual([]);
  });

  it.each(['', '.', '..', '/etc/passwd', '../etc/passwd', 'a/../b', 'a//b', 'a/', 'a b', 'a\n', 'a/.'])(
    'refuses the name %j',
    (name) => {
      expect(() => parseWith({ name })).toThrow('/0/name');
    },
  );

  it.each([
    '/sys',
    '/devices',
    '/devices/..',
    '/devices/a/../../b',
    'devices/a',
    '/devices/a b',
    '/devices/a/',
  ])('refuses the sysfs folder %j', (sysfs) => {
    expect(() => parseWith({ sysfs })).toThrow('/0/sysfs');
  });

  it.each(['a/b', '..', '.hidden', ''])('refuses the entry name %j', (entry) => {
    expect(() => parseWith({ files: { [entry]: '' } })).toThrow('/0/files');
    expect(() => parseWith({ links: { [entry]: 'x' } })).toThrow('/0/links');
  });

  it('reports everything that is wrong', () => {
    const attempt = (): Device[] => parseWith({ major: -1, minor: 'x', more: 1 });
    for (const part of ['/0/major', '/0/minor', 'additional properties']) expect(attempt).toThrow(part);
  });

  it('refuses what is no JSON or no UTF-8', () => {
    expect(() => parseDevices(Buffer.from('[{'))).toThrow('schemas/devices.schema.json');
    expect(() => parseDevices(Buffer.from([0x22, 0xff, 0x22]))).toThrow('schemas/devices.schema.json');
  });

  it('refuses more text than a device has', () => {
    expect(() => parseWith({ files: { dev: 'x'.repeat(4097) } })).toThrow('/0/files/dev');
  });
});
